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
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders/credentials"
	"lpbuildd/builders/site"
	"lpbuildd/disk"
	"lpbuildd/ordered"
)

// Builder is what a clean-up knows of the builder, to find what builds have left
// when the ledger does not tell. The daemon writes it before each clean-up.
type Builder struct {
	Home      string    `json:"home"`
	Container Container `json:"container"`
}

// WriteBuilder writes the part of the settings that a clean-up needs to the
// folder of the build.
func WriteBuilder(dir state.Build, s Settings) error {
	return disk.WriteJSON(dir.Builder(), Builder{Home: s.Home, Container: s.Container})
}

// ReadBuilder reads what WriteBuilder wrote.
func ReadBuilder(dir state.Build) (Builder, error) {
	var b Builder
	err := disk.ReadJSON(dir.Builder(), &b)
	return b, err
}

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
	// Site is the place where the builder stands.
	Site site.Site `json:"site"`
	// ProxyPort is the port of the local proxy of a build.
	ProxyPort int `json:"proxy_port"`
	// Container is for build types that run in containers.
	Container Container `json:"container"`

	// Overlay is "auto" or "never": whether chroots are overlays on a root that
	// was unpacked once.
	Overlay string `json:"overlay"`
	// TmpfsBytes is the size limit of an upper layer in memory; 0 keeps it on
	// disk.
	TmpfsBytes int64 `json:"tmpfs_bytes,omitempty"`
	// MaxRoots is how many unpacked roots may stay between builds.
	MaxRoots int `json:"keep_roots"`

	// WallLimit and SilenceLimit end a build that runs, or says nothing, for so
	// long; LogLimit ends one that logs more bytes. 0 is no limit.
	WallLimit    time.Duration `json:"wall_limit,omitempty"`
	SilenceLimit time.Duration `json:"silence_limit,omitempty"`
	LogLimit     int64         `json:"log_limit,omitempty"`
	// ResultLimit is how many bytes the results of a build may have together; 0 is
	// no limit.
	ResultLimit int64 `json:"result_limit,omitempty"`
	// Limits are how much of the machine builds may use.
	Limits Limits `json:"limits"`
	// AbortLimit is how long the processes of an aborted build may take to die
	// before the builder gives up on them (spec: protocol.md section 8).
	AbortLimit time.Duration `json:"abort_limit"`

	// Keep is what is kept of the build if it fails.
	Keep Keep `json:"keep,omitzero"`
}

// Secrets are what no log may show of the settings.
func (s Settings) Secrets() []string {
	return append(s.Site.Secrets(), credentials.In(s.Container.Remote)...)
}

// Keep says what is kept of failed builds for a look.
type Keep struct {
	// For is how long; 0 keeps nothing.
	For time.Duration `json:"for,omitempty"`
	// Builds is how many are kept at most.
	Builds int `json:"builds,omitempty"`
	// MinFree is how many bytes must be free on the disk of the file cache, and the
	// same share of its inodes, or what is kept goes.
	MinFree int64 `json:"min_free,omitempty"`
}

// Container says how containers are made; the keys of section [backend] of the
// configuration, as incus.Config explains them.
type Container struct {
	// Instance is the builder's name, which names of containers and bridges carry.
	Instance string `json:"instance"`
	// Engine is "auto", "lxd" or "incus"; Socket, Pool and Project are found out
	// where they are empty.
	Engine  string `json:"engine"`
	Socket  string `json:"socket,omitempty"`
	Pool    string `json:"pool,omitempty"`
	Project string `json:"project,omitempty"`
	// Remote is the address of an engine elsewhere, "" for the one here; the others
	// are files of certificates for it.
	Remote     string `json:"remote,omitempty"`
	ClientCert string `json:"client_cert,omitempty"`
	ClientKey  string `json:"client_key,omitempty"`
	ServerCert string `json:"server_cert,omitempty"`
	// Subnet is the bridge's, invalid for the default one; Firewall is "auto",
	// "iptables" or "nftables".
	Subnet   netip.Prefix `json:"subnet"`
	Firewall string       `json:"firewall"`
	// MaxImages is how many imported images may stay, MaxImageAge how long
	// unused; 0 is for ever.
	MaxImages   int           `json:"keep_images"`
	MaxImageAge time.Duration `json:"keep_image_age,omitempty"`
}

// Request is everything a supervisor needs to know about one build.
type Request struct {
	// These are checked: a build id that is one path component, a type, the SHA-1 of
	// the base image and, by name, of the files, and the arguments of the type.
	BuildID string              `json:"build_id"`
	Tag     string              `json:"tag"`
	Image   string              `json:"image"`
	Files   ordered.Map[string] `json:"files"`
	Args    Args                `json:"args"`
	// Arch is the default architecture tag of this builder.
	Arch string `json:"arch"`
	// Settings are those of the daemon when the build was accepted.
	Settings Settings `json:"settings"`
}

// Args are the arguments of a build. Their own order means nothing; structs in
// them are ordered.Struct, numbers that came as JSON json.Number.
type Args map[string]any

// UnmarshalJSON keeps the order of the structs.
func (a *Args) UnmarshalJSON(text []byte) error {
	var members ordered.Struct
	if err := members.UnmarshalJSON(text); err != nil {
		return err
	}
	*a = members.Plain()
	return nil
}

// Message goes from the daemon to the supervisor. Exactly one field is set.
type Message struct {
	// Request comes once, before anything else. It holds secrets.
	Request *Request `json:"request,omitempty"`
	// Abort ends the build; more of them change nothing.
	Abort bool `json:"abort,omitempty"`
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
	BuildID string          `json:"build_id"`
	Status  verdict.Outcome `json:"status"`
	// Dependencies are what a build waits for that ended as DEPFAIL.
	Dependencies string `json:"dependencies,omitempty"`
	// FileMap has the SHA-1 of each result by its name.
	FileMap map[string]string `json:"filemap,omitempty"`
	// Added are the checksums that this build brought into the cache; clean
	// removes them and nothing else.
	Added []string `json:"added,omitempty"`
	// Extra is the extra status, as in Event.
	Extra map[string]any `json:"extra,omitempty"`
	// Stage and Cause say where and why a build failed.
	Stage string `json:"stage,omitempty"`
	Cause string `json:"cause,omitempty"`
	// LeftForReset says that the target was left on purpose, because the manager
	// asked for fast clean-up (spec: lifecycle.md section 9).
	LeftForReset bool `json:"left_for_reset,omitempty"`
}

// Check refuses what no supervisor has written.
func (o Outcome) Check() error {
	if !slices.Contains(verdict.Outcomes(), o.Status) || o.BuildID == "" {
		return fmt.Errorf("the outcome of the build %q is %q", o.BuildID, o.Status)
	}
	return nil
}

// WriteOutcome makes the outcome durable in the folder of the build.
func WriteOutcome(dir state.Build, o Outcome) error { return disk.WriteJSON(dir.Outcome(), o) }

// ReadOutcome reads the outcome of the build. It is fs.ErrNotExist while there
// is none.
func ReadOutcome(dir state.Build) (Outcome, error) {
	var o Outcome
	path := dir.Outcome()
	err := disk.ReadJSON(path, &o)
	if err == nil {
		err = o.Check()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("cannot read how the build ended: %s: %w", path, err)
	}
	return o, err
}
