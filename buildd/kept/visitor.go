package kept

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
)

// Visitor is who is inside something that is kept.
type Visitor struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	// PID and the rest name the process whose death ends the visit, for good.
	PID   int    `json:"pid"`
	Start string `json:"start"`
	Boot  string `json:"boot"`
}

// ErrInside reports that somebody is inside, or that it is being removed.
var ErrInside = errors.New("it is in use")

// Lock is held by whoever is inside, or removes what is kept.
type Lock struct {
	path string
	file *os.File
}

// Lock takes the lock of one of them, or is ErrInside. The lock ends with
// Unlock, or with all processes that inherited it. What was removed meanwhile
// is fs.ErrNotExist.
func (s Store) Lock(id string) (*Lock, error) {
	l, err := s.lock(id, unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	// It may have been removed between open and lock.
	if _, err := os.Lstat(filepath.Join(l.path, lockName)); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

func (s Store) lock(id string, how int) (*Lock, error) {
	path := s.Path(id)
	file, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDONLY|unix.O_NOFOLLOW, 0) //nolint:gosec // below the folder of root
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrInside
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Lock{path, file}, nil
}

// Enter says who is inside from now on.
func (l *Lock) Enter(v Visitor) error { return write(filepath.Join(l.path, visitorName), v) }

// Unlock ends a visit.
func (l *Lock) Unlock() error {
	err := os.Remove(filepath.Join(l.path, visitorName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.file.Close())
}

// Visitor says who is inside; false if nobody is, or nobody knows yet.
func (s Store) Visitor(id string) (Visitor, bool) {
	l, err := s.lock(id, unix.LOCK_SH)
	if err == nil {
		_ = l.file.Close() // only read
		return Visitor{}, false
	}
	var v Visitor
	if !errors.Is(err, ErrInside) || job.ReadFile(filepath.Join(s.Path(id), visitorName), &v) != nil {
		return Visitor{}, false
	}
	return v, true
}

// String is for people.
func (v Visitor) String() string {
	return fmt.Sprintf("%s since %s (process %d)", v.By, v.Since.Local().Format(time.DateTime), v.PID)
}
