// Package builders is run by the worker of a build, root inside the build's namespaces,
// and by the daemon, unprivileged, to have arguments checked: it is what build types are
// made of. It has what a type is (Type, Builder), what one may touch (Env), how one reads
// its arguments (Args, Reader), and the steps that all of them share. It touches the
// target of a build, through Env. See spec: builders.md and lifecycle.md.
//
// A build type is a row of the table in builders/types plus a file with its arguments,
// its Build and its Gather, or a folder if it takes three files or more. It sees the
// world through Env and nothing else. Steps that fewer types share have folders of
// their own: apt, vcs (the checkout of a source), container.
package builders

import (
	"context"
	"io"

	"lpbuildd/backends"
	"lpbuildd/builders/site"
)

// Job is what a build is asked to do, apart from its arguments.
type Job struct {
	// BuildID is the manager's name of the build, a single path component.
	BuildID string
	// Files maps the names of the build's input files to their paths on the
	// host. In Dir there is a symbolic link for each.
	Files map[string]string
	// Dir is the build directory on the host, <HOME>/build-<id>.
	Dir string
	// Home is HOME of the build user on the host.
	Home string
}

// Env is what a build type works with. It is a value; nothing in it is
// changed while a build runs.
type Env struct {
	Job    Job
	Common Common
	// Target is the environment of the build.
	Target backends.Target
	// TargetRoot is the target's root directory on the host; "" for backends
	// that have none there.
	TargetRoot string
	// Host runs commands on the host as the unprivileged build user, in Job.Dir
	// unless the command says otherwise.
	Host backends.Runner
	// Root runs commands on the host as root.
	Root backends.Runner
	// Log is the build log. Writes to it are redacted; safe for concurrent use.
	Log io.Writer
	// LogTail returns at most the last n bytes of the build log so far.
	LogTail func(n int64) ([]byte, error)
	// OpenLog opens the build log for reading from its start.
	OpenLog func() (io.ReadCloser, error)
	// SharePath is the folder of the shipped files (sbuildrc, ...).
	SharePath string
	// User is the unprivileged build user, on the host and in the target.
	User string
	// Site is the place where the builder stands.
	Site site.Site
	// CPUs is the number of processors that this build may use.
	CPUs int
	// AnnounceRun writes the time stamp and RUN: lines of spec: lifecycle.md
	// section 4.1 to the log, for a command that a stage stands for.
	AnnounceRun func(argv ...string)
	// Proxy is the local proxy that this build may use, nil without one.
	Proxy *Proxy
	// RevokeProxy revokes the token of the proxy before the build is over. It
	// reports failures to the log only. Never nil.
	RevokeProxy func(ctx context.Context)
	// SetExtra publishes a key of the extra status, e.g. revision_id. Never nil,
	// safe for concurrent use.
	SetExtra func(key string, value any)
	// Redact takes the secrets out of a text that becomes a result. Closing what
	// it returns closes text. Never nil.
	Redact func(text io.ReadCloser) io.ReadCloser
	// Store keeps one result in the file cache before the build is over, under
	// the name that Gather would give it, and returns its SHA-1. It closes
	// content. An error is a *verdict.HostFault, unless it is content's own.
	Store func(ctx context.Context, name string, content io.ReadCloser) (string, error)
	// Undo registers a host path, made by the build type outside the build
	// directory, for removal after the build, however it ends. It must be
	// called before the path is made.
	Undo func(path string) error
	// HasSecrets says that these paths in the target hold secrets: they are
	// removed before the target of a failed build is kept for a look. May be nil.
	HasSecrets func(paths ...string)
}

// Proxy is a local proxy without authentication, as the build sees it (spec:
// proxy.md).
type Proxy struct {
	// URL is what goes into http_proxy, with its trailing slash.
	URL string
	// Host and Port are the same in pieces.
	Host, Port string
}

// Builder is one build of one type.
type Builder interface {
	// Build does the work. Its error's BuildError says how the build ended.
	Build(ctx context.Context, env Env) error
	// Gather hands every result to add, by name; called after a Build without
	// error. The content is closed by add.
	Gather(ctx context.Context, env Env, add func(name string, content io.ReadCloser) error) error
}

// Type is one build type: what is known about it before it starts.
type Type struct {
	// Tag is its name on the wire.
	Tag string
	// Backend is "chroot" or "lxd".
	Backend string
	// Sanitize says that logs of this type always lose their credentials; for
	// others that depends on archive_private (spec: lifecycle.md section 10).
	Sanitize bool
	// Proxy says that builds of this type may get a proxy.
	Proxy bool
	// NoProxyInfo says that proxy_info fails for builds of this type; it answers
	// for all others, whether they can have a proxy or not (spec: protocol.md
	// section 4.3).
	NoProxyInfo bool
	// Args are the arguments that this type has beside those of every type and
	// those about a proxy, used or not. New sees no others.
	Args []string
	// Extra is what the extra status of builds of this type has from the start.
	Extra map[string]any
	// New checks the arguments and the names of the input files of one build.
	// Its error names the argument and what was expected.
	New func(args Args, files []string) (Builder, error)
}

// Common are the arguments that every build type has (spec: lifecycle.md
// section 3).
type Common struct {
	// Series of the target, such as "noble".
	Series string
	// ABI is the Debian architecture of the target, such as "amd64". It is the
	// only one that dpkg, the kernel and container engines may be told.
	ABI string
	// Variant is the ABI with a newer instruction set for which the build is,
	// such as "amd64v3"; "" for the ABI itself.
	Variant string
	// ImageType is "chroot" unless the manager says otherwise; whether a backend
	// knows it is found out when the target is created.
	ImageType string
	// FastCleanup leaves the target behind for the reset of the machine.
	FastCleanup bool
	// Constraints are what the manager asked of the builder, such as
	// "gpu-nvidia".
	Constraints []string
	// Private says that credentials must not appear in the log.
	Private bool
	// Archives are lines for apt's package sources.
	Archives []string
	// HasArchives tells an empty list, which means no sources at all, from
	// none, which leaves those of the image alone.
	HasArchives bool
	// TrustedKeys are apt's keys, in base64 that has not been checked: a bad one
	// fails the stage KEYS.
	TrustedKeys []string
	// BuildURL is where people find the build, or "".
	BuildURL string
}
