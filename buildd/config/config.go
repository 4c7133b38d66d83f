// Package config is run by the unprivileged daemon and by the operator's commands, reads configuration files and what /proc
// says of the machine, and changes nothing: it is the configuration of a builder. It has its keys, the INI file, the layers
// over it, what the builders of one machine promise together, and what a reload may change.
package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/builders/site"
)

// Config is the whole configuration of the daemon, checked and in units of
// Go. It is a value; nobody changes it after Load.
type Config struct {
	ArchitectureTag string
	// FileCache is a folder that existed when the configuration was read.
	FileCache string
	// BindHost is the address to listen on; "" and "0.0.0.0" are all.
	BindHost string
	// BindPort 0 is any free port.
	BindPort  int
	SharePath string
	ProxyPort int
	// User is who sbuild runs as when the daemon is root.
	User string
	// Site is what builds are told of the place where the builder stands.
	Site site.Site

	// CacheMaxSize and CacheMaxAge are limits of the file cache, 0 is none.
	// CacheMinFree is how many bytes downloads leave free on its disk.
	CacheMaxSize, CacheMinFree int64
	CacheMaxAge                time.Duration
	// CacheRoots is how many unpacked base images are kept.
	CacheRoots int

	// ChrootOverlay is "auto" or "never".
	ChrootOverlay string
	// ChrootTmpfs is the size limit of upper layers in memory; 0 keeps them on
	// disk.
	ChrootTmpfs int64

	// Container says how containers are made. Its Instance is the name of this
	// builder among those on this machine.
	Container job.Container

	// WallLimit, SilenceLimit, LogLimit and ResultLimit (bytes) end builds; 0 is no
	// limit.
	WallLimit, SilenceLimit time.Duration
	LogLimit, ResultLimit   int64
	// CPULimit and MemoryLimit (bytes) are what a build may use; 0 is no limit.
	CPULimit    float64
	MemoryLimit int64
	// ProcessLimit is how many processes and threads a build may have at once; 0
	// is no limit.
	ProcessLimit int
	// CPUOvercommit and MemoryOvercommit are how many times what is not reserved
	// may be promised to builds; at least 1.
	CPUOvercommit, MemoryOvercommit float64
	// ReservedCPUs and ReservedMemory (bytes) are left to the machine.
	ReservedCPUs   float64
	ReservedMemory int64
	// AbortLimit is how long the processes of an aborted build may take to die.
	AbortLimit time.Duration

	// KeepFailed is how long the targets of failed builds are kept for a look, 0
	// is not at all; KeepBuilds is how many at most.
	KeepFailed time.Duration
	KeepBuilds int

	LogLevel slog.Level
	// LogFormat is "text" or "json".
	LogFormat string
	// LogFile is a file that gets the log too, or "".
	LogFile string

	// Allow are the networks that may connect; empty is everyone.
	Allow []netip.Prefix
}

// Origin says where the value of a key comes from.
type Origin struct {
	// Key is "section.key".
	Key string
	// Value is the text before it was checked, without the secrets in URLs.
	Value string
	// From is "default", "file:line", the name of an environment variable, or a
	// flag.
	From string
	// Warning says what is wrong with something that the configuration can do
	// without, e.g. a key that is not known. It is "" for all others.
	Warning string
}

// valueError is a value that cannot be used, or one that is missing.
type valueError struct {
	Origin
	// Want says what is expected.
	Want string
	// Err is nil when Want says it all.
	Err error
}

// Error names the key, the value, where it came from and what is expected.
func (e *valueError) Error() string {
	text := fmt.Sprintf("%s = %q (%s): want %s", e.Key, e.Value, e.From, e.Want)
	if e.From == "" {
		text = fmt.Sprintf("%s is missing: want %s", e.Key, e.Want)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *valueError) Unwrap() error { return e.Err }
