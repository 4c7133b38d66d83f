package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"lpbuildd/backends"
)

// A program that we run ourselves and that fails is an error like any other; only
// what somebody runs in a visit has spoken for itself.
func TestWhatIsSaidAtTheEnd(t *testing.T) {
	exit := &backends.ExitError{Argv: []string{"ip", "link"}, Code: 4}
	for _, tt := range []struct {
		err    error
		status int
		said   string
	}{
		{errors.New("cannot listen"), 1, "lpbuildd: cannot listen\n"},
		{fmt.Errorf("cannot undo: %w: no such device", exit), 1, "lpbuildd: cannot undo: ip link: exit code 4: no such device\n"},
		{&misconfiguredError{errors.New("it is wrong")}, 78, "lpbuildd: it is wrong\n"},
		{ofVisit(exit), 4, ""},
		{ofVisit(errors.Join(exit, nil)), 4, ""},
		{ofVisit(errors.New("it has expired")), 1, "lpbuildd: it has expired\n"},
	} {
		var said strings.Builder
		if status := lastWords(&said, tt.err); status != tt.status || said.String() != tt.said {
			t.Errorf("%v: status %d, said %q", tt.err, status, said.String())
		}
	}
}

func TestADaemonThatMayNotRunIsNotStartedAgain(t *testing.T) {
	t.Setenv("RUN_NETWORK_REQUESTS_AS_ROOT", "no")
	cmd := newCommand()
	cmd.SetArgs([]string{"serve"})
	if err := cmd.ExecuteContext(t.Context()); exitStatus(err) != misconfigured {
		t.Errorf("got status %d, %v", exitStatus(err), err)
	}
}
