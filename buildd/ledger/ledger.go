// Package ledger is run by root, inside the namespaces to write it and outside to
// undo what it says; it touches its file alone. It keeps what a build made on this
// host, if that outlives its processes: it can be undone, whatever killed them.
//
// An entry is on disk before the thing it names is made, and struck out after
// the thing is gone. A ledger is a file of JSON lines that only grows: additions
// and strikes. A last line without its end was never acknowledged and does not
// count. Undoing must be idempotent, since the thing of an open entry may not
// exist yet or any more.
//
// A line that cannot be read, or that no build can have written, is set aside; the
// rest counts. Some things may stand in no ledger then: a clean-up must look for them.
//
// A Ledger is safe for concurrent use; only one may be open on a file.
package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/aside"
	"lpbuildd/disk"
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
// of a line that was cut off is removed; a ledger with what cannot be read is set
// aside, and one of the rest takes its place, see Damage.
func Open(path string) (*Ledger, error) {
	l, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the ledger: %w", err)
	}
	return l, nil
}

func open(path string) (*Ledger, error) {
	var damage error
	if odd, err := aside.MoveOdd(path); odd || err != nil {
		damage = errors.Join(fmt.Errorf("%s is no file", path), err)
	}
	l, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if l.damage == nil {
		l.damage = damage
		return l, disk.SyncDir(filepath.Dir(path))
	}
	return l.renew(path)
}

func openFile(path string) (*Ledger, error) {
	flags := os.O_RDWR | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	l := &Ledger{file: file}
	data, err := disk.ReadOpen(file, mostBytes)
	l.open, l.damage = replay(data)
	l.damage = errors.Join(err, l.damage)
	l.size = int64(bytes.LastIndexByte(data, '\n') + 1)
	if l.damage == nil && l.size < int64(len(data)) {
		if err := l.truncate(); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
	return l, nil
}

// renew writes what could be read to a new file, which takes the place of the
// damaged one.
func (l *Ledger) renew(path string) (*Ledger, error) {
	fresh := path + ".new"
	err := errors.Join(l.file.Close(), os.RemoveAll(fresh))
	if err != nil {
		return nil, err
	}
	renewed, err := openFile(fresh)
	if err != nil {
		return nil, err
	}
	renewed.damage = l.damage
	for _, e := range l.open {
		err = errors.Join(err, renewed.Add(e))
	}
	if err == nil {
		_, err = aside.Copy(path)
	}
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err = errors.Join(err, disk.SyncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(l.damage, err, renewed.Close())
	}
	return renewed, nil
}

// Damage is what Open could not read; nil, if it could read all.
func (l *Ledger) Damage() error { return l.damage }

// Entries lists the open entries, newest first.
func (l *Ledger) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return newestFirst(slices.Clone(l.open))
}

// mostBytes is more than any ledger has.
const mostBytes = 256 << 20

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
	data, err := disk.ReadFile(path, mostBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	open, damage := replay(data)
	if err := errors.Join(err, damage); err != nil {
		return newestFirst(open), fmt.Errorf("cannot read all of the ledger %s: %w", path, err)
	}
	return newestFirst(open), nil
}

func newestFirst(entries []Entry) []Entry {
	slices.Reverse(entries)
	return entries
}

// mostErrors is how many lines that cannot be read are named.
const mostErrors = 5

// replay lists the open entries, oldest first. It passes over lines that it
// cannot read, for the rest has to be cleaned all the same.
func replay(data []byte) ([]Entry, error) {
	var open []Entry
	var errs []error
	for number := 1; ; number++ {
		text, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			if !begun(text) {
				errs = append(errs, fmt.Errorf("cannot decode what is after line %d", number-1))
			}
			return open, errors.Join(errs[:min(len(errs), mostErrors)]...)
		}
		data = rest
		var v line
		err := json.Unmarshal(text, &v)
		if err == nil && (v.Kind == "" || v.Name == "") {
			err = errors.New("it names nothing")
		}
		if err != nil {
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

// begun says whether a text may be the beginning of a line that a crash has cut
// off.
func begun(text []byte) bool {
	const start = `{"kind":"`
	n := min(len(text), len(start))
	return string(text[:n]) == start[:n] && !bytes.ContainsRune(text, 0)
}

// ErrRefused is what an undo function returns for an entry that no build can
// have made: it is damage, and must not be obeyed.
var ErrRefused = errors.New("no build has recorded this")

// Clean undoes the open entries of the ledger at path, newest first, each with
// the function of its kind, and strikes out those that are undone. It goes on
// after an error and returns all of them; what failed stays open for another
// Clean. A ledger that does not exist is clean.
//
// What cannot be read, has no function, or is refused, keeps nobody: it is
// reported, and the file set aside.
func Clean(path string, undo map[Kind]func(name string) error, report func(error)) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l, err := Open(path)
	if err != nil {
		return err
	}
	if l.damage != nil {
		report(l.damage)
	}
	var errs []error
	for _, e := range l.Entries() {
		err := l.undo(e, undo[e.Kind])
		if errors.Is(err, ErrRefused) {
			report(err)
			err = l.refuse(path, e)
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, l.Close())...)
}

// refuse strikes out an entry that nobody can undo, and keeps it for people.
func (l *Ledger) refuse(path string, e Entry) error {
	if l.damage == nil {
		l.damage = ErrRefused
		renewed, err := l.renew(path)
		if err != nil {
			return err
		}
		l.file, l.size = renewed.file, renewed.size
	}
	return l.Done(e)
}

func (l *Ledger) undo(e Entry, f func(name string) error) error {
	if f == nil {
		return fmt.Errorf("cannot undo %s %.300q: unknown kind: %w", e.Kind, e.Name, ErrRefused)
	}
	if err := f(e.Name); err != nil {
		return fmt.Errorf("cannot undo %s %.300q: %w", e.Kind, e.Name, err)
	}
	return l.Done(e)
}
