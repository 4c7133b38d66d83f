// Package terminal is run by root, for people who look into a target: it hands the
// bytes between their terminal and another one inside, so that nothing in there
// ever has theirs in its hands.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Is tells whether a file is a terminal.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// MakeRaw lets every byte through, so that the terminal at the other end can
// give it its meaning. restore undoes that.
func MakeRaw(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("cannot use the terminal: %w", err)
	}
	raw := *was
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag &^= unix.CSIZE | unix.PARENB
	raw.Cflag |= unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("cannot use the terminal: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, was) }, nil
}

// Size is how large the terminal is; zero if it does not know.
func Size(f *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// OnResize calls f now and whenever the terminal's size changes, until stop.
func OnResize(f func()) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	f()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-changed:
				f()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(done)
		<-ended
	}
}

// Peer opens the other side of a terminal, which a program inside gets.
func Peer(master *os.File) (*os.File, error) {
	fd := master.Fd()
	if err := unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("cannot unlock a terminal: %w", err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, fmt.Errorf("cannot open a terminal: %w", errno)
	}
	return os.NewFile(peer, "terminal"), nil
}

// drain is how long the last output may take to arrive.
const drain = time.Second

// Run calls run with the inner side of a terminal whose outer side is master,
// and hands everything between that and somebody's own terminal, a raw one,
// until run returns.
func Run(ctx context.Context, master, in, out *os.File, run func(ctx context.Context, inner *os.File) error) error {
	inner, err := Peer(master)
	if err != nil {
		return err
	}
	stop := OnResize(func() {
		if size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size)
		}
	})
	defer stop()
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		_, _ = io.Copy(out, struct{ io.Reader }{master}) // ends with the last one who has the inner side
	}()
	// Whoever types last may block for ever; the process ends anyway.
	go func() { _, _ = io.Copy(struct{ io.Writer }{master}, struct{ io.Reader }{in}) }()
	err = errors.Join(run(ctx, inner), inner.Close())
	select {
	case <-shown:
	case <-time.After(drain):
	}
	return err
}
