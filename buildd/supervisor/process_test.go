package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
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
func (p process) alive() bool {
	fields, err := stat(p.PID)
	return err == nil && fields[startField] == p.Start && !dead(fields)
}

func TestKillKillsTheProcessAndWaits(t *testing.T) {
	cmd := sleeper(t)
	p, err := identify(cmd.Process.Pid)
	if err != nil || !p.alive() {
		t.Fatalf("%+v, %v", p, err)
	}
	if err := p.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Nobody has waited for it: it is dead all the same.
	if p.alive() {
		t.Error("it lives")
	}
	if err := p.kill(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestKillLeavesAnotherProcessOfThatNumberAlone(t *testing.T) {
	cmd := sleeper(t)
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]process{
		"started at another time": {PID: p.PID, Start: p.Start + "0", Boot: p.Boot},
		"before the last boot":    {PID: p.PID, Start: p.Start, Boot: "0b00"},
		"gone":                    {PID: 1 << 30, Start: p.Start, Boot: p.Boot},
		"nothing":                 {},
	} {
		if other.PID > 0 { // 0 would be this test itself
			other.ask()
		}
		if err := other.kill(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !p.alive() {
			t.Fatalf("%s: the wrong process was killed", name)
		}
	}
}

func TestKillAllRefusesOutsideOfANamespace(t *testing.T) {
	if os.Getppid() == 1 {
		t.Skip("process 1 is the parent of this test, as in a build")
	}
	cmd := sleeper(t)
	if err := killAll(t.Context()); err == nil {
		t.Error("it has killed something")
	}
	if p, err := identify(cmd.Process.Pid); err != nil || !p.alive() {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSurvivorsAreDescribed(t *testing.T) {
	cmd := sleeper(t)
	alive, err := survivors()
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
	if _, err := Init(RoleRun); err == nil {
		t.Error("this test is process 1 of a build")
	}
}
