package buildd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/state"
)

// errNoSupervisor reports that nobody listens on the build's socket.
var errNoSupervisor = errors.New("the supervisor of the build is gone")

// throughFolder calls do with a short path of the socket in dir, since socket
// paths are limited to 107 bytes and folders are not.
func throughFolder(dir string, do func(path string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", fd, state.SocketName))
}

// listen binds the socket of a build and returns it for the supervisor to
// inherit. The caller closes it; the path stays.
func listen(ctx context.Context, dir string) (*os.File, error) {
	var file *os.File
	err := throughFolder(dir, func(path string) error {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
		if err != nil {
			return err
		}
		socket, ok := ln.(*net.UnixListener)
		if !ok {
			return errors.Join(errors.New("it is no Unix socket"), ln.Close())
		}
		socket.SetUnlinkOnClose(false)
		file, err = socket.File()
		return errors.Join(err, ln.Close())
	})
	if err != nil {
		return nil, fmt.Errorf("cannot bind the socket of the build: %w", err)
	}
	if err := os.Chmod(state.Build(dir).Socket(), 0o600); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Connect connects to the supervisor of the build in dir. It is an error when there is
// none; there is no time in between, because the socket listens from before the
// supervisor's start until its death.
func (Launcher) Connect(ctx context.Context, dir string) (net.Conn, error) {
	var conn net.Conn
	err := throughFolder(dir, func(path string) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSupervisor, err)
	}
	return conn, nil
}
