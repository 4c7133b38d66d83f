package build

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
	"lpbuildd/builders"
)

// voice is what a build says: its log, and its part of the daemon's. Neither ever
// holds a secret of its request.
type voice struct {
	secrets []string
	redact  func(string) string
	daemon  *slog.Logger  // the daemon's log
	log     *lineLog      // nil until it is open
	full    chan struct{} // gets one value when the log has reached its limit
	buildID string
	// program and options begin the command lines of operations.
	program string
	options []string

	mu     sync.Mutex // guards strays
	strays []string   // what the summary says of processes that were left behind
}

func newVoice(r job.Request, daemon *slog.Logger) *voice {
	secrets := secretsOf(r)
	redact := redactor(secrets)
	return &voice{
		secrets: secrets, redact: redact, full: make(chan struct{}, 1), buildID: r.BuildID,
		daemon:  slog.New(redactingHandler{daemon.Handler(), redact}).With("build_id", r.BuildID),
		program: filepath.Join(r.Settings.SharePath, "bin", "in-target"),
	}
}

// lineLog is a build log that knows whether its last line is complete.
type lineLog struct {
	*buildlog.Log
	open atomic.Bool
}

// Write appends to the log.
func (l *lineLog) Write(p []byte) (int, error) {
	n, err := l.Log.Write(p)
	if n > 0 {
		l.open.Store(p[n-1] != '\n')
	}
	return n, err
}

// open makes the build log, which belongs to the owner of the cache.
func (v *voice) open(s job.Settings, private bool) error {
	uid, gid, err := owner(s.FileCache)
	if err != nil {
		return err
	}
	log, err := buildlog.Create(buildlog.Options{
		Path:    filepath.Join(s.FileCache, "buildlog"),
		Private: private,
		Secrets: v.secrets, UID: uid, GID: gid,
		Limit:   s.LogLimit,
		OnLimit: func() { v.full <- struct{}{} },
	})
	if err != nil {
		return err
	}
	v.log = &lineLog{Log: log}
	return nil
}

// say writes lines of our own to the log, if there is one, below what a command
// may have left of one. Nothing is flushed: the stage may be in the middle of a
// secret.
func (v *voice) say(format string, a ...any) {
	if v.log == nil {
		return
	}
	text := fmt.Sprintf(format, a...) + "\n"
	if v.log.open.Load() {
		text = "\n" + text
	}
	// The log keeps its own error, which the end of each stage looks at.
	_, _ = v.log.Write([]byte(text))
}

// announce writes the two lines that precede a step in the log (spec:
// lifecycle.md section 4.1).
func (v *voice) announce(argv ...string) {
	v.say("[%s]\nRUN: %s %s", time.Now().Format(time.ANSIC), argv[0], backends.Quote(argv[1:]...))
}

// targets says for what the build is: the options of operations.
func (v *voice) targets(c builders.Common, backend string) { v.options = c.Options(backend) }

// operation is the command line of a target operation, as the log shows it
// (spec: lifecycle.md section 4.2).
func (v *voice) operation(name string, args ...string) []string {
	return slices.Concat([]string{v.program, name}, v.options, []string{v.buildID}, args)
}

// mentions looks for a text near the end of the log.
func (v *voice) mentions(text *regexp.Regexp) bool {
	tail, err := v.log.Tail(64 << 10)
	return err == nil && text.Match(tail)
}

// conclude ends the log with the summary.
func (v *voice) conclude(summary string) {
	if v.log == nil {
		return
	}
	if err := errors.Join(v.log.Conclude(summary), v.log.Close()); err != nil {
		v.daemon.Error("Cannot end the build log", "error", err)
	}
}

// redacted is a text without the secrets, as a stream.
func (v *voice) redacted(text io.ReadCloser) io.ReadCloser { return redacted(text, v.secrets) }

// maxStrays is how many lines the summary has of what was left behind.
const maxStrays = 5

// stray notes that a process held the output of a command that was done.
func (v *voice) stray(s backends.Stray) {
	line := fmt.Sprintf("%s was done, but %s held its output open", s.Argv[0], s.Held)
	if s.Inner {
		line = fmt.Sprintf("%s was done, but %s held its output open and had to be killed", v.innerCommand(), s.Held)
	}
	v.say("%s", line)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.strays) < maxStrays && !slices.Contains(v.strays, line) {
		v.strays = append(v.strays, line)
	}
}

// packageDone is what dpkg-buildpackage says last when it has succeeded.
var packageDone = regexp.MustCompile(`(?m)^dpkg-buildpackage: info: .*upload`)

// innerCommand is what sbuild ran in the target, as far as the log tells.
func (v *voice) innerCommand() string {
	if v.mentions(packageDone) {
		return "The package"
	}
	return "A command in the target"
}

// leftBehind are the lines of the summary about processes that were.
func (v *voice) leftBehind() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Join(v.strays, "\n")
}
