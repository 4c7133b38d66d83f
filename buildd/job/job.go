// Package job is what the daemon and the supervisor of a build tell each
// other: the request, messages over a Unix socket, and the outcome file.
//
// The socket carries one JSON document per line. The daemon binds it before
// it starts the supervisor, which inherits it listening as its standard input;
// so a connection succeeds exactly as long as the supervisor lives, and a
// restarted daemon simply connects again. The request goes over the socket and
// never to a disk, because it holds secrets.
package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the files in the directory of a running build (Dir).
const (
	SocketName  = "socket"
	LedgerName  = "ledger"
	OutcomeName = "outcome.json"
	// SupervisorName tells which process to kill; it is there while one runs.
	SupervisorName = "supervisor.json"
)

// Settings are the parts of the daemon's configuration that a supervisor
// needs.
type Settings struct {
	// Home is the folder in which the build directory is made.
	Home string `json:"home"`
	// FileCache is the folder of the file cache.
	FileCache string `json:"filecache"`
	// SharePath is the folder of the shipped files and helper programs.
	SharePath string `json:"sharepath"`
	// User is the unprivileged user that sbuild runs as.
	User string `json:"user"`
	// AptProxy is the URL of an apt proxy, or "".
	AptProxy string `json:"apt_proxy,omitempty"`
	// NTPHost is a time server to ask before a build, or "".
	NTPHost string `json:"ntp_host,omitempty"`

	// Overlay is "auto" or "never": whether chroots are overlays on a root that
	// was unpacked once.
	Overlay string `json:"overlay"`
	// TmpfsBytes is the size limit of an upper layer in memory; 0 keeps it on
	// disk.
	TmpfsBytes int64 `json:"tmpfs_bytes,omitempty"`
	// KeepRoots is how many unpacked roots are kept between builds.
	KeepRoots int `json:"keep_roots"`

	// WallLimit and SilenceLimit end a build that runs, or says nothing, for so
	// long; LogLimit ends one that logs more bytes. 0 is no limit.
	WallLimit    time.Duration `json:"wall_limit,omitempty"`
	SilenceLimit time.Duration `json:"silence_limit,omitempty"`
	LogLimit     int64         `json:"log_limit,omitempty"`
	// AbortLimit is how long the processes of an aborted build may take to die
	// before the builder gives up on them (spec: protocol.md section 8).
	AbortLimit time.Duration `json:"abort_limit"`
}

// Request is everything a supervisor needs to know about one build.
type Request struct {
	BuildID string            `json:"build_id"`
	Tag     string            `json:"tag"`
	Image   string            `json:"image"`
	Files   map[string]string `json:"files"`
	Args    map[string]any    `json:"args"`
	// Arch is the default architecture tag of this builder.
	Arch     string   `json:"arch"`
	Settings Settings `json:"settings"`
}

// Message goes from the daemon to the supervisor. Exactly one field is set.
type Message struct {
	Request *Request `json:"request,omitempty"`
	Abort   bool     `json:"abort,omitempty"`
}

// Event goes from the supervisor to the daemon: at once after each connection,
// and whenever something changes.
type Event struct {
	// Ready says that the supervisor has a request and works on it.
	Ready bool `json:"ready"`
	// Stage is the name of the stage that runs.
	Stage string `json:"stage,omitempty"`
	// Extra is the extra status of the build (spec: protocol.md section 13).
	Extra map[string]any `json:"extra,omitempty"`
	// Done says that the outcome file is written.
	Done bool `json:"done,omitempty"`
}

// Outcome is how a build ended.
type Outcome struct {
	BuildID string `json:"build_id"`
	// Status is the build status without its prefix, e.g. "PACKAGEFAIL".
	Status       string            `json:"status"`
	Dependencies string            `json:"dependencies,omitempty"`
	FileMap      map[string]string `json:"filemap,omitempty"`
	// Added are the checksums that this build brought into the cache; clean
	// removes them and nothing else.
	Added []string       `json:"added,omitempty"`
	Extra map[string]any `json:"extra,omitempty"`
	// Stage and Cause say where and why a build failed.
	Stage string `json:"stage,omitempty"`
	Cause string `json:"cause,omitempty"`
}

// WriteOutcome makes the outcome durable in the directory of the build.
func WriteOutcome(dir string, o Outcome) error {
	return WriteFile(filepath.Join(dir, OutcomeName), o)
}

// ReadOutcome reads the outcome of the build. It is fs.ErrNotExist while there
// is none.
func ReadOutcome(dir string) (Outcome, error) {
	var o Outcome
	err := ReadFile(filepath.Join(dir, OutcomeName), &o)
	return o, err
}

// WriteFile replaces a file by the JSON of v so that a crash leaves the old
// one or the new one, and returns when it is on disk. The file can be read by
// its owner only, who is the owner of the folder.
func WriteFile(path string, v any) (err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, giveToOwnerOf(f, filepath.Dir(path)), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// ReadFile reads a file that WriteFile wrote.
func ReadFile(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// giveToOwnerOf lets the unprivileged daemon read what a supervisor, which is
// root, writes for it.
func giveToOwnerOf(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}
