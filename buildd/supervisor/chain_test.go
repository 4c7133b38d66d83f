package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
)

// inFolder is a process with these words in a folder. It ends when its standard
// input does.
func inFolder(t *testing.T, dir string, words ...string) process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", "read -r line; :"}, words...)...)
	cmd.Dir = dir
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheChainIsFoundByFolderAndRole(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	var want []int
	for _, role := range []string{RoleSupervise, RoleInit, RoleRun} {
		want = append(want, inFolder(t, dir, "program", role).PID)
	}
	others := []process{
		inFolder(t, elsewhere, "program", RoleSupervise), // of another builder
		inFolder(t, dir, "program", RoleCleanup),
		inFolder(t, dir, "vi", RoleSupervise, "notes"),
	}
	found, err := chain(dir)
	var got []int
	for _, p := range found {
		got = append(got, p.PID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if err := killChain(t.Context(), dir, func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	for _, p := range found {
		if p.alive() {
			t.Errorf("%+v lives", p)
		}
	}
	for _, p := range others {
		if !p.alive() {
			t.Errorf("%+v was killed", p)
		}
	}
}

// TestWhatIsStoppedIsKilled: sudo stops itself when its child is stopped, and
// nobody continues it when that was killed.
func TestWhatIsStoppedIsKilled(t *testing.T) {
	dir := t.TempDir()
	stopped, runs := inFolder(t, dir, "sudo", "-n", "lpbuildd", RoleSupervise), inFolder(t, dir, "program", RoleRun)
	if err := stopped.signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(stopped.PID, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(status, err)
	}
	if err := killStopped(t.Context(), dir); err != nil || stopped.alive() || !runs.alive() {
		t.Errorf("%v; the one that is stopped lives: %v, the other: %v", err, stopped.alive(), runs.alive())
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
	if err := p.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The kernel has closed all that it had.
	if n, err := output.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a thread has survived: %d, %v", n, err)
	}
}

// firstThreadDies is a process whose first thread has ended, and its output.
func firstThreadDies(t *testing.T) (process, io.Reader) {
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
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(output, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for p.alive() {
		<-time.After(time.Millisecond)
	}
	return p, output
}

func TestWhatAProcessOfTheBuildHoldsIsNotAnotherBuilders(t *testing.T) {
	for name, c := range map[string]struct {
		marked      bool
		taken, fail bool
	}{
		"with the mark of this builder": {marked: true, fail: true},
		"without":                       {taken: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, home := t.TempDir(), t.TempDir()
			l, err := ledger.Open(filepath.Join(dir, job.LedgerName))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.Add(ledger.Entry{Kind: ledger.Directory, Name: home}), l.Close()); err != nil {
				t.Fatal(err)
			}
			if c.marked {
				if err := mark(home, dir); err != nil {
					t.Fatal(err)
				}
			}
			holder, err := claim(home)
			if err != nil {
				t.Fatal(err)
			}
			taken, err := takenOver(dir)
			if taken != c.taken || (err != nil) != c.fail {
				t.Errorf("got %v, %v", taken, err)
			}
			if err := holder.Close(); err != nil {
				t.Fatal(err)
			}
			if taken, err = takenOver(dir); taken || err != nil {
				t.Errorf("when nobody holds it: %v, %v", taken, err)
			}
		})
	}
}
