package filecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"
)

// store is the entries with their records: content comes in, is looked at, and
// goes. Which of them must go, or stay, is not for it to know.
type store struct {
	folder      *folder
	temporaries *temporaries
	records     *records
	verified    verified
	beforeNew   func(name string) error // may be nil
	log         *slog.Logger
}

// put makes content an entry under its SHA-1.
func (s *store) put(ctx context.Context, content io.Reader, durable bool) (Stored, error) {
	tmp, err := s.temporaries.create()
	if err != nil {
		return Stored{}, err
	}
	defer tmp.discard()
	if err := copyChunks(ctx, tmp, content); err != nil {
		return Stored{}, fmt.Errorf("cannot store a file in the cache: %w", err)
	}
	got := tmp.stored()
	there, trusted, err := s.look(got.SHA1)
	if err != nil {
		return Stored{}, err
	}
	got.New = !there
	if trusted {
		s.records.touch(ctx, got.SHA1)
		return got, nil
	}
	if got.New && s.beforeNew != nil {
		if err := s.beforeNew(got.SHA1); err != nil {
			return Stored{}, err
		}
	}
	// An entry that nobody hashed yet may be corrupted; this one is not.
	return got, s.commit(ctx, tmp, got.SHA1, durable)
}

// commit makes a temporary the entry of that name; if it is durable, on the disk.
func (s *store) commit(ctx context.Context, tmp *temporary, name string, durable bool) error {
	info, err := tmp.become(name, durable)
	if err != nil {
		return fmt.Errorf("cannot store the file %s in the cache: %w", name, err)
	}
	s.verified.trust(name, fingerprintOf(info))
	// A record is made with the first use, too; one more file for each of many is
	// half of the work.
	if durable {
		s.records.note(ctx, name, tmp.stored())
	}
	return nil
}

// look tells without reading it whether a regular file is there, and whether it
// need not be hashed.
func (s *store) look(name string) (there, trusted bool, err error) {
	info, err := s.folder.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		s.verified.forget(name)
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("cannot look at the cached file %s: %w", name, err)
	}
	return true, !IsSHA1(name) || s.verified.trusts(name, fingerprintOf(info)), nil
}

// verify hashes the entry, and removes it if it is not what its name says. It
// starts again if the entry changes meanwhile.
func (s *store) verify(ctx context.Context, name string) (bool, error) {
	for range 3 {
		got, fp, err := s.hash(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err == nil && got.SHA1 == name:
			s.verified.trust(name, fp)
			s.records.note(ctx, name, got)
			return true, nil
		case err != nil && !errors.Is(err, unix.EIO):
			return false, err
		}
		info, err := s.folder.root.Lstat(name)
		if err != nil || fingerprintOf(info) != fp {
			continue
		}
		s.log.WarnContext(ctx, "removing a corrupted file from the cache", "name", name, "sha1", got.SHA1, "size", got.Size)
		return false, s.remove(name)
	}
	return false, nil
}

func (s *store) hash(ctx context.Context, name string) (Stored, fingerprint, error) {
	f, info, err := s.folder.open(name)
	if err != nil {
		return Stored{}, fingerprint{}, err
	}
	defer func() { _ = f.Close() }()
	sums := newSums()
	if err = copyChunks(ctx, sums, f); err != nil {
		err = fmt.Errorf("cannot read the cached file %s: %w", name, err)
	}
	return sums.stored(), fingerprintOf(info), err
}

// list is what Entries promises.
func (s *store) list() ([]Entry, error) {
	var all []Entry
	err := s.folder.each(".", func(d fs.DirEntry) error {
		isEntry := d.Type().IsRegular() && CheckName(d.Name()) == nil
		if !isEntry {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, Entry{Name: d.Name(), Size: info.Size(), Disk: diskOf(info), Used: s.records.lastUse(d.Name(), info)})
		return nil
	})
	slices.SortFunc(all, func(a, b Entry) int { return a.Used.Compare(b.Used) })
	return all, err
}

// usedSince says whether somebody, perhaps another process, has used the entry
// since it was listed.
func (s *store) usedSince(e Entry) bool {
	info, err := s.folder.root.Lstat(e.Name)
	return err == nil && !s.records.lastUse(e.Name, info).Equal(e.Used)
}

// remove deletes the entry and its record; a missing one is fine.
func (s *store) remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	s.verified.forget(name)
	info, err := s.folder.root.Lstat(name)
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err == nil {
		err = s.folder.root.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the cached file %s: %w", name, err)
	}
	return s.records.remove(name)
}

// takeAway moves the entry into a folder, and removes it where it is if that is
// full, or gone, or the entry is.
func (s *store) takeAway(name, folder string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if info, err := s.folder.root.Lstat(name); err == nil && !info.IsDir() {
		_ = s.folder.root.Rename(name, folder+"/"+name) // remove finds out
	}
	return s.remove(name)
}
