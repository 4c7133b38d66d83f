package filecache

import "errors"

// Remove deletes the entry; a missing one is fine. Whoever reads it at the
// moment can go on reading.
func (c *Cache) Remove(name string) error { return c.store.remove(name) }

// RemoveAll deletes entries as Remove does. Many are only taken away before it
// returns, and their content goes afterwards: to free a hundred thousand files
// takes a file system minutes. A disk that is too full for that gets its room at
// once.
func (c *Cache) RemoveAll(names []string) error {
	away := c.temporaries.newPath()
	var errs []error
	if len(names) <= fewFiles || c.folder.root.Mkdir(away, 0o700) != nil {
		for _, name := range names {
			errs = append(errs, c.store.remove(name))
		}
		return errors.Join(errs...)
	}
	for _, name := range names {
		errs = append(errs, c.store.takeAway(name, away))
	}
	c.tasks.start(func() {
		if err := c.temporaries.empty(away, c.tasks.isClosed); err != nil {
			c.log.Warn("cannot remove cached files", "error", err)
		}
	})
	return errors.Join(errs...)
}
