package buildd

import (
	"context"
	"fmt"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// Build checks a request, makes it durable, and starts the build. The order of
// the checks is part of the protocol (spec: protocol.md section 7), except that
// nothing changes before all of them have passed.
func (d *Daemon) Build(ctx context.Context, r Request) error {
	t, err := findType(d.cfg.Types, r.Tag)
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
	if state := d.board.now.Load().status.State; state != Idle {
		return &StateError{State: state, Event: Accept}
	}
	if err := t.Check(r.Args, r.Files.Names()); err != nil {
		return &Fault{Reason: "build: args: " + err.Error()}
	}
	o := order{settings: *d.settings.Load()}
	o.request, err = encode(job.Message{Request: &job.Request{
		BuildID: r.BuildID, Tag: r.Tag, Image: r.Image, Files: r.Files, Args: r.Args,
		Arch: d.cfg.Arch, Settings: o.settings,
	}})
	if err != nil {
		return &Fault{Reason: "build: " + err.Error()}
	}
	o.journal = journal{
		BuildID: r.BuildID, Tag: r.Tag, Inputs: inputs, Accepted: time.Now(),
		Private: r.Private || t.Sanitize, ProxyInfo: r.Proxy,
	}
	if r.Private {
		o.journal.PrivateInputs = privateInputs(r)
	}
	if r.EndsWithReset {
		o.journal.ResetAfter, _ = state.BootID() // without it, the results stay
	}
	return d.place(o)
}

// order is a request that was checked.
type order struct {
	journal  journal
	request  []byte // for the supervisor
	settings job.Settings
}

// place gives an order to the slot. While that is busy with what the last build has
// left, it waits, but not for ever: its manager would have gone, and the build would
// run for nobody.
func (d *Daemon) place(o order) error {
	late := time.NewTimer(d.cfg.BuildWait)
	defer late.Stop()
	answer := make(chan error, 1)
	for {
		var busy <-chan struct{}
		err := d.loop.call(func(ctx context.Context, s *slot) { busy = s.accept(ctx, o, answer) })
		if err != nil {
			return err
		}
		if busy == nil {
			return <-answer
		}
		select {
		case <-busy:
		case <-late.C:
			return &Fault{Reason: "build: what the last build left is still being undone; see the daemon's log, and try again"}
		}
	}
}

// accept makes an order durable and starts its build. If the slot is busy nothing
// happens, and the channel says when to ask again; otherwise there will be an
// answer.
func (s *slot) accept(ctx context.Context, o order, answer chan<- error) (busy <-chan struct{}) {
	if _, err := next(s.book.journal.State, Accept); err != nil {
		answer <- err
		return nil
	}
	if s.busy != nil {
		return s.busy
	}
	if drain := s.drain.look(); drain != nil {
		answer <- &Fault{Reason: "build: " + drain.String()}
		return nil
	}
	err := s.files.prepare(ctx, o.journal)
	if err == nil {
		err = s.book.transition(Accept, func(j *journal) { *j = j.followedBy(o.journal) })
	}
	if err != nil {
		s.disk.check()
		answer <- &Fault{Reason: "build: " + err.Error()}
		return nil
	}
	s.abortLimit = o.settings.AbortLimit
	s.launch(ctx, o, answer)
	return nil
}

// launch starts the supervisor and hands it the request.
func (s *slot) launch(ctx context.Context, o order, answer chan<- error) {
	l, err := s.startSupervisor(ctx, o.settings.Limits)
	if err != nil {
		s.withdraw(ctx, err, answer)
		return
	}
	s.aside(func() event {
		// Once it is sent, the request reaches the supervisor even if this process
		// dies now.
		err := l.send(o.request)
		return func(ctx context.Context, s *slot) {
			if err != nil {
				l.close()
				s.withdraw(ctx, fmt.Errorf("cannot send the request to the supervisor: %w", err), answer)
				return
			}
			s.log.InfoContext(ctx, "Build started", "build_id", o.journal.BuildID, "type", o.journal.Tag)
			s.follow(ctx, l, false)
			answer <- nil
		}
	})
}

// withdraw forgets a build that could not be started.
func (s *slot) withdraw(ctx context.Context, why error, answer chan<- error) {
	s.log.ErrorContext(ctx, "Cannot start a build", "build_id", s.book.journal.BuildID, "error", why)
	s.tidy(ctx, func(ctx context.Context, _ error) { // what it cannot undo, the next build tries again
		s.lose(ctx)
		answer <- &Fault{Reason: "build: " + why.Error()}
	})
}

// startSupervisor starts the supervisor and connects to it.
func (s *slot) startSupervisor(ctx context.Context, limits job.Limits) (*link, error) {
	if err := s.files.begin(limits); err != nil {
		return nil, err
	}
	a := s.book.journal.attempt()
	ended := func(err error) {
		// A daemon that stops leaves that to the next one.
		_ = s.loop.call(func(ctx context.Context, s *slot) { s.supervisorEnded(ctx, a, err) })
	}
	if err := s.cfg.Launcher.StartSupervisor(ctx, s.files.build.Path(), ended); err != nil {
		return nil, err
	}
	s.started = a
	return connect(ctx, s.cfg.Launcher, s.files.build.Path())
}

// supervisorEnded is called when the supervisor that was started for a build has
// ended, with an error if it did not as it should.
func (s *slot) supervisorEnded(ctx context.Context, a attempt, err error) {
	if s.started == a {
		s.started = attempt{}
	}
	if err != nil {
		s.log.WarnContext(ctx, "Supervisor ended with an error", "build_id", a.buildID, "error", err)
		s.tidyAfterDeath(ctx, a)
	}
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
