package incus

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

const (
	// chunk is how much is asked for, or sent, at a time; it travels in packets
	// of packetSize.
	chunk      = 1 << 20
	packetSize = 32 << 10
	// abortGrace is how long a transfer may go on after its context has ended,
	// to tidy up.
	abortGrace = 5 * time.Second
)

// guestFiles are those of the container, running or not.
type guestFiles struct{ *guest }

// copyIn writes a file. The new one takes the place of the old one at once, when it
// is complete.
func (c guestFiles) copyIn(ctx context.Context, content io.Reader, name string, mode fs.FileMode) error {
	err := c.withFiles(ctx, func(s *session) error { return s.write(ctx, content, name, mode) })
	return c.fileError(ctx, "push", name, err)
}

// copyOut opens a file.
func (c guestFiles) copyOut(ctx context.Context, name string) (io.ReadCloser, error) {
	s, err := c.openFiles(ctx)
	if err != nil {
		return nil, c.fileError(ctx, "pull", name, err)
	}
	f, err := s.open(name)
	if err != nil {
		s.close()
		return nil, c.fileError(ctx, "pull", name, err)
	}
	r := &remoteFile{c: c, s: s, f: f, name: name, ctxErr: func() error { return context.Cause(ctx) }}
	r.buf = bufio.NewReaderSize(readFunc(r.fill), chunk)
	return r, nil
}

// fileError says what could not be done (spec: backends.md section 9 has the
// texts).
func (c guestFiles) fileError(ctx context.Context, what, name string, err error) error {
	var fault *verdict.HostFault
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &fault):
		return err
	}
	return fmt.Errorf("Failed to %s %s:%s: %w", what, c.name, name, err) // the specification fixes this text
}

// session is a connection to the files of the container, running or not. Links
// are resolved inside it: at the other end is a process whose root directory is
// the container's.
type session struct {
	server *server
	client *sftp.Client
	close  func()
}

// withFiles opens a session for f.
func (c guestFiles) withFiles(ctx context.Context, f func(*session) error) error {
	s, err := c.openFiles(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	return f(s)
}

// openFiles opens a session, which ends some time after ctx does.
func (c guestFiles) openFiles(ctx context.Context) (*session, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !c.has(KindContainer) {
		return nil, errors.New("the container was not started")
	}
	const what = "look into the container"
	conn, err := ask(ctx, c.server, what, func(e engine) (net.Conn, error) { return dialFiles(ctx, e, c.name, c.server.patience()) })
	if err != nil {
		return nil, err
	}
	// The handshake is the one part that nothing else guards.
	_ = conn.SetDeadline(time.Now().Add(c.server.call))
	remote, err := sftp.NewClientPipe(conn, conn, sftp.MaxPacket(packetSize), sftp.UseConcurrentWrites(true))
	if err != nil {
		_ = conn.Close()
		return nil, c.server.explain(ctx, what, err)
	}
	_ = conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(abortGrace, func() { _ = conn.Close() }) })
	return &session{server: c.server, client: remote, close: sync.OnceFunc(func() {
		stop()
		_ = conn.Close()
		_ = remote.Close()
	})}, nil
}

// dialFiles is GetInstanceFileSFTPConn with an end: the library takes no
// context for it.
func dialFiles(ctx context.Context, e engine, name string, limit time.Duration) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	ch := make(chan result, 1)
	go func() {
		conn, err := e.GetInstanceFileSFTPConn(name)
		ch <- result{conn, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	err := errDeadline
	select {
	case r := <-ch:
		return r.conn, r.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
	}
	go func() {
		if r := <-ch; r.conn != nil {
			_ = r.conn.Close()
		}
	}()
	return nil, err
}

// timed runs one step of a transfer. An engine that does not answer loses the
// connection.
func (s *session) timed(f func() error) error {
	timer := time.AfterFunc(s.server.call, s.close)
	defer timer.Stop()
	err := f()
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return s.server.fault("copy files", err)
	}
	return err
}

// open opens a regular file for reading.
func (s *session) open(name string) (f *sftp.File, err error) {
	if !path.IsAbs(name) {
		return nil, fmt.Errorf("%q is not an absolute path", name)
	}
	err = s.timed(func() error {
		st, err := s.client.Stat(name)
		if err != nil {
			return err
		}
		if !st.Mode().IsRegular() {
			return errors.New("it is not a regular file")
		}
		f, err = s.client.Open(name)
		return err
	})
	return f, err
}

// write makes a file under another name and then renames it.
func (s *session) write(ctx context.Context, content io.Reader, name string, mode fs.FileMode) error {
	dir, base := path.Split(name)
	if !path.IsAbs(name) || base == "" || base == "." || base == ".." {
		return fmt.Errorf("%q cannot be a file", name)
	}
	partial := dir + ".lpbuildd-" + rand.Text()
	var f *sftp.File
	err := s.timed(func() (err error) {
		f, err = s.client.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		return err
	})
	if err != nil {
		return err
	}
	err = s.fill(ctx, f, content)
	err = errors.Join(err, s.timed(func() error {
		// The owner comes before the mode, which it could change.
		return errors.Join(f.Chown(0, 0), f.Chmod(mode.Perm()), f.Close())
	}))
	if err == nil {
		err = s.timed(func() error { return s.client.PosixRename(partial, name) })
	}
	if err != nil {
		_ = s.timed(func() error { return s.client.Remove(partial) })
	}
	return err
}

// fill copies content to a file.
func (s *session) fill(ctx context.Context, f *sftp.File, content io.Reader) error {
	buf := make([]byte, chunk)
	for ctx.Err() == nil {
		n, err := fillBuffer(content, buf)
		if n > 0 {
			if err := s.timed(func() error { _, err := f.Write(buf[:n]); return err }); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
	return context.Cause(ctx)
}

// fillBuffer is io.ReadFull, except for errors: the end of the source is always
// io.EOF, also after a few bytes, and others are passed on unchanged.
func fillBuffer(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// read returns a small file, or nil if it is missing.
func (s *session) read(name string) ([]byte, error) {
	f, err := s.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var data []byte
	err = s.timed(func() (err error) {
		data, err = backends.ReadAll(f, chunk)
		return errors.Join(err, f.Close())
	})
	return data, err
}

// writeText makes a small file.
func (s *session) writeText(ctx context.Context, name, text string, mode fs.FileMode) error {
	return s.write(ctx, strings.NewReader(text), name, mode)
}

// link makes a symbolic link in the place of whatever file is there.
func (s *session) link(target, name string) error {
	partial := path.Dir(name) + "/.lpbuildd-" + rand.Text()
	return s.timed(func() error {
		if err := s.client.Symlink(target, partial); err != nil {
			return err
		}
		if err := s.client.PosixRename(partial, name); err != nil {
			return errors.Join(err, s.client.Remove(partial))
		}
		return nil
	})
}

// makeDir makes a folder and those above it.
func (s *session) makeDir(name string) error {
	return s.timed(func() error { return s.client.MkdirAll(name) })
}

// erase deletes paths and what is below them. Missing ones are fine.
func (s *session) erase(paths []string) error {
	for _, path := range paths {
		err := s.timed(func() error {
			if _, err := s.client.Lstat(path); err != nil {
				return err
			}
			return s.client.RemoveAll(path)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// remoteFile is an open file of the container.
type remoteFile struct {
	c      guestFiles
	s      *session
	f      *sftp.File
	name   string
	buf    *bufio.Reader
	ctxErr func() error
}

// Read implements io.Reader.
func (r *remoteFile) Read(p []byte) (int, error) { return r.buf.Read(p) }

// fill asks for much at once: it is the round trips that take time.
func (r *remoteFile) fill(p []byte) (n int, err error) {
	if err := r.ctxErr(); err != nil {
		return 0, err
	}
	err = r.s.timed(func() (err error) {
		n, err = r.f.Read(p)
		return err
	})
	if err != nil && !errors.Is(err, io.EOF) {
		if ctxErr := r.ctxErr(); ctxErr != nil {
			return n, ctxErr
		}
		return n, r.c.fileError(context.Background(), "pull", r.name, err)
	}
	return n, err
}

// Stat looks at the file that is open.
func (r *remoteFile) Stat() (info fs.FileInfo, err error) {
	err = r.s.timed(func() error {
		info, err = r.f.Stat()
		return err
	})
	return info, err
}

// Close ends the transfer.
func (r *remoteFile) Close() error {
	r.s.close()
	return nil
}

type readFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }
