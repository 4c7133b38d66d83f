package terminal_test

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/backends/terminal"
)

// open makes a terminal: what a person has, and the other side of it.
func open(t *testing.T) (master, person *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs terminals: %v", err)
	}
	person, err = terminal.Peer(master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = master.Close(), person.Close() })
	return master, person
}

func TestWhatIsATerminal(t *testing.T) {
	_, person := open(t)
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if !terminal.Is(person) || terminal.Is(null) {
		t.Error("a terminal is none, or the other way round")
	}
	if _, err := terminal.MakeRaw(null); err == nil {
		t.Error("it was made raw")
	}
	if columns, rows := terminal.Size(null); columns != 0 || rows != 0 {
		t.Errorf("its size is %d, %d", columns, rows)
	}
}

func TestRawIsUndone(t *testing.T) {
	_, person := open(t)
	get := func() unix.Termios {
		t.Helper()
		state, err := unix.IoctlGetTermios(int(person.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return *state
	}
	before := get()
	restore, err := terminal.MakeRaw(person)
	if err != nil {
		t.Fatal(err)
	}
	if now := get(); now.Lflag&(unix.ECHO|unix.ISIG) != 0 {
		t.Error("it is not raw")
	}
	restore()
	if get() != before {
		t.Error("it is not what it was")
	}
}

// TestAShellInATerminal: it has one of its own, of the same size, that is not
// the person's.
func TestAShellInATerminal(t *testing.T) {
	outside, person := open(t)
	inside, other := open(t)
	if err := other.Close(); err != nil { // or the output might go on
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 99}); err != nil {
		t.Fatal(err)
	}
	restore, err := terminal.MakeRaw(person)
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	seen := make(chan string)
	go func() {
		var all strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(all.String(), "bye") {
			n, err := outside.Read(buf)
			if err != nil {
				break
			}
			all.Write(buf[:n])
		}
		seen <- all.String()
	}()
	if _, err := io.WriteString(outside, "typed\n"); err != nil {
		t.Fatal(err)
	}
	err = terminal.Run(t.Context(), inside, person, person, func(ctx context.Context, inner *os.File) error {
		return backends.Host{}.Run(ctx, backends.Command{
			Argv:  []string{"sh", "-c", "read line; echo got $line; stty size; tty </dev/tty; echo bye; exit 3"},
			Stdin: inner, Stdout: inner, Stderr: inner,
		})
	})
	if err == nil || !strings.HasSuffix(err.Error(), "exit code 3") {
		t.Errorf("got %v", err)
	}
	if text := <-seen; !strings.Contains(text, "got typed\r\n33 99\r\n") || strings.Contains(text, person.Name()) {
		t.Errorf("the person has seen %q", text)
	}
}
