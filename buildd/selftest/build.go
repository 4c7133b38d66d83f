package selftest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/ordered"
	"lpbuildd/rpc/client"
	"lpbuildd/rpc/wire"
)

const (
	// answerWait is how long the daemon may take for a simple answer.
	answerWait = 5 * time.Second
	// buildWait is how long the build may take.
	buildWait = 20 * time.Minute
	buildPoll = 250 * time.Millisecond
	// logLines is how much of the log of a failed build is shown.
	logLines = 80
	// maxDownload is more than anything of this build takes.
	maxDownload = 64 << 20
)

// daemon asks the daemon of the builder what it does.
func (t *tester) daemon(ctx context.Context) Finding {
	st, err := t.ask(ctx)
	switch {
	case err != nil && t.UseDaemon:
		return failed(err.Error(), "Start it, or leave --daemon away: then a private one builds.")
	case err != nil:
		return warning(err.Error(), "Start it when the rest is in order: systemctl start lpbuildd@NAME, with the name of its configuration file. 403 means that [access] allow lacks this machine.")
	case strings.HasPrefix(st.Drained, buildd.BrokenText):
		return failed(st.Drained, "Look into the kernel's log (dmesg) and put the disk in order; the daemon goes on by itself.")
	case st.Drained != "":
		return ok("it answers at %s: %s", t.URL, st.Drained)
	}
	return ok("it answers at %s: %s", t.URL, st.State)
}

// ask asks the daemon for its status.
func (t *tester) ask(ctx context.Context) (buildd.Status, error) {
	builder, err := client.New(t.URL)
	if err != nil {
		return buildd.Status{}, err
	}
	defer builder.Close()
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	return builder.Status(ctx)
}

// build builds a package.
func (t *tester) build(ctx context.Context) (f Finding) {
	if t.Image == "" {
		return skipped("there is no base image in the cache", "Add one ('lpbuildd image add FILE'), or name one with --image, and run the test again.")
	}
	began := t.now()
	ctx, cancel := context.WithTimeout(ctx, buildWait)
	defer cancel()
	builder, where, done, err := t.place(ctx)
	defer func() {
		if err := done(); err != nil && f.Result != Failed {
			f = failed("the build went well, but: "+err.Error(), "Remove by hand what is named, and look into the log of the daemon.")
		}
	}()
	if err != nil {
		return failure(err, "Put what failed above in order first; then look into the log of the daemon.")
	}
	st, log, err := t.buildWith(ctx, builder)
	if err != nil {
		f = failure(err, "Look at the log of the build and at what failed above.")
		f.Log = log
		return f
	}
	return ok("%s built in %v through %s: %s", packageName, t.now().Sub(began).Round(time.Second), where,
		strings.Join(slices.Sorted(maps.Keys(st.FileMap)), ", "))
}

// place is the daemon to build with, what to call it, and how to leave it. The
// latter must be called even after an error.
func (t *tester) place(ctx context.Context) (builder *client.Client, where string, done func() error, err error) {
	if !t.UseDaemon {
		p, err := t.newPrivate(ctx)
		return p.builder, "a private daemon", func() error { return p.close(ctx) }, err
	}
	done = func() error { return nil }
	if t.Settings.Site.AptProxy != "" {
		return nil, "", done, errors.New("the builds of this daemon use [proxy] apt, which cannot reach the package archive of the test: leave --daemon away")
	}
	st, err := t.ask(ctx)
	switch {
	case err != nil:
		return nil, "", done, err
	case st.Drained != "" || st.State != buildd.Idle:
		return nil, "", done, fmt.Errorf("the daemon cannot build now (%s): leave --daemon away", st.State)
	}
	builder, err = client.New(t.URL)
	if err != nil {
		return nil, "", done, err
	}
	return builder, "the daemon at " + t.URL, t.restorer(ctx, builder), nil
}

// restorer returns what takes away what is there only because of the build: files
// in the cache, and the unpacked image.
func (t *tester) restorer(ctx context.Context, builder *client.Client) func() error {
	before := map[string]bool{}
	entries, _ := t.Cache.Entries() // those that cannot be looked at do not go
	for _, e := range entries {
		before[e.Name] = true
	}
	request := job.StockRequest{Do: job.StockList, Container: noEngine()}
	report, listErr := t.Launcher.AskStock(ctx, state.Folder(t.Cache.StateDir()), request)
	return func() error {
		builder.Close()
		f, err := t.files()
		if err != nil {
			return err
		}
		errs := []error{listErr}
		for _, sum := range append(slices.Collect(maps.Values(f.sums)), f.image) {
			if !before[sum] {
				errs = append(errs, t.Cache.Remove(sum))
			}
		}
		if !slices.ContainsFunc(report.Stock, func(k job.Stock) bool { return k.Image == f.image }) {
			request.Do, request.Image = job.StockRemove, f.image
			_, err := t.Launcher.AskStock(context.WithoutCancel(ctx), state.Folder(t.Cache.StateDir()), request)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}
}

// files are what a build needs, by name; sums are their SHA-1.
type files struct {
	content map[string][]byte
	sums    map[string]string
	image   string
}

func (t *tester) files() (files, error) {
	content, err := sourcePackage()
	if err != nil {
		return files{}, err
	}
	f := files{content: content, sums: map[string]string{}}
	for name, data := range content {
		f.sums[name] = sumOf(data)
	}
	f.image, err = sumOfFile(t.Image)
	return f, err
}

// buildWith has a daemon build the package. With an error comes the end of the
// log, if there is one.
func (t *tester) buildWith(ctx context.Context, builder *client.Client) (st buildd.Status, log string, err error) {
	f, err := t.files()
	if err != nil {
		return st, "", err
	}
	served := map[string][]byte{}
	for name, data := range f.content {
		served["/source/"+name] = data
	}
	for name, data := range archive() {
		served["/archive/"+name] = data
	}
	s, err := newShelf(ctx, served, t.Image)
	if err != nil {
		return st, "", err
	}
	defer s.close()
	if err := offer(ctx, builder, f.image, s.url+imagePath); err != nil {
		return st, "", err
	}
	for name, sum := range f.sums {
		if err := offer(ctx, builder, sum, s.url+"/source/"+name); err != nil {
			return st, "", err
		}
	}
	request := buildd.Request{
		BuildID: fmt.Sprintf("SELFTEST-%d", t.now().Unix()), Tag: "binarypackage", Image: f.image, Files: ordered.Sorted(f.sums),
		Args: map[string]any{
			"arch_tag": t.Arch, "archive_private": false, "archive_purpose": "PRIMARY", "archives": []any{"deb [trusted=yes] " + s.url + "/archive/ ./"},
			"arch_indep": false, "build_debug_symbols": false, "fast_cleanup": false, "image_type": "chroot", "ogrecomponent": "main",
			"series": "unstable", "suite": "unstable", "trusted_keys": []any{},
		},
	}
	if err := builder.Build(ctx, request); err != nil {
		return st, "", err
	}
	return t.collect(ctx, builder)
}

// offer brings a file into the cache.
func offer(ctx context.Context, builder *client.Client, sum, url string) error {
	got, err := builder.EnsurePresent(ctx, sum, buildd.Source{URL: &url})
	if err != nil {
		return err
	}
	if !got.Present {
		return fmt.Errorf("the daemon cannot fetch a file from this machine: %s", got.Info)
	}
	return nil
}

// collect waits for the end of the build, checks what came of it, and cleans the
// builder, whatever happens.
func (t *tester) collect(ctx context.Context, builder *client.Client) (st buildd.Status, log string, err error) {
	st, err = await(ctx, builder)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	if ctx.Err() != nil {
		err = fmt.Errorf("the build did not end: %w", context.Cause(ctx))
		abortErr := builder.Abort(last)
		st, _ = await(last, builder)
		err = errors.Join(err, abortErr)
	}
	if err == nil {
		err = verify(ctx, builder, st)
	}
	if err != nil {
		log = tailOf(last, builder)
	}
	return st, log, errors.Join(err, builder.Clean(last))
}

// await waits for the end of a build.
func await(ctx context.Context, builder *client.Client) (buildd.Status, error) {
	for {
		st, err := builder.Status(ctx)
		switch {
		case err != nil:
			return st, err
		case st.State == buildd.Idle:
			return st, errors.New("the daemon has lost the build")
		case st.State == buildd.Waiting:
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, context.Cause(ctx)
		case <-time.After(buildPoll):
		}
	}
}

// verify checks that the build went well and that its package can be had.
func verify(ctx context.Context, builder *client.Client, st buildd.Status) error {
	if st.Outcome != "OK" {
		return fmt.Errorf("the build ended as %s%s", st.Outcome, strings.TrimRight(": "+st.Dependencies, ": "))
	}
	for name, sum := range st.FileMap {
		if !strings.HasSuffix(name, ".deb") {
			continue
		}
		data, err := download(ctx, builder, sum)
		if err != nil || sumOf(data) != sum {
			return errors.Join(fmt.Errorf("the package %s cannot be downloaded as it was built", name), err)
		}
		return nil
	}
	return errors.New("the build was successful, but has no package")
}

// download reads a file of the builder.
func download(ctx context.Context, builder *client.Client, name string) ([]byte, error) {
	file, err := builder.OpenFile(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	data, err := backends.ReadAll(file, maxDownload)
	return data, errors.Join(err, file.Close())
}

// tailOf is the end of the build log.
func tailOf(ctx context.Context, builder *client.Client) string {
	data, err := download(ctx, builder, wire.BuildLog)
	if err != nil {
		return fmt.Sprintf("The log cannot be shown: %v", err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-logLines):], "\n")
}
