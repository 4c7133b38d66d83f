package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
)

// offer is an HTTP server from which a builder fetches files, under names that
// nobody else can guess.
type offer struct {
	base   string // URL with a slash at its end
	server *http.Server

	mu      sync.Mutex // guards closed
	closed  bool
	running sync.WaitGroup // the server and all requests
}

// startOffer serves what handler has on an address, "HOST" or "HOST:PORT", until it is
// closed. The builder must be able to reach the host under that name.
func startOffer(ctx context.Context, address string, handler http.Handler) (*offer, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "0"
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("cannot offer files to the builder: %w", err)
	}
	_, port, err = net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	secret := "/" + uuid.NewString()
	o := &offer{base: "http://" + net.JoinHostPort(host, port) + secret + "/"}
	inside := http.StripPrefix(secret, handler)
	o.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.enter() {
			defer o.running.Done()
			inside.ServeHTTP(w, r)
		}
	})}
	o.running.Go(func() {
		_ = o.server.Serve(ln) // ends with close
	})
	return o, nil
}

// enter counts a request, unless it comes too late.
func (o *offer) enter() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.running.Add(1)
	}
	return !o.closed
}

// close stops serving and waits for that.
func (o *offer) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	_ = o.server.Close()
	o.running.Wait()
}

// url is that of one of the files.
func (o *offer) url(f localFile) string { return o.base + f.sha1 }

// offerHandler serves files by their SHA-1.
func offerHandler(files []localFile) http.Handler {
	paths := map[string]string{}
	for _, f := range files {
		paths[f.sha1] = f.path
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{sum}", func(w http.ResponseWriter, r *http.Request) {
		content, err := os.Open(paths[r.PathValue("sum")])
		if err != nil {
			http.Error(w, "no such file", http.StatusNotFound)
			return
		}
		defer func() { _ = content.Close() }() // only read
		http.ServeContent(w, r, "", time.Time{}, content)
	})
	return mux
}

// give makes sure that the builder has all files. Those it does not have it
// fetches from this program, which listens on address; "" is one that the
// builder can probably reach.
func (a *app) give(ctx context.Context, c *client.Client, address string, files []localFile) error {
	if address == "" {
		address = addressForBuilder(ctx, a.url)
	}
	source := func(localFile) buildd.Source { return buildd.Source{} }
	if address != "" {
		o, err := startOffer(ctx, address, offerHandler(files))
		if err != nil {
			return err
		}
		defer o.close()
		source = func(f localFile) buildd.Source {
			u := o.url(f)
			return buildd.Source{URL: &u}
		}
	}
	const atOnce = 4
	var mu sync.Mutex // guards a.out
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, f := range files {
		group.Go(func() error {
			presence, err := c.EnsurePresent(ctx, f.sha1, source(f))
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			return a.given(f, presence, address)
		})
	}
	return group.Wait()
}

// given reports whether the builder has a file now.
func (a *app) given(f localFile, presence buildd.Presence, address string) error {
	a.out.emit(event{Event: "present", Name: f.name, SHA1: f.sha1, Size: &f.size, Present: &presence.Present, Info: presence.Info})
	switch {
	case presence.Present:
		a.out.say("%s: the builder has it (%s)", f.name, printable(presence.Info))
		return nil
	case address == "":
		return fmt.Errorf("the builder is on another machine and does not have %s; "+
			"say with --serve-address under which address of this machine it can fetch files", f.name)
	}
	return fmt.Errorf("the builder could not fetch %s from %s: %s; --serve-address must be an address of this machine that the builder can reach",
		f.name, address, printable(presence.Info))
}
