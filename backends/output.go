package backends

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"time"

	"lpbuildd/buildd/verdict"
)

const (
	// pipeRest is at least what a pipe can hold: what may still be in one
	// after its last writer of interest is gone.
	pipeRest = 1 << 20
	// restWait is how long one read of that rest may take; it is there already.
	restWait = 50 * time.Millisecond
)

// outputs are the pipes on which a process writes. os/exec has its own, but
// those either wait for ever for strays that hold a pipe, or lose output when
// the reader is slow.
type outputs struct {
	pipes []*outputPipe
}

// outputPipe copies what arrives on r to dst.
type outputPipe struct {
	r, child *os.File
	dst      io.Writer
	done     chan struct{}
	err      error // read after done
}

// connect gives c its standard output and error. Files are handed over as they
// are; a writer that is given for both gets one pipe.
func connect(c *exec.Cmd, cmd Command) (*outputs, error) {
	var o outputs
	stdout, err := o.add(cmd.Stdout)
	if err != nil {
		return nil, err
	}
	c.Stdout = stdout
	if sameWriter(cmd.Stdout, cmd.Stderr) {
		c.Stderr = stdout
		return &o, nil
	}
	stderr, err := o.add(cmd.Stderr)
	if err != nil {
		o.discard()
		return nil, err
	}
	c.Stderr = stderr
	return &o, nil
}

// add returns what the child writes to for dst, nil for /dev/null.
func (o *outputs) add(dst io.Writer) (io.Writer, error) {
	if f, ok := dst.(*os.File); dst == nil || ok {
		if f == nil {
			return nil, nil // os/exec's way to say /dev/null
		}
		return f, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, verdict.MarkHostFault(fmt.Errorf("cannot make a pipe: %w", err))
	}
	o.pipes = append(o.pipes, &outputPipe{r: r, child: w, dst: dst, done: make(chan struct{})})
	return w, nil
}

// discard closes the pipes of a process that did not start.
func (o *outputs) discard() {
	for _, p := range o.pipes {
		_, _ = p.r.Close(), p.child.Close()
	}
}

// start begins to copy, once the process has its ends of the pipes.
func (o *outputs) start() {
	for _, p := range o.pipes {
		_ = p.child.Close()
		go p.copy()
	}
}

// finish returns when everything that the ended process wrote is copied. It
// waits at most grace, or until ctx ends, for others that hold the pipes, and
// tells stray who they are.
func (o *outputs) finish(ctx context.Context, grace time.Duration, pid int, stray func(held string)) error {
	cut := func() {
		for _, p := range o.pipes {
			_ = p.r.SetReadDeadline(time.Now())
		}
	}
	defer context.AfterFunc(ctx, func() {
		_ = killGroup(pid)
		cut()
	})()
	late := time.NewTimer(grace)
	defer late.Stop()
	var errs []error
	for _, p := range o.pipes {
		select {
		case <-p.done:
		case <-late.C:
			if ctx.Err() == nil {
				o.name(stray)
			}
			cut()
			<-p.done
		}
		errs = append(errs, p.err)
	}
	return errors.Join(errs...)
}

// name tells who else holds the pipes.
func (o *outputs) name(stray func(held string)) {
	pipes := map[string]bool{}
	for _, p := range o.pipes {
		if info, err := p.r.Stat(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				pipes[fmt.Sprintf("pipe:[%d]", st.Ino)] = true
			}
		}
	}
	if pids := processes().holders(func(_ int, pipe string) bool { return pipes[pipe] }); len(pids) > 0 {
		stray(describe(pids))
	}
}

// copy runs until the end of the pipe, or until the deadline set by finish and
// then on to the end of what is in the pipe at that time.
func (p *outputPipe) copy() {
	defer close(p.done)
	// Closing makes a process die that writes to a broken dst, instead of hang.
	defer func() { _ = p.r.Close() }()
	buf := make([]byte, 64<<10)
	rest, cut := pipeRest, false
	for rest > 0 {
		n, err := p.r.Read(buf)
		if n > 0 {
			if _, p.err = p.dst.Write(buf[:n]); p.err != nil {
				return
			}
		}
		switch {
		case err == nil && cut:
			rest -= n
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && !cut:
			cut = true
			_ = p.r.SetReadDeadline(time.Now().Add(restWait))
		default:
			return
		}
	}
}

// sameWriter tells whether both are the same writer.
func sameWriter(a, b io.Writer) bool {
	if a == nil || b == nil {
		return false
	}
	t := reflect.TypeOf(a)
	return t == reflect.TypeOf(b) && t.Comparable() && a == b
}
