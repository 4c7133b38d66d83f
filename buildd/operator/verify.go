package operator

import (
	"context"
	"errors"
	"fmt"

	"lpbuildd/filecache"
)

// ToVerify are the names that were given, else those of all files in the cache
// that promise their content.
func (b *Builder) ToVerify(given []string) ([]string, error) {
	for _, name := range given {
		if err := CheckSHA1(name); err != nil {
			return nil, err
		}
	}
	if len(given) > 0 {
		return given, nil
	}
	entries, err := b.Cache.Entries()
	for _, e := range entries {
		if filecache.IsSHA1(e.Name) {
			given = append(given, e.Name)
		}
	}
	return given, err
}

// Finding is what VerifyImage found.
type Finding struct {
	// Content is the SHA-1 of what is there, "" if it cannot be read.
	Content string
	// Sound says that it is the name.
	Sound bool
	// Err says what becomes of one that is not sound.
	Err error
}

// VerifyImage reads an image again. A damaged one it removes, if it may.
func (b *Builder) VerifyImage(ctx context.Context, name string, remove bool) Finding {
	stored, err := b.Cache.Rehash(ctx, name)
	if err != nil {
		return Finding{Err: fmt.Errorf("%w; 'lpbuildd image list' shows what is there", err)}
	}
	f := Finding{Content: stored.SHA1, Sound: stored.SHA1 == name}
	switch {
	case f.Sound:
		return f
	case !remove:
		f.Err = fmt.Errorf("'lpbuildd image rm %s' removes it; the next ensurepresent() fetches it again", name)
		return f
	}
	if _, f.Err = b.RemoveImage(ctx, name); f.Err == nil {
		f.Err = errors.New("removed; the next ensurepresent() fetches it again")
	}
	return f
}
