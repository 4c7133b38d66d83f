package filecache

import "context"

// Present tells whether the entry is there, and notes that it was used. A file
// named by its SHA-1 is hashed when it is asked for the first time since Open,
// or since it changed; if it is not what its name says, it is removed and does
// not count. Other names count if they are regular files. An error means a bad
// name, a file that cannot be read, or that the caller's context ended.
func (c *Cache) Present(ctx context.Context, name string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	there, trusted, err := c.store.look(name)
	if err != nil || !there {
		return false, err
	}
	if !trusted {
		there, err = share(ctx, &c.tasks, &c.checks, name, func(ctx context.Context) (bool, error) {
			return c.store.verify(ctx, name)
		})
		if err != nil || !there {
			return false, err
		}
	}
	c.records.touch(ctx, name)
	return true, nil
}

// Rehash reads a whole entry, whatever is known of it, and returns what it is.
// It changes nothing. A missing entry is fs.ErrNotExist.
func (c *Cache) Rehash(ctx context.Context, name string) (Stored, error) {
	if err := CheckName(name); err != nil {
		return Stored{}, err
	}
	s, _, err := c.store.hash(ctx, name)
	return s, err
}
