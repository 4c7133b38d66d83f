package daemonlog

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// Settings say how and where the log is written.
type Settings struct {
	Level slog.Level
	// JSON is for programs; else it is text.
	JSON bool
	// File gets the log, too; "" is none.
	File string
}

// Log is the daemon's own log: on standard error, for the journal, and in a file as
// well, if there is one. Level, format and file may change at any time, also for
// loggers that were derived before.
type Log struct {
	*slog.Logger
	level  slog.LevelVar
	asJSON atomic.Bool

	mu   sync.Mutex // guards file and standard error
	file *os.File
}

// Open begins a log.
func Open(s Settings) (*Log, error) {
	l := &Log{}
	options := &slog.HandlerOptions{Level: &l.level}
	l.Logger = slog.New(New(either{
		text: slog.NewTextHandler(l, options), json: slog.NewJSONHandler(l, options), asJSON: &l.asJSON,
	}))
	return l, l.Use(s)
}

// Use changes the log to these settings, and opens the file anew, for it may have
// been rotated. After an error everything is as it was.
func (l *Log) Use(s Settings) error {
	var file *os.File
	if s.File != "" {
		var err error
		file, err = os.OpenFile(s.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640) // the operator names a file that its group may read
		if err != nil {
			return fmt.Errorf("cannot open the log file ([log] file): %w", err)
		}
	}
	l.level.Set(s.Level)
	l.asJSON.Store(s.JSON)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close() // nothing is buffered
	}
	l.file = file
	return nil
}

// Write writes one record. A file that cannot be written, as on a full disk,
// must not keep the record from the journal.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_, _ = l.file.Write(p)
	}
	return os.Stderr.Write(p)
}

// either is a handler that writes one of two formats.
type either struct {
	text, json slog.Handler
	asJSON     *atomic.Bool
}

func (e either) now() slog.Handler {
	if e.asJSON.Load() {
		return e.json
	}
	return e.text
}

// Enabled is the same in both formats.
func (e either) Enabled(ctx context.Context, l slog.Level) bool { return e.now().Enabled(ctx, l) }

// Handle writes a record in today's format.
func (e either) Handle(ctx context.Context, r slog.Record) error { return e.now().Handle(ctx, r) }

// WithAttrs adds attributes to both formats.
func (e either) WithAttrs(attrs []slog.Attr) slog.Handler {
	return either{e.text.WithAttrs(attrs), e.json.WithAttrs(attrs), e.asJSON}
}

// WithGroup begins a group in both formats.
func (e either) WithGroup(name string) slog.Handler {
	return either{e.text.WithGroup(name), e.json.WithGroup(name), e.asJSON}
}
