package filecache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Remove deletes the entry; a missing one is fine. Whoever reads it at the
// moment can go on reading.
func (c *Cache) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	c.forget(name)
	info, err := c.root.Lstat(name)
	if err == nil && info.IsDir() {
		err = errors.New("it is a folder")
	}
	if err == nil {
		err = c.root.Remove(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the cached file %s: %w", name, err)
	}
	if err := c.root.Remove(metaPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the record of the cached file %s: %w", name, err)
	}
	return nil
}

// RemoveAll deletes entries as Remove does. Many are only taken away before it
// returns, and their content goes afterwards: to free a hundred thousand files
// takes a file system minutes. A disk that is too full for that gets its room at
// once.
func (c *Cache) RemoveAll(names []string) error {
	away := tmpName + "/" + strings.ToLower(rand.Text())
	var errs []error
	if len(names) <= fewFiles || c.root.Mkdir(away, 0o700) != nil {
		for _, name := range names {
			errs = append(errs, c.Remove(name))
		}
		return errors.Join(errs...)
	}
	for _, name := range names {
		errs = append(errs, c.takeAway(name, away))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Go(func() { c.empty(away) })
	}
	return errors.Join(errs...)
}

// takeAway moves the entry into a folder, and removes it where it is if that is
// full, or gone, or the entry is.
func (c *Cache) takeAway(name, folder string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if info, err := c.root.Lstat(name); err == nil && !info.IsDir() {
		_ = c.root.Rename(name, folder+"/"+name) // Remove finds out
	}
	return c.Remove(name)
}

// empty deletes a folder of files. What it leaves when the cache is closed are
// temporaries that nobody writes.
func (c *Cache) empty(folder string) {
	err := c.each(folder, func(e fs.DirEntry) error {
		if c.isClosed() {
			return nil
		}
		return c.root.Remove(folder + "/" + e.Name())
	})
	if err == nil && !c.isClosed() {
		err = c.root.Remove(folder)
	}
	if err != nil {
		c.log.Warn("cannot remove cached files", "error", err)
	}
}

func (c *Cache) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
