package buildd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Build checks a request, makes it durable, and starts the build. The order of
// the checks is part of the protocol (spec: protocol.md section 7), except that
// nothing changes before all of them have passed.
func (d *Daemon) Build(ctx context.Context, r Request) error {
	t, err := d.findType(r.Tag)
	if err != nil {
		return err
	}
	if r.BadInputs != nil {
		return &Fault{Reason: "build: " + r.BadInputs.Error()}
	}
	inputs, err := d.checkInputs(ctx, r)
	if err != nil {
		return err
	}
	if r.Malformed != nil {
		return &Fault{Reason: "build: " + r.Malformed.Error()}
	}
	if err := checkBuildID(r.BuildID); err != nil {
		return err
	}
	if state := d.now.Load().status.State; state != Idle {
		return &StateError{State: state, Event: Accept}
	}
	if err := t.Check(r.Args, r.Files.Names()); err != nil {
		return &Fault{Reason: "build: args: " + err.Error()}
	}
	private, _ := truth(r.Args["archive_private"])
	accepted := journal{
		BuildID: r.BuildID, Tag: r.Tag, Inputs: inputs, Accepted: time.Now(),
		Private: private || t.Sanitize, ProxyInfo: proxyInfo(r.Args),
	}
	if private {
		accepted.PrivateInputs = privateInputs(r)
	}
	if reset, _ := truth(r.Args["fast_cleanup"]); reset {
		accepted.ResetAfter, _ = state.BootID() // without it, the results stay
	}
	return d.accept(context.WithoutCancel(ctx), r, accepted)
}

// accept makes a checked request durable and starts its build.
func (d *Daemon) accept(ctx context.Context, r Request, accepted journal) error {
	if err := d.waitForCleanup(ctx); err != nil {
		return err
	}
	defer d.cleaning.Release(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := next(d.j.State, Accept); err != nil {
		return err
	}
	if why := d.drained(); why != "" {
		return &Fault{Reason: "build: " + why}
	}
	err := d.prepare(ctx, accepted)
	if err == nil {
		err = d.transition(Accept, func(j *journal) { *j = j.followedBy(accepted) })
	}
	if err != nil {
		d.checkDisk()
		return &Fault{Reason: "build: " + err.Error()}
	}
	if err := d.launch(ctx, r); err != nil {
		d.cfg.Log.ErrorContext(ctx, "Cannot start a build", "build_id", r.BuildID, "error", err)
		_ = d.tidyEnding(ctx) // what it cannot undo, the next build tries again
		d.lose()
		return &Fault{Reason: "build: " + err.Error()}
	}
	d.cfg.Log.Info("Build started", "build_id", r.BuildID, "type", r.Tag)
	return nil
}

// waitForCleanup takes cleaning.
func (d *Daemon) waitForCleanup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.BuildWait)
	defer cancel()
	if d.cleaning.Acquire(ctx, 1) != nil {
		return &Fault{Reason: "build: what the last build left is still being undone; see the daemon's log, and try again"}
	}
	return nil
}

// prepare removes what is left of the last build, before the journal speaks of
// a new one: after a crash, an outcome must be that of the build in the journal.
// What stands in the place of its files and cannot be replaced is set aside.
func (d *Daemon) prepare(ctx context.Context, accepted journal) error {
	folder := state.Build(d.dir)
	for _, path := range []string{folder.Socket(), folder.Outcome()} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	for _, path := range []string{
		d.logPath(), folder.Limits(), folder.Accepted(), folder.Supervisor(), filepath.Join(d.dir, disk.ReserveName),
	} {
		if odd, err := aside.MoveOdd(path); odd || err != nil {
			d.cfg.Log.ErrorContext(ctx, "What is no file is set aside", "path", path, "error", err)
		}
	}
	d.makeReserves(ctx)
	accepted.State = Building
	return errors.Join(disk.RemoveTemporaries(d.dir), disk.WriteJSON(state.Build(d.dir).Accepted(), accepted))
}

// launch starts the supervisor and hands it the request. The caller holds mu.
func (d *Daemon) launch(ctx context.Context, r Request) error {
	request, err := encode(job.Message{Request: &job.Request{
		BuildID: r.BuildID, Tag: r.Tag, Image: r.Image, Files: r.Files, Args: r.Args,
		Arch: d.cfg.Arch, Settings: d.settings,
	}})
	if err != nil {
		return err
	}
	d.abortLimit = d.settings.AbortLimit
	if err := os.WriteFile(d.logPath(), nil, 0o640); err != nil { //nolint:gosec // readable by the group of the builder
		return fmt.Errorf("cannot make the build log: %w", err)
	}
	if err := job.WriteLimits(state.Build(d.dir), d.settings.Limits); err != nil {
		return err
	}
	if err := d.startSupervisor(ctx); err != nil {
		return err
	}
	l, err := connect(ctx, d.dir)
	if err != nil {
		return err
	}
	// Once it is sent, the request reaches the supervisor even if this process
	// dies now.
	if err := l.send(request); err != nil {
		l.close()
		return fmt.Errorf("cannot send the request to the supervisor: %w", err)
	}
	d.attach(ctx, l, false)
	return nil
}

// startSupervisor starts the supervisor, which from then on is the only one
// that holds the socket.
func (d *Daemon) startSupervisor(ctx context.Context) error {
	socket, err := listen(ctx, d.dir)
	if err != nil {
		return err
	}
	a := d.j.attempt()
	ended := func(err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.started == a {
			d.started = attempt{}
		}
		if err != nil {
			d.cfg.Log.Warn("Supervisor ended with an error", "build_id", a.buildID, "error", err)
			d.supervisorDied(ctx, a)
		}
	}
	if err := d.cfg.Launcher.start(ctx, d.dir, socket, ended); err != nil {
		return errors.Join(err, socket.Close())
	}
	d.started = a
	return socket.Close()
}

// supervisorDied does what a supervisor did not come to do that died when its
// build was over. The caller holds mu.
func (d *Daemon) supervisorDied(ctx context.Context, a attempt) {
	switch {
	case d.closing():
	case d.runs(a):
		// Its outcome, or its death, is about to be noticed elsewhere.
		d.later(d.cfg.RetryDelay, func() { d.supervisorDied(ctx, a) })
	default:
		d.tidyBehind(ctx, a)
	}
}

// findType looks a build type up.
func (d *Daemon) findType(tag string) (Type, error) {
	for _, t := range d.cfg.Types {
		if t.Tag == tag {
			return t, nil
		}
	}
	return Type{}, &UnknownTypeError{Tag: tag, Known: d.Info().Tags}
}

// checkInputs checks that all files of a request are in the cache, and returns
// their checksums.
func (d *Daemon) checkInputs(ctx context.Context, r Request) ([]string, error) {
	var sums []string
	check := func(name, sum string) error {
		present, err := d.cfg.Cache.Present(ctx, sum)
		switch {
		case err != nil:
			d.cfg.Log.WarnContext(ctx, "Cannot use a file of a build", "name", name, "sum", sum, "error", err)
		case present:
			sums = append(sums, sum)
			return nil
		}
		return &UnknownSumError{Name: name, Sum: sum}
	}
	if err := check("", r.Image); err != nil {
		return nil, err
	}
	for _, file := range r.Files {
		if err := check(file.Name, file.Value); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// privateInputs are the cache entries that a private build brings with it: later
// builds, and whoever else can reach the port, could fetch them (weaknesses.md
// C9). Base images belong to nobody.
func privateInputs(r Request) []string {
	var sums []string
	for _, file := range r.Files {
		if file.Value != r.Image {
			sums = append(sums, file.Value)
		}
	}
	return sums
}

// maxBuildID leaves room for "build-" and a suffix in a file name.
const maxBuildID = 200

// checkBuildID refuses build ids that are no single path component
// (weaknesses.md A13) or that XML cannot carry back (A12).
func checkBuildID(id string) error {
	bad := func(expected string) error {
		return &Fault{Reason: fmt.Sprintf("build: build id: expected %s, got %.60q", expected, id)}
	}
	switch {
	case id == "":
		return bad("a non-empty string")
	case len(id) > maxBuildID:
		return bad(fmt.Sprintf("at most %d bytes", maxBuildID))
	case strings.Contains(id, "/"):
		return bad("a single path component")
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r >= '\uFFFD' && r <= '\uFFFF' }):
		return bad("no control characters")
	}
	return nil
}

// truth returns the value of an argument that is a boolean, or one of the numbers
// 0 and 1, which builders take for booleans too.
func truth(v any) (value, ok bool) {
	if b, isBool := v.(bool); isBool {
		return b, true
	}
	if _, isText := v.(string); isText {
		return false, false
	}
	text := fmt.Sprint(v)
	return text == "1", text == "0" || text == "1"
}

// proxyInfo picks what the manager asks for later.
func proxyInfo(args map[string]any) ProxyInfo {
	var p ProxyInfo
	if use, ok := truth(args["use_fetch_service"]); ok {
		p.UseFetchService = &use
	}
	if endpoint, ok := args["revocation_endpoint"].(string); ok {
		p.RevocationEndpoint = &endpoint
	}
	return p
}
