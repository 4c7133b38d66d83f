package fake

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"lpbuildd/backends"
)

// answer takes the next scripted answer to a command.
func (t *Target) answer(cmd backends.Command) (Answer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := backends.Quote(cmd.Argv...)
	for _, r := range slices.Backward(t.rules) {
		if !strings.HasPrefix(line, r.prefix) || len(r.answers) == 0 {
			continue
		}
		a := r.answers[0]
		if len(r.answers) > 1 {
			r.answers = r.answers[1:]
		}
		return a, true
	}
	return Answer{}, false
}

// Run implements backends.Runner. Stdin is read to its end at once.
func (t *Target) Run(ctx context.Context, cmd backends.Command) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := t.recordCommand(cmd); err != nil {
		return err
	}
	a, ok := t.answer(cmd)
	if !ok {
		a = t.builtin(cmd.Argv)
	}
	if a.Err != nil {
		return a.Err
	}
	return t.act(ctx, cmd, a)
}

// act does what takes time, until KillProcesses, for which a command that has
// printed something is there.
func (t *Target) act(ctx context.Context, cmd backends.Command, a Answer) error {
	run, done := t.killable(ctx)
	defer done()
	err := errors.Join(say(cmd.Stdout, a.Stdout), say(cmd.Stderr, a.Stderr))
	if err != nil {
		return err
	}
	if a.Do != nil {
		err = a.Do(run, t, cmd)
	}
	if a.Hang {
		<-run.Done()
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(context.Cause(run), errKilled):
		return &backends.ExitError{Argv: cmd.Argv, Code: 137}
	case err == nil && a.Code != 0:
		return &backends.ExitError{Argv: cmd.Argv, Code: a.Code}
	}
	return err
}

func (t *Target) killable(ctx context.Context) (context.Context, func()) {
	run, cancel := context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	id := t.nextID
	t.nextID++
	t.kills[id] = cancel
	return run, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.kills, id)
		cancel(nil)
	}
}

func say(w io.Writer, text string) error {
	if w == nil || text == "" {
		return nil
	}
	_, err := io.WriteString(w, text)
	return err
}
