// Package operator is what the operator of a builder may do to it from outside its daemon, which may run meanwhile or not.
// Root runs it, or the daemon's own user. It reads the configuration, touches the file cache, the unpacked images and
// what the daemon writes about its slot, and asks the helper that is root about what only root may touch.
package operator

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd"
	"lpbuildd/buildd/config"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/filecache"
)

// Builder is a builder of this machine, as its operator sees it.
type Builder struct {
	Config  config.Config
	Origins []config.Origin
	Cache   *filecache.Cache
	// Owner is who the daemon runs as.
	Owner *user.User
	// Launcher starts the helper that is root.
	Launcher buildd.Launcher
}

// Open finds the builder that a configuration is of. It may be opened by root and
// by the daemon's user, whether the daemon runs or not.
func Open(from config.Sources, launcher buildd.Launcher) (*Builder, error) {
	c, origins, err := config.Load(from)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be used; name the one of the builder with --config, and see 'lpbuildd config check':\n%w", err)
	}
	b := &Builder{Config: c, Origins: origins, Launcher: launcher}
	if b.Owner, err = ownerOf(c.FileCache); err != nil {
		return nil, err
	}
	if !isRoot() && b.Owner.Uid != strconv.Itoa(os.Geteuid()) {
		return nil, fmt.Errorf("the file cache %s belongs to %s: run this as root or as %s", c.FileCache, b.Owner.Username, b.Owner.Username)
	}
	b.Cache, err = filecache.Open(c.FileCache, filecache.Options{
		MaxBytes: c.CacheMaxSize, MaxAge: c.CacheMaxAge, MinFree: c.CacheMinFree, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Close lets the builder go.
func (b *Builder) Close() { _ = b.Cache.Close() }

// State is the folder of the daemon's own files.
func (b *Builder) State() state.Folder { return state.Folder(b.Cache.StateDir()) }

// BuildUser is who sbuild runs as: the daemon's own user, unless that is root.
func (b *Builder) BuildUser() string {
	if b.Owner.Uid == "0" {
		return b.Config.User
	}
	return b.Owner.Username
}

// stock is a request for the helper that looks after what is kept.
func (b *Builder) stock(do string) job.StockRequest {
	return job.StockRequest{Do: do, MaxRoots: b.Config.CacheRoots, Container: b.Config.Container}
}

// StateOf is the state folder of the builder that a configuration is of. Mistakes
// in what else the configuration says keep the daemon from running, but must not
// keep anything from expiring.
func StateOf(from config.Sources) (state.Folder, error) {
	c, _, err := config.Load(from)
	if c.FileCache == "" {
		return "", fmt.Errorf("the configuration cannot be used; see 'lpbuildd config check':\n%w", err)
	}
	dir, err := filepath.Abs(c.FileCache)
	return state.Folder(filecache.StateDirOf(dir)), err
}

// isRoot says whether this process may do everything.
func isRoot() bool { return os.Geteuid() == 0 }

// ownerOf is the user who owns a path.
func ownerOf(path string) (*user.User, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	uid := strconv.FormatUint(uint64(st.Uid), 10)
	u, err := user.LookupId(uid)
	if unknown := user.UnknownUserIdError(0); errors.As(err, &unknown) {
		return nil, fmt.Errorf("%s belongs to the uid %s, which is no user: give it to the daemon's user with chown", path, uid)
	}
	return cmp.Or(u, &user.User{}), err
}
