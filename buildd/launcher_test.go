package buildd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOnlyACleanUpIsWaitedForAfterItsTime: a child of root's, which nobody may
// kill, goes on in the folder of the build.
func TestOnlyACleanUpIsWaitedForAfterItsTime(t *testing.T) {
	goesOn := []string{"sh", "-c", `(echo $$ >begun; until [ -e finish ]; do sleep 0.01; done; >ended) & wait`}
	l := Launcher{Cleanup: goesOn, Trash: goesOn}
	for name, tt := range map[string]struct {
		run   func(ctx context.Context, dir string) error
		waits bool
	}{
		"clean-up": {l.cleanup, true},
		"trash":    {func(ctx context.Context, dir string) error { return l.emptyTrash(ctx, dir, 0) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			there := func(name string) bool { _, err := os.Lstat(filepath.Join(dir, name)); return err == nil }
			finish := func() {
				if err := os.WriteFile(filepath.Join(dir, "finish"), nil, 0o600); err != nil {
					t.Error(err)
				}
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			over := make(chan error, 1)
			go func() { over <- tt.run(ctx, dir) }()
			var helper int
			until(func() bool {
				data, _ := os.ReadFile(filepath.Join(dir, "begun"))
				helper, _ = strconv.Atoi(strings.TrimSpace(string(data)))
				return helper > 0
			})
			cancel(errors.New("its time is up"))
			until(func() bool { return errors.Is(syscall.Kill(helper, 0), syscall.ESRCH) })
			if tt.waits {
				finish()
			}
			err := <-over
			if err == nil || there("ended") != tt.waits {
				t.Errorf("%v, its child has ended: %v", err, there("ended"))
			}
			finish()
			until(func() bool { return there("ended") })
		})
	}
}

// until polls.
func until(done func() bool) {
	for !done() {
		<-time.After(time.Millisecond)
	}
}

func TestHelpersDoNotInheritWhatIsForThisProcess(t *testing.T) {
	t.Setenv("SUDO_UID", "1")
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("WATCHDOG_PID", "1")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("http_proxy", "http://192.0.2.1")
	got := environment()
	for _, kv := range []string{"SUDO_UID=1", "NOTIFY_SOCKET=/nowhere", "WATCHDOG_PID=1", "WATCHDOG_USEC=1"} {
		if slices.Contains(got, kv) {
			t.Errorf("helpers get %s", kv)
		}
	}
	if !slices.Contains(got, "http_proxy=http://192.0.2.1") {
		t.Error("helpers lose what is for them")
	}
}
