package supervisor

import (
	"errors"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
)

// inFolder is a process with these words in a folder. It ends when its standard
// input does.
func inFolder(t *testing.T, dir string, words ...string) state.Process {
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
	p, err := state.Identify(cmd.Process.Pid)
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
	others := []state.Process{
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
		if alive(p) {
			t.Errorf("%+v lives", p)
		}
	}
	for _, p := range others {
		if !alive(p) {
			t.Errorf("%+v was killed", p)
		}
	}
}

// TestWhatIsStoppedIsKilled: sudo stops itself when its child is stopped, and
// nobody continues it when that was killed.
func TestWhatIsStoppedIsKilled(t *testing.T) {
	dir := t.TempDir()
	stopped, runs := inFolder(t, dir, "sudo", "-n", "lpbuildd", RoleSupervise), inFolder(t, dir, "program", RoleRun)
	if err := unix.Kill(stopped.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(stopped.PID, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(status, err)
	}
	if err := killStopped(t.Context(), dir); err != nil || alive(stopped) || !alive(runs) {
		t.Errorf("%v; the one that is stopped lives: %v, the other: %v", err, alive(stopped), alive(runs))
	}
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
			l, err := ledger.Open(state.Build(dir).Ledger())
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
