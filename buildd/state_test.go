package buildd_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
)

// TestArchitectureShowsTheStates keeps the diagram equal to the table.
func TestArchitectureShowsTheStates(t *testing.T) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, diagram, ok := strings.Cut(string(text), "[*] --> IDLE\n")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no state diagram")
	}
	diagram, _, _ = strings.Cut(diagram, "```")
	var want []string
	for _, tr := range buildd.Transitions() {
		want = append(want, fmt.Sprintf("%s --> %s: %s", tr.From, tr.To, tr.Event))
	}
	var got []string
	for line := range strings.Lines(diagram) {
		got = append(got, strings.TrimSpace(line))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("ARCHITECTURE.md shows\n%s\nthe table is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStateErrorsSayWhatToDo(t *testing.T) {
	for _, test := range []struct {
		state buildd.State
		event buildd.Event
		want  string
	}{
		{buildd.Building, buildd.Accept, "build() needs a builder that is IDLE, this one is BUILDING: wait for the end of the build, or abort() it"},
		{buildd.Waiting, buildd.Accept, "build() needs a builder that is IDLE, this one is WAITING: the build has ended; fetch its results, then clean()"},
		{buildd.Idle, buildd.Abort, "abort() needs a builder that is BUILDING or ABORTING, this one is IDLE: there is no build"},
		{buildd.Aborting, buildd.Clean, "clean() needs a builder that is WAITING, this one is ABORTING: wait until the build has ended"},
	} {
		if got := (&buildd.StateError{State: test.state, Event: test.event}).Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
