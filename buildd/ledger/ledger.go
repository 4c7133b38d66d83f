// Package ledger keeps what a build made on this host that outlives its
// processes, so that it can be undone whatever killed them.
//
// An entry is on disk before the thing it names is made, and struck out after
// the thing is gone. A ledger is a file of JSON lines that only grows: additions
// and strikes. A last line without its end was never acknowledged and does not
// count. Undoing must be idempotent, since the thing of an open entry may not
// exist yet or any more.
//
// A Ledger is safe for concurrent use; only one may be open on a file.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Kind says what an entry names, and so how it is undone.
type Kind string

const (
	// Directory is a folder that is removed with everything in it.
	Directory Kind = "directory"
	// File is a single path that is unlinked.
	File Kind = "file"
	// Token is a proxy token to be revoked, by the name under which it is kept.
	Token Kind = "token"
	// Bridge is a network bridge with all that belongs to it.
	Bridge Kind = "bridge"
	// Container is a container of the engine.
	Container Kind = "container"
	// Profile is a profile of the engine.
	Profile Kind = "profile"
	// Network is a network that the engine of another machine made.
	Network Kind = "container-network"
	// Result is an entry of the file cache that belongs to a build without an
	// outcome.
	Result Kind = "result"
)

// Entry is one thing that was, or was going to be, made.
type Entry struct {
	Kind Kind `json:"kind"`
	// Name tells it from others of its kind: for Directory and File the absolute
	// path. It has to be valid UTF-8.
	Name string `json:"name"`
}

// line is what one line of the file holds.
type line struct {
	Entry
	Done bool `json:"done,omitempty"`
}

// Ledger is a ledger open for writing.
type Ledger struct {
	mu     sync.Mutex
	file   *os.File // guarded by mu
	size   int64    // of the whole lines in the file; guarded by mu
	open   []Entry  // oldest first; guarded by mu
	err    error    // why the file cannot be used any more; guarded by mu
	damage error    // what Open could not read
}

// Open continues the ledger at path, or begins it, with mode 0600. What is left
// of a line that was cut off is removed; lines that cannot be read stay and do
// not count.
func Open(path string) (*Ledger, error) {
	flags := os.O_RDWR | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW
	file, err := os.OpenFile(path, flags, 0o600) //nolint:gosec // the path is the daemon's own
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	l := &Ledger{file: file}
	if err := errors.Join(l.load(), syncDir(filepath.Dir(path))); err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", errors.Join(err, file.Close()))
	}
	return l, nil
}

func (l *Ledger) load() error {
	data, err := io.ReadAll(l.file)
	if err != nil {
		return err
	}
	l.open, l.damage = replay(data)
	l.size = int64(bytes.LastIndexByte(data, '\n') + 1)
	if l.size < int64(len(data)) {
		return l.truncate()
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the path is the daemon's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Add records e and returns when that is on disk; only then may the thing be
// made. An entry that is already open is not added again.
func (l *Ledger) Add(e Entry) error {
	if e.Kind == "" || e.Name == "" || !utf8.ValidString(string(e.Kind)+e.Name) {
		return fmt.Errorf("cannot record %s %q: no name, or not UTF-8", e.Kind, e.Name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(l.open, e) {
		return nil
	}
	if err := l.append(line{Entry: e}); err != nil {
		return fmt.Errorf("cannot record %s %q: %w", e.Kind, e.Name, err)
	}
	l.open = append(l.open, e)
	return nil
}

// Done strikes e out and returns when that is on disk. It does nothing if e is
// not open.
func (l *Ledger) Done(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.open, e)
	if i < 0 {
		return nil
	}
	if err := l.append(line{Entry: e, Done: true}); err != nil {
		return fmt.Errorf("cannot strike out %s %q: %w", e.Kind, e.Name, err)
	}
	l.open = slices.Delete(l.open, i, i+1)
	return nil
}

func (l *Ledger) append(v line) error {
	if l.err != nil {
		return l.err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if _, err := l.file.Write(data); err != nil {
		// Half a line must not run into the next one.
		l.err = l.truncate()
		return errors.Join(err, l.err)
	}
	l.size += int64(len(data))
	return l.file.Sync()
}

func (l *Ledger) truncate() error {
	return errors.Join(l.file.Truncate(l.size), l.file.Sync())
}

// Close closes the file; open entries stay open. Closing twice is harmless.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, fs.ErrClosed) {
		return nil
	}
	l.err = fs.ErrClosed
	return l.file.Close()
}

// Read lists the open entries of the ledger at path, newest first. A ledger
// that does not exist has none. An error about lines that cannot be read comes
// with the entries of the others.
func Read(path string) ([]Entry, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the daemon's own
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the ledger: %w", err)
	}
	open, err := replay(data)
	if err != nil {
		err = fmt.Errorf("cannot read all of the ledger %s: %w", path, err)
	}
	slices.Reverse(open)
	return open, err
}

// replay lists the open entries, oldest first. It passes over lines that it
// cannot read, for the rest has to be cleaned all the same.
func replay(data []byte) ([]Entry, error) {
	var open []Entry
	var errs []error
	for number := 1; ; number++ {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return open, errors.Join(errs...)
		}
		data = rest
		var v line
		if err := json.Unmarshal(text, &v); err != nil {
			errs = append(errs, fmt.Errorf("cannot decode line %d: %w", number, err))
			continue
		}
		i := slices.Index(open, v.Entry)
		switch {
		case v.Done && i >= 0:
			open = slices.Delete(open, i, i+1)
		case !v.Done && i < 0:
			open = append(open, v.Entry)
		}
	}
}

// Clean undoes the open entries of the ledger at path, newest first, each with
// the function of its kind, and strikes out those that are undone. It goes on
// after an error and returns all of them; what failed, or has no function, stays
// open for another Clean. A ledger that does not exist is clean.
func Clean(path string, undo map[Kind]func(name string) error) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l, err := Open(path)
	if err != nil {
		return err
	}
	errs := []error{l.damage}
	for _, e := range slices.Backward(slices.Clone(l.open)) {
		errs = append(errs, l.undo(e, undo[e.Kind]))
	}
	return errors.Join(append(errs, l.Close())...)
}

func (l *Ledger) undo(e Entry, f func(name string) error) error {
	if f == nil {
		return fmt.Errorf("cannot undo %s %q: unknown kind", e.Kind, e.Name)
	}
	if err := f(e.Name); err != nil {
		return fmt.Errorf("cannot undo %s %q: %w", e.Kind, e.Name, err)
	}
	return l.Done(e)
}
