package supervise

import (
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/state"
)

// inFolder is a process with these words in a folder. It ends when its standard
// input does.
func inFolder(t *testing.T, dir state.Build, words ...string) state.Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", "read -r line; :"}, words...)...)
	cmd.Dir = dir.Path()
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
	dir, elsewhere := state.Build(t.TempDir()), state.Build(t.TempDir())
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
	dir := state.Build(t.TempDir())
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

// alive says whether the process still is the one it was, and runs.
func alive(p state.Process) bool {
	s, err := state.ReadStat(p.PID)
	return err == nil && s.Start == p.Start && !s.Dead()
}

// TestTheLastBuildIsEnded before the next one begins: all of it if it has left
// anything to undo, or else what is stopped.
func TestTheLastBuildIsEnded(t *testing.T) {
	for _, owes := range []bool{true, false} {
		dir := state.Build(t.TempDir())
		stopped, runs := inFolder(t, dir, "sudo", RoleSupervise), inFolder(t, dir, "program", RoleRun)
		if err := unix.Kill(stopped.PID, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(stopped.PID, &status, unix.WUNTRACED, nil); err != nil || !status.Stopped() {
			t.Fatal(status, err)
		}
		if owes {
			if err := os.WriteFile(dir.Ledger(), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := endLast(t.Context(), dir); err != nil || alive(stopped) || alive(runs) == owes {
			t.Errorf("owes %v: %v; the one that is stopped lives: %v, the other: %v", owes, err, alive(stopped), alive(runs))
		}
	}
}
