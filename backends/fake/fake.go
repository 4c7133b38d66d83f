// Package fake is run by tests, and touches nothing: it is a target in memory for
// tests of what uses targets: it records what it is asked to do, answers from a
// script, and renders all of it as a transcript to compare with a golden file.
//
// It knows the commands of the questions of package backends (test -e, -d, -h
// and find) and ls -Ap, and answers them from its files; every other command
// without a scripted answer succeeds and prints nothing.
package fake

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"

	"lpbuildd/backends"
)

// Answer is what a command does.
type Answer struct {
	// Stdout and Stderr are what it prints.
	Stdout, Stderr string
	// Code is its exit code; anything but 0 makes Run return an ExitError.
	Code int
	// Err is returned as it is: the command could not be run.
	Err error
	// Do, if set, is called after the printing; its error is returned by Run.
	Do func(ctx context.Context, t *Target, cmd backends.Command) error
	// Hang makes the command run until its context ends or until
	// KillProcesses.
	Hang bool
}

// rule gives answers, in turn, to the commands whose line starts with prefix.
type rule struct {
	prefix  string
	answers []Answer
}

// Target implements backends.Lifecycle. The zero value is not usable; see New.
// Safe for concurrent use.
type Target struct {
	mu     sync.Mutex // guards everything below
	rules  []*rule
	faults map[string]error
	files  map[string]File
	lines  []string
	kills  map[int]context.CancelCauseFunc
	nextID int
}

var _ backends.Lifecycle = (*Target)(nil)

// errKilled is the cause of commands that KillProcesses ends.
var errKilled = errors.New("killed")

// New returns an empty target.
func New() *Target {
	return &Target{
		faults: map[string]error{},
		files:  map[string]File{},
		kills:  map[int]context.CancelCauseFunc{},
	}
}

// Script sets the answers to commands whose line, as Quote writes it, starts
// with prefix. They are given in turn, the last one for ever. Of several
// matching prefixes the one set last counts.
func (t *Target) Script(prefix string, answers ...Answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rules = append(t.rules, &rule{prefix, answers})
}

// Fail makes a step of the life cycle return err: "create", "start", "kill",
// "stop" or "remove". A nil err makes it work again.
func (t *Target) Fail(step string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[step] = err
}

// Create implements backends.Lifecycle.
func (t *Target) Create(_ context.Context, image backends.Image) error {
	return t.step("create", image.Type, image.SHA1)
}

// Start implements backends.Lifecycle.
func (t *Target) Start(context.Context) error { return t.step("start") }

// KillProcesses ends all running commands.
func (t *Target) KillProcesses(context.Context) error {
	err := t.step("kill")
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		for _, kill := range t.kills {
			kill(errKilled)
		}
	}
	return err
}

// Stop implements backends.Lifecycle.
func (t *Target) Stop(context.Context) error { return t.step("stop") }

// Remove implements backends.Lifecycle. It keeps the files and the transcript,
// for the test to look at.
func (t *Target) Remove(context.Context) error { return t.step("remove") }

func (t *Target) step(name string, details ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, strings.TrimRight(name+" "+strings.Join(details, " "), " "))
	return t.faults[name]
}

// File is a regular file in the target. Folders exist where files are in them.
type File struct {
	Data string
	Mode fs.FileMode
}
