package backends

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
)

// input is the pipe from which a process reads. os/exec has its own, but that
// waits for ever for a reader that blocks after the process has ended.
type input struct {
	src      io.Reader
	child, w *os.File
	result   chan error
}

// feed gives c its standard input: nothing, a file as it is, or a pipe, in
// which case there is an input to work with.
func feed(c *exec.Cmd, src io.Reader) (*input, error) {
	if f, ok := src.(*os.File); src == nil || ok {
		if f != nil {
			c.Stdin = f
		}
		return nil, nil // no pipe is needed, and the methods accept nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, verdict.MarkHostFault(fmt.Errorf("cannot make a pipe: %w", err))
	}
	c.Stdin = r
	return &input{src: src, child: r, w: w, result: make(chan error, 1)}, nil
}

// discard closes the pipe of a process that did not start.
func (in *input) discard() {
	if in != nil {
		_, _ = in.child.Close(), in.w.Close()
	}
}

// start begins to copy, once the process has its end of the pipe.
func (in *input) start() {
	if in == nil {
		return
	}
	_ = in.child.Close()
	go func() {
		_, err := io.Copy(in.w, in.src)
		// A process need not read everything.
		if errors.Is(err, unix.EPIPE) {
			err = nil
		}
		in.result <- err
		_ = in.w.Close()
	}()
}

// finish returns the error of the source, after the process has ended. A
// source that blocks is given up after grace.
func (in *input) finish(grace time.Duration) error {
	if in == nil {
		return nil
	}
	select {
	case err := <-in.result:
		return err
	case <-time.After(grace):
		return nil
	}
}

// isTerminal tells whether a command's input is one.
func isTerminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok || f == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
