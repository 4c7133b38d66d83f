// Package buildlog is the log of one build, which root writes inside its
// namespaces, and the daemon reads: a file that is redacted before its first byte
// reaches the disk, and the tail of it that status shows.
//
// There is no unredacted copy of a log anywhere. What is written goes through
// three stages: the patterns of private builds (patterns.go), the exact secret
// values of the build (secrets.go), and the size limit (limit.go). Each keeps
// back only the bytes it cannot judge yet, so that the result depends on what
// was written and not on how it was split into writes.
//
// Log and Tailer are safe for concurrent use, Redactor is not.
package buildlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how the log of one build is kept.
type Options struct {
	// Path is the file; whatever has that name is replaced.
	Path string
	// Private removes credentials by pattern: in URLs, and socat's proxyauth
	// (spec: lifecycle.md section 10). Secrets are removed always.
	Private bool
	// Secrets are values that must never be seen, as they are or in a usual
	// encoding. Those shorter than 4 bytes are ignored.
	Secrets []string
	// Limit is the largest number of bytes written; 0 is no limit. After it one
	// line says so, the rest is dropped, and OnLimit is called once.
	Limit int64
	// OnLimit may be nil. It is called without locks, by the writer that
	// reached the limit.
	OnLimit func()
	// UID and GID own the file when this process is root; -1 leaves them.
	UID, GID int
}

// Log is the open log of a running build.
type Log struct {
	path    string
	onLimit func()
	started time.Time
	last    atomic.Int64 // time of the last write, in nanoseconds after started

	mu       sync.Mutex
	file     *os.File // nil when closed; guarded by mu
	redactor *Redactor
	out      *limited
	err      error // the first failed write; guarded by mu
}

// Create makes a new, empty log with mode 0640. An older file of that name is
// unlinked and not truncated: a link planted there leads nowhere, and readers of the
// old log keep it.
func Create(o Options) (*Log, error) {
	file, err := create(o)
	if err != nil {
		return nil, fmt.Errorf("cannot create the build log: %w", err)
	}
	l := newLog(file, o)
	l.file = file
	return l, nil
}

func create(o Options) (*os.File, error) {
	if err := unix.Unlink(o.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &fs.PathError{Op: "unlink", Path: o.Path, Err: err}
	}
	file, err := open(o)
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		err = file.Chown(o.UID, o.GID)
	}
	if err = errors.Join(err, file.Chmod(0o640)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// open makes the file as its owner, who serves it: if it were root's for a
// moment, whoever asks for the log just then would be refused. An owner who
// cannot make it does not serve it either.
func open(o Options) (*os.File, error) {
	create := func() (*os.File, error) {
		return os.OpenFile(o.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	}
	if os.Geteuid() != 0 {
		return create()
	}
	file, err := as(o.UID, o.GID, create)
	if errors.Is(err, fs.ErrPermission) {
		return create()
	}
	return file, err
}

// as opens a file as another user.
func as(uid, gid int, open func() (*os.File, error)) (*os.File, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid, gid int) error { return errors.Join(unix.Setfsgid(gid), unix.Setfsuid(uid)) }
	defer func() { _ = become(0, 0) }() // it cannot fail: that is who this process is
	if err := become(uid, gid); err != nil {
		return nil, err
	}
	return open()
}

func newLog(dst io.Writer, o Options) *Log {
	out := &limited{dst: dst, limit: o.Limit}
	return &Log{
		path:     o.Path,
		onLimit:  o.OnLimit,
		started:  time.Now(),
		redactor: NewRedactor(out, o.Private, o.Secrets),
		out:      out,
	}
}

// Write redacts p and appends it to the file. The last bytes of p can be kept
// back until the next Write or Flush. After an error, which is then also that
// of every later call and of Err, nothing more is written.
func (l *Log) Write(p []byte) (int, error) {
	l.last.Store(int64(time.Since(l.started)))
	err := l.do(func() error {
		if l.out.full {
			return nil
		}
		_, err := l.redactor.Write(p)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what is kept back, as if the output ended here. It belongs
// between stages: the output of one never continues in the next. In the middle
// of a stage's output it would let the halves of a secret through.
func (l *Log) Flush() error { return l.do(l.redactor.Flush) }

// Conclude writes the last paragraph of the log, on a line of its own and
// also when the limit was reached or the disk was full before. It is redacted
// as everything else.
func (l *Log) Conclude(text string) error {
	if l.makeRoom() {
		text = "The disk was full: lines are missing here.\n" + text
	}
	return l.do(func() error {
		if err := l.redactor.Flush(); err != nil {
			return err
		}
		l.out.lifted = true
		defer func() { l.out.lifted = false }()
		if l.out.midLine {
			text = "\n" + text
		}
		_, err := io.WriteString(l.redactor, text)
		return errors.Join(err, l.redactor.Flush())
	})
}

// roomForEnd is what a log gives up of its end when there is no space for its
// last paragraph.
const roomForEnd = 32 << 10

// makeRoom lets a log go on that a full disk has cut off.
func (l *Log) makeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !errors.Is(l.err, unix.ENOSPC) || l.file == nil {
		return false
	}
	info, err := l.file.Stat()
	if err != nil || l.file.Truncate(max(0, info.Size()-roomForEnd)) != nil {
		return false
	}
	l.err, l.out.midLine = nil, true
	return true
}

// do calls f under the lock, keeps its error, and tells of a limit that f
// reached.
func (l *Log) do(f func() error) error {
	reached, err := l.locked(f)
	if reached && l.onLimit != nil {
		l.onLimit()
	}
	return err
}

func (l *Log) locked(f func() error) (reached bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wasFull := l.out.full
	if l.err == nil {
		l.err = f()
	}
	return l.out.full && !wasFull, l.err
}

// Close flushes, brings the file to the disk and closes it. Closing twice is
// harmless, writing afterwards is an error.
func (l *Log) Close() error {
	err := l.Flush()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err = errors.Join(err, l.file.Sync(), l.file.Close())
	l.file = nil
	if l.err == nil {
		l.err = fs.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("cannot close the build log: %w", err)
	}
	return nil
}

// LastWrite is when Write was last called, or the log created. It compares
// with the monotonic clock.
func (l *Log) LastWrite() time.Time {
	return l.started.Add(time.Duration(l.last.Load()))
}

// Err is the first error of a write, e.g. a full disk: a fault of this host
// and not of the package. Closing the log is none.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.err, fs.ErrClosed) {
		return nil
	}
	return l.err
}

// Tail is at most the last n bytes of the file, which lacks what is kept back.
func (l *Log) Tail(n int64) ([]byte, error) {
	f, err := l.openFile()
	if err != nil {
		return nil, err
	}
	tail, err := readTail(f, n)
	return tail, errors.Join(err, f.Close())
}

// Open opens the file for reading from the start. Call Flush first to find
// everything in it.
func (l *Log) Open() (io.ReadCloser, error) {
	return l.openFile()
}

func (l *Log) openFile() (*os.File, error) {
	return os.OpenFile(l.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
}

// Append adds a last paragraph to an existing log that no one writes any more,
// starting on a new line, and returns when it is on disk. The text is not
// redacted.
func Append(path, text string) (err error) {
	flags := os.O_RDWR | os.O_APPEND | unix.O_NOFOLLOW | unix.O_NONBLOCK
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return fmt.Errorf("cannot append to the build log: %w", err)
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = fmt.Errorf("cannot append to the build log: %w", err)
		}
	}()
	last, err := readTail(file, 1)
	if err != nil {
		return err
	}
	if len(last) == 1 && last[0] != '\n' {
		text = "\n" + text
	}
	if _, err := file.WriteString(text); err != nil {
		return err
	}
	return file.Sync()
}
