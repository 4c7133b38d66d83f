package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper is a process that lives until the test is over.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

// alive says whether the process still is the one it was, and runs.
func alive(p Process) bool {
	s, err := ReadStat(p.PID)
	return err == nil && s.Start == p.Start && !s.Dead()
}

func TestKillKillsTheProcessAndWaits(t *testing.T) {
	cmd := sleeper(t)
	p, err := Identify(cmd.Process.Pid)
	if err != nil || !alive(p) {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it: it is dead all the same.
	if alive(p) {
		t.Error("it lives")
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestKillLeavesAnotherProcessOfThatNumberAlone(t *testing.T) {
	cmd := sleeper(t)
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Process{
		"started at another time": {PID: p.PID, Start: p.Start + "0", Boot: p.Boot},
		"before the last boot":    {PID: p.PID, Start: p.Start, Boot: "0b00"},
		"gone":                    {PID: 1 << 30, Start: p.Start, Boot: p.Boot},
		"nothing":                 {},
	} {
		if err := errors.Join(other.AskToEnd(), other.Kill(t.Context())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !alive(p) {
			t.Fatalf("%s: the wrong process was killed", name)
		}
	}
}

// TestADeathIsThatOfTheLastThread: the state of a process is that of its first
// thread, which may be dead while others work.
func TestADeathIsThatOfTheLastThread(t *testing.T) {
	p, output := firstThreadDies(t)
	fd, err := p.handle()
	if err != nil || fd < 0 {
		t.Fatalf("it counts as gone: %d, %v", fd, err)
	}
	defer func() { _ = unix.Close(fd) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := ended(ctx, fd); err == nil {
		t.Error("it counts as ended")
	}
	if err := p.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The kernel has closed all that it had.
	if n, err := output.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a thread has survived: %d, %v", n, err)
	}
}

// firstThreadDies is a process whose first thread has ended, and its output.
func firstThreadDies(t *testing.T) (Process, io.Reader) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("needs python3")
	}
	script := fmt.Sprintf(`
import ctypes, os, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
os.write(1, b"!")
ctypes.CDLL(None).syscall(%d, 0) # ends this thread alone
`, unix.SYS_EXIT)
	cmd := exec.CommandContext(t.Context(), "python3", "-c", script)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for alive(p) {
		<-time.After(time.Millisecond)
	}
	return p, output
}

// TestGoneIsCertain: whoever is taken for dead is not asked any more.
func TestGoneIsCertain(t *testing.T) {
	own, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	killed := sleeper(t)
	dead, err := Identify(killed.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if dead.Gone() {
		t.Error("it is gone before it was killed")
	}
	if err := dead.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p    Process
		gone bool
	}{
		"one that lives":                 {own, false},
		"one that nobody has waited for": {dead, true},
		"another one of that number":     {Process{own.PID, own.Start + "0", own.Boot}, true},
		"one from before the last boot":  {Process{own.PID, own.Start, "0b00"}, true},
		"a number that nobody has":       {Process{1 << 30, own.Start, own.Boot}, true},
		"process 1":                      {Process{1, own.Start, "0b00"}, false},
		"nothing":                        {Process{}, false},
	} {
		if got := c.p.Gone(); got != c.gone {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestANameMayHoldAnything(t *testing.T) {
	rest := " S 7 1 1 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 12345 1 1\n"
	for name, want := range map[string]Stat{
		"(sh)" + rest:          {Name: "sh", State: "S", Parent: 7, Start: "12345"},
		"(a) Z 1 2 (b)" + rest: {Name: "a) Z 1 2 (b", State: "S", Parent: 7, Start: "12345"},
		"(a\nb) R" + rest[:9]:  {},
		"":                     {},
	} {
		got, err := parseStat([]byte("12 " + name))
		if got != want || (err == nil) != (want != Stat{}) {
			t.Errorf("%q: got %+v, %v", name, got, err)
		}
	}
	if _, err := ReadStat(1 << 30); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that is not there: %v", err)
	}
}
