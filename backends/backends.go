// Package backends is run by root, inside the namespaces of a build and in visits
// to kept ones: it says what an isolated environment for a build can do, starts all
// programs of builds, and touches nothing by itself. It holds what every such
// environment needs: the one function that runs the programs of a build,
// architecture personalities, and small questions asked by running commands
// (Exists, IsDir, List, ...).
//
// Each environment ("target", spec: backends.md) is a package below this one.
// The behaviour they all share is a test suite: backends/backendtest.
package backends

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Command describes one process by its words. Where a shell is on the way to it, as
// for a folder of a target, each word is quoted: none is ever split or expanded.
type Command struct {
	// Argv is the program and its arguments; the program is looked up in the
	// PATH of the environment it runs in.
	Argv []string
	// Dir is the working directory inside that environment; "" means "/".
	Dir string
	// Env is added, in order, as "K=V" to a minimal environment.
	Env []string
	// Stdin is /dev/null when nil.
	Stdin io.Reader
	// Stdout and Stderr may be the same writer; the process then gets one
	// pipe for both. Output is discarded when nil.
	Stdout, Stderr io.Writer
}

// ExitError reports that a command ran and failed. Any other error of Run
// means that it could not be run at all.
type ExitError struct {
	Argv []string
	// Code is the exit code; death by a signal is 128 plus its number.
	Code int
}

// Error names the command's program and its exit code.
func (e *ExitError) Error() string {
	name := strings.Join(e.Argv, " ")
	if len(name) > 200 {
		name = name[:200] + "..."
	}
	return fmt.Sprintf("%s: exit code %d", name, e.Code)
}

// Runner runs commands.
type Runner interface {
	// Run runs a command to its end and returns nil for exit code 0, an
	// *ExitError for any other, and another error if it could not be run.
	// When ctx ends, the command's processes are killed and Run returns
	// context.Cause(ctx). Safe for concurrent use.
	Run(ctx context.Context, cmd Command) error
}

// Target is what a build type sees of its environment. Commands run as root
// inside it. Paths are absolute paths inside it, and symbolic links are
// resolved inside it, never on the host.
type Target interface {
	Runner
	// CopyIn makes path a regular file owned by root with this content and
	// these permission bits. A file or link that was there is replaced, its
	// folder must exist.
	CopyIn(ctx context.Context, content io.Reader, path string, mode fs.FileMode) error
	// CopyOut opens a regular file for reading as a stream. A missing file is
	// fs.ErrNotExist. The caller closes it.
	CopyOut(ctx context.Context, path string) (io.ReadCloser, error)
}

// Image is a base image: a tarball whose top folder is chroot-autobuild, or
// what else a backend knows.
type Image struct {
	// Path is the file on the host.
	Path string
	// SHA1 is the hex digest that names it in the file cache; it keys whatever
	// a backend keeps of it between builds.
	SHA1 string
	// Type is "chroot" or "lxd" (spec: lifecycle.md section 3).
	Type string
}

// Lifecycle is a target together with the steps that make and unmake it. They
// are called in the order of the methods, from one goroutine, except
// KillProcesses, which may come at any time from any goroutine. Stop and
// Remove must be safe after a failed or missing Create or Start, and safe to
// call twice.
type Lifecycle interface {
	Target
	// Create makes the target from an image.
	Create(ctx context.Context, image Image) error
	// Start makes the target ready to run commands.
	Start(ctx context.Context) error
	// KillProcesses kills everything that runs in the target and returns when
	// it is gone, or with an error when ctx ends first.
	KillProcesses(ctx context.Context) error
	// Stop undoes Start.
	Stop(ctx context.Context) error
	// Remove undoes Create: nothing of the target remains on the host, except
	// what the backend keeps of the image for the next build.
	Remove(ctx context.Context) error
}
