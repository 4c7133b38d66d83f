package namespace

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"lpbuildd/buildd/state"
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
func alive(p state.Process) bool {
	s, err := state.ReadStat(p.PID)
	return err == nil && s.Start == p.Start && !s.Dead()
}

func TestKillAllRefusesOutsideOfANamespace(t *testing.T) {
	if os.Getppid() == 1 {
		t.Skip("process 1 is the parent of this test, as in a build")
	}
	cmd := sleeper(t)
	if err := KillAll(t.Context()); err == nil {
		t.Error("it has killed something")
	}
	if p, err := state.Identify(cmd.Process.Pid); err != nil || !alive(p) {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSurvivorsAreDescribed(t *testing.T) {
	cmd := sleeper(t)
	alive, err := Survivors()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range alive {
		if strings.HasPrefix(text, fmt.Sprintf("%d (sleep, state ", cmd.Process.Pid)) {
			return
		}
	}
	t.Errorf("%d is not among %v", cmd.Process.Pid, alive)
}

func TestInitRefusesToBeAnotherProcess(t *testing.T) {
	if _, err := Init("supervise-run"); err == nil {
		t.Error("this test is process 1 of a build")
	}
}
