// Package aside is run by the daemon and by root, on files that their callers name:
// it puts those of the builder's state that cannot be read where people find them
// and the builder does not.
package aside

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"lpbuildd/disk"
)

// Suffix is what the name of a file gets that was set aside; older ones of the
// same file have a number after it.
const Suffix = ".damaged"

// most is how many of one file stay.
const most = 5

// Move sets a file, or a folder, aside and returns its new path. What was set
// aside before it gets another name, or goes if there are too many.
func Move(path string) (string, error) {
	to, err := room(path)
	if err == nil {
		err = os.Rename(path, to)
	}
	return to, errors.Join(err, disk.SyncDir(filepath.Dir(path)))
}

// Copy sets aside what stays where it is too, for now: the same file has both
// names.
func Copy(path string) (string, error) {
	to, err := room(path)
	if err == nil {
		err = os.Link(path, to)
	}
	return to, errors.Join(err, disk.SyncDir(filepath.Dir(path)))
}

// MoveOdd sets aside what stands in the place of a file and is none. It is false
// if all is well.
func MoveOdd(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() {
		return false, nil
	}
	_, err = Move(path)
	return true, err
}

// room makes the newest name free.
func room(path string) (string, error) {
	name := func(age int) string {
		if age == 0 {
			return path + Suffix
		}
		return path + Suffix + "." + strconv.Itoa(age)
	}
	free := 0
	for free < most-1 {
		if _, err := os.Lstat(name(free)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		free++
	}
	err := os.RemoveAll(name(free))
	for age := free; age > 0 && err == nil; age-- {
		err = os.Rename(name(age-1), name(age))
	}
	return name(0), err
}
