package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"

	"lpbuildd/filecache"
)

// restartKeys are the keys that only a restart changes.
func restartKeys() []string {
	return []string{"builder.architecturetag", "builder.filecache", "builder.bindhost", "builder.bindport"}
}

// reloads reads the configuration again at every SIGHUP until ctx ends.
func (s *service) reloads(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.systemd.reloading()
			s.reload()
			s.systemd.ready(ctx)
		}
	}
}

// reload opens the log file anew and puts the configuration into effect as far
// as that is possible without a restart. The build that runs keeps what it
// began with. With an error nothing changes.
func (s *service) reload() {
	if err := s.log.use(s.config); err != nil {
		s.log.Error("Cannot open the log file anew", "error", err)
	}
	c, origins, err := s.load()
	if err == nil {
		err = s.apply(c)
	}
	if err != nil {
		for _, problem := range unjoin(err) {
			s.log.Error("The configuration cannot be used", "problem", problem)
		}
		s.log.Error("The old configuration stays in effect; see 'lpbuildd config check'")
		return
	}
	warn(s.log.Logger, origins)
	changed, restart := difference(s.origins, origins)
	for _, key := range restart {
		s.log.Warn("A changed key needs a restart to take effect", "key", key)
	}
	s.log.Info("Configuration reloaded", "changed", changed)
	s.config, s.origins = c, keep(s.origins, origins, restart)
}

// apply changes what can change while the daemon runs.
func (s *service) apply(c config) error {
	settings, err := jobSettings(c, s.cache.Dir())
	if err != nil {
		return err
	}
	if err := s.log.use(c); err != nil {
		return err
	}
	s.daemon.SetSettings(settings)
	s.cache.SetLimits(filecache.Limits{MaxBytes: c.CacheMaxSize, MaxAge: c.CacheMaxAge, MinFree: c.CacheMinFree})
	s.access.allow(c.Allow)
	return nil
}

// difference lists the keys whose values differ: those that can change at run
// time, and those that cannot.
func difference(before, after []origin) (changed, restart []string) {
	old := map[string]string{}
	for _, o := range before {
		if o.Warning == "" {
			old[o.Key] = o.Value
		}
	}
	for _, o := range after {
		switch {
		case o.Warning != "" || old[o.Key] == o.Value:
		case slices.Contains(restartKeys(), o.Key):
			restart = append(restart, o.Key)
		default:
			changed = append(changed, o.Key)
		}
	}
	return changed, restart
}

// keep returns what is in effect: all of after, but for these keys of before.
func keep(before, after []origin, keys []string) []origin {
	out := slices.Clone(after)
	for i, o := range out {
		at := slices.IndexFunc(before, func(b origin) bool { return b.Key == o.Key && b.Warning == "" })
		if at >= 0 && o.Warning == "" && slices.Contains(keys, o.Key) {
			out[i] = before[at]
		}
	}
	return out
}

// unjoin lists the parts of a joined error.
func unjoin(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	return []error{err}
}

// warn logs what in the file has no effect.
func warn(log *slog.Logger, origins []origin) {
	for _, o := range origins {
		if o.Warning != "" {
			log.Warn("Configuration", "key", o.Key, "from", o.From, "warning", o.Warning)
		}
	}
}

// access lets only some networks in; everyone, when there are none.
type access struct {
	next     http.Handler
	networks atomic.Pointer[[]netip.Prefix]
}

func restrict(networks []netip.Prefix, next http.Handler) *access {
	a := &access{next: next}
	a.allow(networks)
	return a
}

// allow changes who may come in, for requests from now on.
func (a *access) allow(networks []netip.Prefix) { a.networks.Store(&networks) }

// ServeHTTP turns strangers away.
func (a *access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	networks := *a.networks.Load()
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	contains := func(network netip.Prefix) bool { return err == nil && network.Contains(peer.Addr().Unmap()) }
	if len(networks) > 0 && !slices.ContainsFunc(networks, contains) {
		http.Error(w, "This address may not use this builder ([access] allow).", http.StatusForbidden)
		return
	}
	a.next.ServeHTTP(w, r)
}
