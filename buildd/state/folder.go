// Package state is run by the daemon, by root on both sides of the namespaces, and
// by operators: it knows what a builder keeps in its state folder, and how it tells
// a process from all others. Of the disk it touches nothing but to ask who owns
// what: a path is made here, and used elsewhere (package disk).
package state

import "path/filepath"

// Folder is the path of the folder in which a builder keeps its state: inside its
// file cache, which says how it is called. The daemon, who owns it, writes the
// journal and the folder of the build; roots, trash and what is kept are root's.
type Folder string

// Path is the path.
func (f Folder) Path() string { return string(f) }

// Cache is the folder of the file cache.
func (f Folder) Cache() string { return filepath.Dir(string(f)) }

// Journal is the file that survives a crash of the daemon.
func (f Folder) Journal() string { return f.in("journal.json") }

// Drain is the file that makes a builder a drained one.
func (f Folder) Drain() string { return f.in("drained.json") }

// Build is the folder of the build that runs, or of the last one.
func (f Folder) Build() Build { return Build(f.in("build")) }

// Roots is where base images are unpacked.
func (f Folder) Roots() string { return f.in("roots") }

// Trash is where things wait until somebody has the time to delete them.
func (f Folder) Trash() string { return f.in("trash") }

// Kept is the folder of failed builds that stay for a look.
func (f Folder) Kept() string { return f.in("kept") }

// Log is the log of the build, which the file cache serves.
func (f Folder) Log() string { return filepath.Join(f.Cache(), "buildlog") }

func (f Folder) in(name string) string { return filepath.Join(string(f), name) }

// Build is the path of the folder of the build that runs, or of the last one, in
// which its supervisor works.
type Build string

// SocketName is the name of the socket of the supervisor in its folder: the path of
// a socket may be too long.
const SocketName = "socket"

// Path is the path.
func (b Build) Path() string { return string(b) }

// State is the state folder that it is in.
func (b Build) State() Folder { return Folder(filepath.Dir(string(b))) }

// Socket is where the daemon speaks to the supervisor.
func (b Build) Socket() string { return b.in(SocketName) }

// Ledger is what has to be undone.
func (b Build) Ledger() string { return b.in("ledger") }

// Outcome is how the build ended.
func (b Build) Outcome() string { return b.in("outcome.json") }

// Supervisor is the Process that holds all others of the build: it can be killed
// for as long as it lives, and nothing else afterwards.
func (b Build) Supervisor() string { return b.in("supervisor.json") }

// Accepted is the journal of the build as it was accepted, until clean(): what is
// known of the build if the journal is damaged.
func (b Build) Accepted() string { return b.in("accepted.json") }

// Builder is where a clean-up has to look for what the ledger does not name.
func (b Build) Builder() string { return b.in("builder.json") }

// Limits is how much of the machine the build may use.
func (b Build) Limits() string { return b.in("limits.json") }

// Container is how the container engine of the build is reached.
func (b Build) Container() string { return b.in("container.json") }

// Results names what the build brought into the file cache, until its outcome does.
func (b Build) Results() string { return b.in("results") }

func (b Build) in(name string) string { return filepath.Join(string(b), name) }
