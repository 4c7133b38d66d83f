package backends

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
)

// answering is a Runner that always answers the same.
type answering struct {
	out  string
	err  error
	argv *[]string
}

func (a answering) Run(_ context.Context, cmd Command) error {
	if a.argv != nil {
		*a.argv = cmd.Argv
	}
	if cmd.Stdout != nil {
		if _, err := io.WriteString(cmd.Stdout, a.out); err != nil {
			return err
		}
	}
	return a.err
}

func TestFindArguments(t *testing.T) {
	var argv []string
	r := answering{out: "b\x00a/c\x00", argv: &argv}
	got, err := Find(t.Context(), r, "/d", FindOptions{MaxDepth: 2, NoDirs: true, Name: "*.deb"})
	want := []string{"find", "/d", "-mindepth", "1", "-maxdepth", "2", "!", "-type", "d", "-name", "*.deb", "-printf", `%P\0`}
	if err != nil || !slices.Equal(got, []string{"a/c", "b"}) || !slices.Equal(argv, want) {
		t.Errorf("got %q, %v from %q", got, err, argv)
	}
	if _, err = List(t.Context(), r, "/d"); err != nil || !slices.Equal(argv, []string{"find", "/d", "-mindepth", "1", "-maxdepth", "1", "-printf", `%P\0`}) {
		t.Errorf("List: %q, %v", argv, err)
	}
	got, err = List(t.Context(), answering{}, "/d")
	if err != nil || len(got) != 0 {
		t.Errorf("empty folder: got %q, %v", got, err)
	}
}

// endless is a Runner of a program that says more and more.
type endless struct{ said int }

func (e *endless) Run(_ context.Context, cmd Command) error {
	for {
		n, err := cmd.Stdout.Write(make([]byte, 1<<20))
		e.said += n
		if err != nil {
			return err
		}
	}
}

// TestOutputIsBounded: what runs in a target must not fill the memory of who
// asks it.
func TestOutputIsBounded(t *testing.T) {
	r := &endless{}
	if _, err := Find(t.Context(), r, "/d", FindOptions{}); err == nil || r.said > maxOutput {
		t.Errorf("after %d bytes: %v", r.said, err)
	}
}

func TestQuestionsPassErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Exists(t.Context(), answering{err: broken}, "/"); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if got, err := Exists(t.Context(), answering{err: &ExitError{Code: 1}}, "/"); got || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
