package chroot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is the pause between attempts to take a lock that another builder
// holds.
const lockPoll = 50 * time.Millisecond

// errLocked reports that somebody else holds a lock.
var errLocked = errors.New("it is in use")

// fileLock is a lock on a file, held shared or exclusively until close or the
// end of the process. It is of the kind that can be turned from exclusive to
// shared without a moment in between (F_OFD_SETLK).
type fileLock struct{ f *os.File }

// openLock opens the file of a lock, without taking it.
func openLock(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // below the folder of roots
	if err != nil {
		return nil, err
	}
	return &fileLock{f}, nil
}

// shared takes the lock together with others, or turns it to that. It is
// errLocked when somebody holds it exclusively.
func (l *fileLock) shared() error { return l.set(unix.F_RDLCK) }

// exclusive takes the lock alone. It is errLocked when anybody else holds it.
func (l *fileLock) exclusive() error { return l.set(unix.F_WRLCK) }

func (l *fileLock) set(kind int16) error {
	err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errLocked
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", l.f.Name(), err)
	}
	return nil
}

// stale tells whether the file was deleted, by whoever held the lock before:
// such a lock keeps nobody out.
func (l *fileLock) stale() bool {
	var st unix.Stat_t
	err := unix.Fstat(int(l.f.Fd()), &st)
	return err != nil || st.Nlink == 0
}

// linked tells whether the file has another name: something that outlives its
// process keeps what the lock protects (see Keep).
func (l *fileLock) linked() bool {
	var st unix.Stat_t
	return unix.Fstat(int(l.f.Fd()), &st) == nil && st.Nlink > 1
}

// close lets the lock go.
func (l *fileLock) close() error { return l.f.Close() }

// pollLock waits a little before the next attempt.
func pollLock(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(lockPoll):
		return nil
	}
}
