package incus

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// Kinds of entries for Config.Record.
const (
	KindContainer = "container"
	KindProfile   = "profile"
	KindNetwork   = "container-network"
)

// Names of Config.Engine.
const (
	Auto  = "auto"
	LXD   = "lxd"
	Incus = "incus"
)

// Config says which engine to use, and how to make a container.
type Config struct {
	// Engine is "auto", "lxd" or "incus"; "" is "auto". Auto takes the first
	// socket on which somebody listens: Incus', that of the LXD snap, LXD's.
	// Nothing is taken from the environment.
	Engine string
	// Socket is the path of the engine's socket, if not the usual one.
	Socket string
	// Remote is the URL of an Incus on another machine, used instead of a
	// socket; the others are paths of PEM files: who we are, and the
	// certificate of the server unless it is signed by a known authority.
	Remote, ClientCert, ClientKey, ServerCert string
	// Pool is the storage pool, "" the one called "default". Project is the
	// project, "" the default one.
	Pool, Project string
	// Instance is the name of this builder among those that use the engine.
	// With BuildID it makes the names of the container and its profile.
	Instance string
	BuildID  string
	// BuildDir is the folder of the build on the host; Remove deletes it.
	BuildDir string
	// Series and Arch are those of the build, as Debian names them.
	Series, Arch string
	// CPUs (a number of processors, also parts of one) and Memory (bytes) are
	// what the container may use; 0 is no limit.
	CPUs   float64
	Memory int64
	// Processes is how many processes the container may have at once; 0 is no
	// limit.
	Processes int64
	// Constraints are those of the builder; "gpu-nvidia" has a meaning here.
	Constraints []string
	// Bridge is the network bridge of the container's eth0, HostAddress and
	// Address are the addresses of both ends on it. With Remote, the engine makes
	// it; otherwise it is there. Without a bridge the network is what the engine's
	// profile "default" says.
	Bridge               string
	HostAddress, Address netip.Prefix
	// MaxImages is how many imported images are kept, and MaxImageAge how
	// long since their last use; an age of 0 is for ever. Those in use are always
	// kept.
	MaxImages   int
	MaxImageAge time.Duration
	// AnswerTime is how long the engine may take to answer one request; 0 is a
	// minute.
	AnswerTime time.Duration
	// Record is called before a thing is made that outlives this process, and
	// Done when it is gone; see Clean. May be nil.
	Record, Done func(kind, name string) error
	// Notice tells the reader of the build log, by one line without newline,
	// of something unusual. May be nil.
	Notice func(line string)
	// Log is the daemon's log; nil discards.
	Log *slog.Logger
}

func (cfg Config) withDefaults() Config {
	cfg.Engine = cmp.Or(cfg.Engine, Auto)
	cfg.Pool = cmp.Or(cfg.Pool, "default")
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	ignore := func(string, string) error { return nil }
	if cfg.Record == nil {
		cfg.Record = ignore
	}
	if cfg.Done == nil {
		cfg.Done = ignore
	}
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	return cfg
}

func (cfg Config) validate() error {
	if !slices.Contains([]string{Auto, LXD, Incus}, cfg.Engine) {
		return fmt.Errorf("cannot use the container engine %q: only auto, lxd and incus are known", cfg.Engine)
	}
	if cfg.Bridge != "" && (!cfg.HostAddress.IsValid() || !cfg.Address.IsValid()) {
		return fmt.Errorf("cannot use the bridge %s without addresses", cfg.Bridge)
	}
	if (cfg.ClientCert == "") != (cfg.ClientKey == "") {
		return errors.New("cannot use a client certificate without its key, or a key without its certificate")
	}
	return nil
}

// ownNetwork says whether the engine makes the network of the container: on
// another machine nobody else can.
func (cfg Config) ownNetwork() bool { return cfg.Remote != "" && cfg.Bridge != "" }
