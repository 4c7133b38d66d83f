package supervise

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/state"
)

// TestTheProcessesOfAUserAreLimited, and never more than they were may be.
func TestTheProcessesOfAUserAreLimited(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: takes a limit back")
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NPROC, &before) })
	for _, processes := range []int64{90000, 120000} {
		var l unix.Rlimit
		err := errors.Join(limitUser(processes), unix.Getrlimit(unix.RLIMIT_NPROC, &l))
		if err != nil || l.Max != min(90000, before.Max) || l.Cur > l.Max {
			t.Errorf("%d: got %+v, %v", processes, l, err)
		}
	}
}

func TestLimitsThatCannotBeReadAreNotPassedOver(t *testing.T) {
	dir := state.Build(t.TempDir())
	if err := os.WriteFile(dir.Limits(), []byte(`{"instance":"../x","cpus":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := enterGroup(t.Context(), dir); err == nil {
		t.Error("a build would begin without limits")
	}
}

func TestSudo(t *testing.T) {
	if got := sudo(os.Getpid()); len(got) != 0 {
		t.Errorf("this test is no sudo, but got %v", got)
	}
}
