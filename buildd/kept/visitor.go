package kept

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Visitor is who is inside something that is kept.
type Visitor struct {
	By    string    `json:"by"`
	Since time.Time `json:"since"`
	// Process is the one whose death ends the visit.
	state.Process
}

// Lock is held by whoever is inside, or removes what is kept.
type Lock struct {
	path string
	lock *disk.Lock
}

// Lock takes the lock of one of them, or is disk.ErrLocked when somebody is inside,
// or removes it. The lock ends with Unlock, or with all processes that inherited
// it. What was removed meanwhile is fs.ErrNotExist.
func (b Builds) Lock(id string) (*Lock, error) {
	lock, err := disk.LockFile(b.lockPath(id))
	if err != nil {
		return nil, err
	}
	// It may have been removed between open and lock.
	if _, err := os.Lstat(b.lockPath(id)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Lock{b.Path(id), lock}, nil
}

func (b Builds) lockPath(id string) string { return filepath.Join(b.Path(id), lockName) }

// Enter says who is inside from now on.
func (l *Lock) Enter(v Visitor) error { return write(filepath.Join(l.path, visitorName), v) }

// Unlock ends a visit.
func (l *Lock) Unlock() error {
	err := os.Remove(filepath.Join(l.path, visitorName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.lock.Close())
}

// Visitor says who is inside; false if nobody is, or nobody knows yet.
func (b Builds) Visitor(id string) (Visitor, bool) {
	var v Visitor
	inside, err := disk.Locked(b.lockPath(id))
	if err != nil || !inside || disk.ReadJSON(filepath.Join(b.Path(id), visitorName), &v) != nil {
		return Visitor{}, false
	}
	return v, true
}

// String is for people.
func (v Visitor) String() string {
	return fmt.Sprintf("%s since %s (process %d)", v.By, v.Since.Local().Format(time.DateTime), v.PID)
}
