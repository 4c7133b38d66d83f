package chroot

import (
	"log/slog"
	"path/filepath"

	"lpbuildd/backends"
)

// topFolder is the only folder at the top of a base image.
const topFolder = "chroot-autobuild"

// layersDir is the folder of the upper layer and its work directory, below the
// build directory. A tmpfs may be mounted on it.
const layersDir = ".overlay"

// Config says where and how to make a chroot.
type Config struct {
	// BuildDir is the folder of the build, <HOME>/build-<id>. It must exist
	// before Create, and is gone after Remove.
	BuildDir string
	// Series and Arch are those of the build; they decide the personality of
	// commands. An empty Arch means none.
	Series, Arch string
	// RootsDir keeps unpacked images between builds. Only root can look into
	// it.
	RootsDir string
	// TrashDir is where Remove moves what is to be deleted later, by
	// EmptyTrash. With "" Remove deletes it itself.
	TrashDir string
	// Overlay allows overlays; without it, each build unpacks its image.
	Overlay bool
	// TmpfsBytes keeps changes in memory, up to that size, when as much is
	// available; 0 keeps them on disk.
	TmpfsBytes int64
	// MaxRoots is how many unpacked images may stay; that of a running build
	// is kept always.
	MaxRoots int
	// Log is the daemon's log; nil discards.
	Log *slog.Logger
	// Notice tells the reader of the build log, by one line without newline,
	// of something unusual that was worked around. May be nil.
	Notice func(line string)
	// Stray is told who held the output of a command open. May be nil.
	Stray func(backends.Stray)
}

// root is the root directory on the host.
func (cfg Config) root() string { return filepath.Join(cfg.BuildDir, topFolder) }

// layers is the folder of the layers of an overlay.
func (cfg Config) layers() string { return filepath.Join(cfg.BuildDir, layersDir) }
