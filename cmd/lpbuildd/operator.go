package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"lpbuildd/buildd/config"
	"lpbuildd/buildd/state"
	"lpbuildd/filecache"
)

// newOperatorCommands returns the commands for the operator of a builder.
func newOperatorCommands() []*cobra.Command {
	return []*cobra.Command{newDrainCommand(), newUndrainCommand(), newGCCommand(), newImageCommand(), newSelftestCommand()}
}

// installedConfig is what the commands for operators read where nobody names a
// configuration.
const installedConfig = "/etc/launchpad-buildd/default"

// addOperatorFlags adds the flags that say which builder is meant.
func addOperatorFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration `file` of the builder (default: $BUILDD_CONFIG, else "+installedConfig+")")
	fs.StringArray("set", nil, "set one key of the configuration, as `section.key=value`; may be repeated")
}

// site is a builder of this machine, as its operator sees it.
type site struct {
	config  config.Config
	origins []config.Origin
	cache   *filecache.Cache
	// owner is who the daemon runs as.
	owner *user.User
}

// openSite finds the builder of a command. It may be opened by root and by the
// daemon's user, whether the daemon runs or not. What says what for.
func openSite(cmd *cobra.Command, what string) (*site, error) {
	c, origins, err := config.Load(sources(cmd.Flags(), operatorEnviron))
	if err != nil {
		return nil, fmt.Errorf("cannot %s: the configuration cannot be used; name the one of the builder with --config, and see 'lpbuildd config check':\n%w", what, err)
	}
	s := &site{config: c, origins: origins}
	if s.owner, err = ownerOf(c.FileCache); err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	if !isRoot() && s.owner.Uid != strconv.Itoa(os.Geteuid()) {
		return nil, fmt.Errorf("cannot %s: the file cache %s belongs to %s: run this as root or as %s", what, c.FileCache, s.owner.Username, s.owner.Username)
	}
	s.cache, err = filecache.Open(c.FileCache, filecache.Options{
		MaxBytes: c.CacheMaxSize, MaxAge: c.CacheMaxAge, MinFree: c.CacheMinFree, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	return s, nil
}

// close lets the builder go.
func (s *site) close() { _ = s.cache.Close() }

// state is the folder of the daemon's own files.
func (s *site) state() state.Folder { return state.Folder(s.cache.StateDir()) }

// operatorEnviron is the environment, with the installed configuration where
// there is no other.
func operatorEnviron(name string) (string, bool) {
	value, ok := os.LookupEnv(name)
	if name != "BUILDD_CONFIG" || value != "" {
		return value, ok
	}
	return installedConfig, true
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
