//go:build integration

package e2e

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lpbuildd/buildd"
)

// operate runs a command for operators as root, or as the user of the daemon.
func (b *builder) operate(user string, args ...string) (string, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.program, append(args, "--config", filepath.Join(b.dir, "config"))...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + b.home, "LANG=C.UTF-8"}
	if user != "root" {
		allowHelpers(b.t, b.program)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account(b.t, user)}
	}
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	return string(out) + errors.String(), err
}

// operates is operate for what must succeed.
func (b *builder) operates(user string, args ...string) string {
	b.t.Helper()
	out, err := b.operate(user, args...)
	if err != nil {
		b.t.Fatalf("%q as %s: %v\n%s", args, user, err, out)
	}
	return out
}

// TestDrainDuringABuild drains a builder with a build, restarts it, and has the
// manager fetch and clean as ever.
func TestDrainDuringABuild(t *testing.T) {
	for _, user := range []string{"root", "buildd"} {
		t.Run("as "+user, func(t *testing.T) {
			b := newBuilder(t, options{user: "buildd"})
			b.useStandIn()
			image := b.cheapImage(1 << 20)
			w := b.held(image)
			b.build("last", w)
			b.reaches("\nheld.\n")
			if out := b.operates(user, "drain", "--reason", "test"); !strings.Contains(out, `"last" still runs (BUILDING)`) {
				t.Errorf("drain says %s", out)
			}
			b.restart()
			b.letGo("last")
			st := b.finish("OK")
			must(t, b.verify(w, st))
			b.clean()
			if st := b.status(); !strings.Contains(st.Drained, "(test)") {
				t.Errorf("after clean: %+v", st)
			}
			if err := b.client.Build(t.Context(), w.request("next")); err == nil || !strings.Contains(err.Error(), buildd.DrainedText) {
				t.Errorf("build: %v", err)
			}
			if _, err := b.client.Info(t.Context()); err != nil {
				t.Error(err)
			}
			b.put([]byte("still fetched"))
			if st := b.restart(); st.Drained == "" {
				t.Errorf("after a restart: %+v", st)
			}
			if out := b.operates(user, "drain", "--wait"); !strings.HasSuffix(out, "it has no build.\n") {
				t.Errorf("drain --wait says %s", out)
			}
			info, err := os.Stat(filepath.Join(b.cache, ".lpbuildd/drained.json"))
			must(t, err)
			if owner := info.Sys().(*syscall.Stat_t).Uid; owner != account(t, "buildd").Uid {
				t.Errorf("the file belongs to the uid %d", owner)
			}
			b.operates(user, "undrain")
			b.run("next", b.steady(image), "OK")
			b.clean()
		})
	}
}

// TestDrainedBuilderTellsThatABuildIsLost kills everything of a build.
func TestDrainedBuilderTellsThatABuildIsLost(t *testing.T) {
	b := newBuilder(t, options{user: "buildd"})
	b.useStandIn()
	b.build("lost", b.cheap(b.cheapImage(1<<20), "echo here\nsleep 600\n"))
	b.reaches("\nhere\n")
	b.operates("root", "drain")
	b.kill()
	for _, pid := range b.supervisors() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	b.start()
	b.eventually("the loss is told", func() bool {
		st := b.status()
		return st.State == buildd.Idle && st.Drained == ""
	})
}
