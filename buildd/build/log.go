package build

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/buildlog"
	"lpbuildd/builders"
)

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

// openLog makes the build log, which belongs to the owner of the cache. An
// unknown build type has one too.
func (b *build) openLog() error {
	typ, findErr := b.find(b.request.Tag)
	b.typ = typ
	private, _ := builders.Args(b.request.Args).Bool("archive_private") // checked in parse
	uid, gid, err := owner(b.request.Settings.FileCache)
	if err != nil {
		return err
	}
	log, err := buildlog.Create(buildlog.Options{
		Path:    filepath.Join(b.request.Settings.FileCache, "buildlog"),
		Private: private || typ.Sanitize || findErr != nil,
		Secrets: b.secrets, UID: uid, GID: gid,
		Limit:   b.request.Settings.LogLimit,
		OnLimit: func() { b.logFull <- struct{}{} },
	})
	if err != nil {
		return err
	}
	b.log = &lineLog{Log: log}
	return findErr
}

// say writes lines of our own to the log, if there is one, below what a command
// may have left of one. Nothing is flushed: the stage may be in the middle of a
// secret.
func (b *build) say(format string, a ...any) {
	if b.log == nil {
		return
	}
	text := fmt.Sprintf(format, a...) + "\n"
	if b.log.open.Load() {
		text = "\n" + text
	}
	// The log keeps its own error, which the end of each stage looks at.
	_, _ = b.log.Write([]byte(text))
}

// announce writes the two lines that precede a step in the log (spec:
// lifecycle.md section 4.1).
func (b *build) announce(argv ...string) {
	b.say("[%s]\nRUN: %s %s", time.Now().Format(time.ANSIC), argv[0], backends.Quote(argv[1:]...))
}

// operation is the command line of a target operation, as the log shows it
// (spec: lifecycle.md section 4.2).
func (b *build) operation(name string, args ...string) []string {
	program := filepath.Join(b.request.Settings.SharePath, "bin", "in-target")
	return slices.Concat([]string{program, name}, b.common.Options(b.typ.Backend), []string{b.request.BuildID}, args)
}

// conclude ends the log with the summary.
func (b *build) conclude(summary string) {
	if b.log == nil {
		return
	}
	if err := errors.Join(b.log.Conclude(summary), b.log.Close()); err != nil {
		b.daemon.Error("Cannot end the build log", "error", err)
	}
}
