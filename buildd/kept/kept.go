// Package kept knows the targets of failed builds that are kept for a look:
// where they are, until when, and who is in one.
//
// Each has a folder below that of all of them, which belongs to root:
//
//	kept/kept.log              everything that happened to any of them
//	kept/<id>/record.json      what it is, readable by the daemon
//	kept/<id>/lock             locked by whoever is inside, or removes it
//	kept/<id>/visitor.json     who is inside
//	kept/<id>/target/          a chroot; root's alone
//	kept/<id>.new              one that is being made: it stands in the ledger of
//	                           its build, and counts for nothing
//
// A folder appears under its final name at once and whole, with its record in
// it; from then on nothing but the record says when it has to go.
package kept

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

const (
	recordName  = "record.json"
	visitorName = "visitor.json"
	lockName    = "lock"
	targetName  = "target"
	logName     = "kept.log"
)

// Unfinished ends the names of folders that are being made.
const Unfinished = ".new"

// Record says what is kept.
type Record struct {
	// ID is the name of its folder.
	ID      string `json:"id"`
	BuildID string `json:"build_id"`
	Tag     string `json:"type"`
	// Backend is "chroot" or "lxd"; Series and Arch are those of the build.
	Backend string `json:"backend"`
	Series  string `json:"series,omitempty"`
	Arch    string `json:"arch,omitempty"`
	// Status, Stage and Cause say how the build ended.
	Status verdict.Outcome `json:"status"`
	Stage  string          `json:"stage,omitempty"`
	Cause  string          `json:"cause,omitempty"`
	Failed time.Time       `json:"failed"`
	// Expires is when it is removed.
	Expires time.Time `json:"expires"`
	// MinFree is how many bytes must be free on the disk, and the same share of its
	// inodes, or it goes before.
	MinFree int64 `json:"min_free,omitempty"`
	// Base is the SHA-1 of the base image below the overlay of a chroot, "" if
	// there is none.
	Base string `json:"base,omitempty"`
	// Container is the name of a container, Engine how to reach its engine.
	Container string         `json:"container,omitempty"`
	Engine    *job.Container `json:"engine,omitempty"`
}

// Due says whether it is time to remove it.
func (r Record) Due(now time.Time) bool { return !r.Expires.After(now) }

// Builds are all that are kept, in one folder.
type Builds struct{ dir string }

// In is the folder in a state folder. It need not exist.
func In(f state.Folder) Builds { return Builds{f.Kept()} }

// State is the state folder that it is in.
func (b Builds) State() state.Folder { return state.Folder(filepath.Dir(b.dir)) }

// Dir is the path of the folder.
func (b Builds) Dir() string { return b.dir }

// Path is the folder of one of them.
func (b Builds) Path(id string) string { return filepath.Join(b.dir, id) }

// Target is where a chroot is in the folder of one of them.
func Target(path string) string { return filepath.Join(path, targetName) }

// List lists what is kept, the oldest first. A folder without a record that can
// be read has one that is due: nothing is kept for ever. A missing folder is
// empty.
func (b Builds) List() ([]Record, error) {
	entries, err := os.ReadDir(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list what is kept: %w", err)
	}
	var all []Record
	for _, e := range entries {
		if e.IsDir() && !strings.HasSuffix(e.Name(), Unfinished) {
			all = append(all, b.read(e.Name()))
		}
	}
	slices.SortFunc(all, func(a, b Record) int { return cmp.Or(a.Failed.Compare(b.Failed), strings.Compare(a.ID, b.ID)) })
	return all, nil
}

// read reads a record; one that is damaged tells no more than its id.
func (b Builds) read(id string) Record {
	var r Record
	if err := disk.ReadJSON(filepath.Join(b.Path(id), recordName), &r); err != nil {
		return Record{ID: id, Cause: err.Error()}
	}
	r.ID = id
	return r
}

// Find returns what is kept of a build, or under an id.
func (b Builds) Find(name string) (Record, error) {
	all, err := b.List()
	if err != nil {
		return Record{}, err
	}
	var found []Record
	for _, r := range all {
		if r.ID == name {
			return r, nil
		}
		if r.BuildID == name {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && len(all) == 0:
		return Record{}, fmt.Errorf("nothing is kept of the build %q, nor of any other; [keep] failed says whether failed builds are", name)
	case len(found) == 0:
		return Record{}, fmt.Errorf("nothing is kept of the build %q; kept are: %s", name, names(all, func(r Record) string { return r.BuildID }))
	}
	return Record{}, fmt.Errorf("the build %q is kept more than once; say which, by the id: %s", name, names(found, func(r Record) string { return r.ID }))
}

func names(records []Record, name func(Record) string) string {
	var all []string
	for _, r := range records {
		all = append(all, name(r))
	}
	return strings.Join(all, ", ")
}

// Begin makes the folder of something new; whoever calls it has the path in
// a ledger first, see NewPath. The caller must be root.
func (b Builds) Begin(path string) error {
	if err := errors.Join(os.MkdirAll(b.dir, 0o755), os.Chmod(b.dir, 0o755)); err != nil { // the daemon reads the records
		return fmt.Errorf("cannot make the folder of what is kept: %w", err)
	}
	if err := errors.Join(os.Mkdir(path, 0o755), os.Mkdir(Target(path), 0o700)); err != nil {
		return fmt.Errorf("cannot make a folder for what is kept: %w", err)
	}
	return nil
}

// NewPath is an id and the path at which what gets it is made.
func (b Builds) NewPath() (id, path string) {
	id, _, _ = strings.Cut(uuid.NewString(), "-")
	return id, b.Path(id) + Unfinished
}

// Commit gives what was made at a path its record and its final name, at once.
func (b Builds) Commit(path string, r Record) error {
	err := errors.Join(write(filepath.Join(path, recordName), r), write(filepath.Join(path, lockName), nil))
	if err == nil {
		err = os.Rename(path, b.Path(r.ID))
	}
	if err != nil {
		return fmt.Errorf("cannot write down what is kept: %w", err)
	}
	return disk.SyncDir(b.dir)
}

// write writes a file that everyone may read.
func write(path string, v any) error {
	if err := disk.WriteJSON(path, v); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) // there are no secrets in it
}

// Space is that of the disk of the folder.
func (b Builds) Space() (disk.Space, error) { return disk.Of(filepath.Dir(b.dir)) }

// Victim picks what has to go now, and says why: what is due, or the oldest
// while there is too little space with need bytes more. There may be none.
func (b Builds) Victim(records []Record, now time.Time, need int64) (victim Record, why string) {
	for _, r := range records {
		if r.Due(now) {
			return r, "it has expired"
		}
	}
	if len(records) == 0 {
		return Record{}, ""
	}
	space, err := b.Space()
	if err != nil {
		return Record{}, ""
	}
	if left := space.Free.Lacks(space.Reserve(records[0].MinFree).Plus(disk.Room{Bytes: need})); left != "" {
		return records[0], fmt.Sprintf("the disk is short: %s are free", left)
	}
	return Record{}, ""
}
