//go:build integration

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// programVariable names the daemon that TestMain has built. LPBUILDD_PROGRAM
// may be set to test another one, e.g. with the race detector in it.
const programVariable = "LPBUILDD_PROGRAM"

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

// runTests builds the daemon where every user can run it and none but root can
// change it, as the sudo rule of an installed daemon demands.
func runTests(m *testing.M) int {
	if os.Geteuid() != 0 || os.Getenv(programVariable) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("/var/tmp", "lpbuildd-e2e-program-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = buildProgram(filepath.Join(dir, "lpbuildd"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot build the daemon:", err)
		return 1
	}
	return m.Run()
}

func buildProgram(path string) error {
	build := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", path, inTree("cmd/lpbuildd"))
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	return os.Setenv(programVariable, path)
}

// inTree is the path of a file or folder of this repository.
func inTree(names ...string) string {
	return filepath.Join(append([]string{"../../.."}, names...)...)
}
