package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked reports that somebody else holds a lock.
var ErrLocked = errors.New("it is in use")

// Lock is held on a file or a folder until Close, or until the end of all processes
// that inherited it. There are two kinds, which do not see each other. Lock is the
// simple one (flock), which folders can have, too; a SharedLock can be turned from
// one's own to everybody's.
type Lock struct{ file *os.File }

// LockFolder takes the lock of a folder, or is ErrLocked.
func LockFolder(path string) (*Lock, error) { return lockAt(path, unix.O_DIRECTORY) }

// LockFile takes the lock of a file that is there, or is ErrLocked.
func LockFile(path string) (*Lock, error) { return lockAt(path, 0) }

func lockAt(path string, flags int) (*Lock, error) {
	f, err := os.OpenFile(path, flags|os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := LockOpen(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Lock{f}, nil
}

// Close lets the lock go; a nil one is none.
func (l *Lock) Close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

// LockOpen takes the lock of a file that is open, for as long as it is, or is
// ErrLocked.
func LockOpen(f *os.File) error { return flock(f, unix.LOCK_EX) }

// Locked says whether somebody holds the Lock of a file. For a moment nobody can take
// it then.
func Locked(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	err = flock(f, unix.LOCK_SH)
	held := errors.Is(err, ErrLocked)
	if held {
		err = nil
	}
	return held, errors.Join(err, f.Close())
}

func flock(f *os.File, how int) error {
	err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", f.Name(), err)
	}
	return nil
}

// SharedLock is a lock on a file, held by several together or by one alone. It can be
// turned from the one to the other without a moment in between (F_OFD_SETLK). The
// file must be open for writing.
type SharedLock struct{ file *os.File }

// OpenSharedLock opens the file of a lock, which it makes if need be, without
// taking the lock.
func OpenSharedLock(path string) (*SharedLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &SharedLock{f}, nil
}

// Path is where the file was opened.
func (l *SharedLock) Path() string { return l.file.Name() }

// Share takes the lock together with others, or turns it to that. It is ErrLocked
// when somebody holds it alone.
func (l *SharedLock) Share() error { return l.set(unix.F_RDLCK) }

// Own takes the lock alone, or turns it to that. It is ErrLocked when anybody else
// holds it.
func (l *SharedLock) Own() error { return l.set(unix.F_WRLCK) }

func (l *SharedLock) set(kind int16) error {
	err := unix.FcntlFlock(l.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", l.file.Name(), err)
	}
	return nil
}

// Names is how many names the file has: none, if whoever held the lock before has
// deleted it; such a lock keeps nobody out.
func (l *SharedLock) Names() int {
	var st unix.Stat_t
	if unix.Fstat(int(l.file.Fd()), &st) != nil {
		return 0
	}
	return int(st.Nlink)
}

// Close lets the lock go.
func (l *SharedLock) Close() error { return l.file.Close() }

// Shared says whether anybody holds the SharedLock of this file, in either way. One
// that cannot be looked at is held by nobody.
func Shared(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
	return err == nil && lock.Type != unix.F_UNLCK
}

// Await tries to take a lock until it is not ErrLocked, with a pause after each
// attempt. It is the cause of ctx when that ends before.
func Await[L any](ctx context.Context, pause time.Duration, try func() (L, error)) (L, error) {
	for {
		l, err := try()
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return l, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
