package disk

import (
	"errors"
	"io/fs"
	"os"
)

// Remove deletes a file; one that is gone already is fine.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
