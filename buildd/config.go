package buildd

import (
	"cmp"
	"log/slog"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// Type is what the daemon knows of a build type.
type Type struct {
	// Tag is its name on the wire.
	Tag string
	// Sanitize says that its log tail is always cut as for private builds.
	Sanitize bool
	// NoProxyInfo says that ProxyInfo fails for its builds.
	NoProxyInfo bool
	// Extra is what the extra status of its builds has before they tell anything.
	Extra map[string]any
	// Check refuses arguments that can never build. Its error names the
	// argument and what was expected.
	Check func(args map[string]any, files []string) error
}

// Config is what a Daemon needs.
type Config struct {
	// Arch is the default architecture tag.
	Arch string
	// Version is the version of the installed package, "" if it is not known.
	Version string
	// Types are the build types, in the order in which they are shown.
	Types []Type
	// Settings are handed to every supervisor; SetSettings changes them.
	Settings job.Settings
	// Cache is the file cache; the daemon keeps its own files in its state
	// folder.
	Cache *filecache.Cache
	// Launcher starts the privileged helpers.
	Launcher Helpers
	// AbortGrace is how much longer than Settings.AbortLimit a supervisor may
	// take to report an aborted build before it is killed.
	AbortGrace time.Duration
	// BuildWait is how long a build waits until what the one before has left is
	// undone; 0 is 20 seconds: managers wait 30 for an answer (spec: client.md
	// section 11).
	BuildWait time.Duration
	// RecoverWait is how long a start waits until what the last daemon has left is
	// settled; 0 is a second. What takes longer goes on behind the answers, which
	// until then are those of the journal.
	RecoverWait time.Duration
	// ReadyWait is how long a supervisor may take to read a request that the last
	// daemon has sent, from its first word on; 0 is 1.5 seconds.
	ReadyWait time.Duration
	// RetryDelay is how long to wait before something is tried again, as to write down
	// the end of a build, or looked at again, as whether a supervisor lives; 0 is 5
	// seconds.
	RetryDelay time.Duration
	// WriteLimit is for how long that is tried before the build ends, for all to see,
	// as the builder's failure; 0 is a minute.
	WriteLimit time.Duration
	// Changed is called after every change of the state or the build; nil is
	// nobody. It must not wait, nor call the daemon.
	Changed func()
	// LossTime is for how long a drained builder that lost its build says that
	// it is idle; 0 is 14 seconds, see drain.go.
	LossTime time.Duration
	Log      *slog.Logger
}

// setDefaults fills in what is not set.
func (c *Config) setDefaults() {
	c.BuildWait = cmp.Or(c.BuildWait, 20*time.Second)
	c.RecoverWait = cmp.Or(c.RecoverWait, time.Second)
	c.ReadyWait = cmp.Or(c.ReadyWait, 1500*time.Millisecond)
	c.RetryDelay = cmp.Or(c.RetryDelay, 5*time.Second)
	c.WriteLimit = cmp.Or(c.WriteLimit, time.Minute)
	c.LossTime = cmp.Or(c.LossTime, defaultLossTime)
	if c.Changed == nil {
		c.Changed = func() {}
	}
}
