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
