package daemonlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/daemonlog"
)

// output is what was written. The counter writes from a goroutine of its own.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) Reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}

func logger() (*slog.Logger, *output) {
	out := &output{}
	return slog.New(daemonlog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo}))), out
}

// say logs a message that is no constant.
func say(ctx context.Context, log *slog.Logger, message string, attrs ...slog.Attr) {
	r := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
	r.AddAttrs(attrs...)
	_ = log.Handler().Handle(ctx, r) // into memory
}

func TestLongTextsAreCut(t *testing.T) {
	log, out := logger()
	long := strings.Repeat("é", 10<<20)
	log = log.With("derived", long)
	say(t.Context(), log.WithGroup("group"), long, slog.String("text", long), slog.Any("error", errors.New(long)), slog.Int(long, 1),
		slog.Group("inner", "deep", long), slog.Any("bytes", []byte(long)), slog.Int("count", 7))
	if len(out.String()) > 9*(2<<10) || strings.Count(out.String(), "... (20971520 bytes)") != 6 || !strings.Contains(out.String(), "count=7") {
		t.Errorf("%d bytes: %.300s", len(out.String()), out)
	}
	out.Reset()
	log, out = logger()
	log.Info("short", "error", errors.New("as it was"))
	if !strings.Contains(out.String(), `msg=short error="as it was"`) {
		t.Errorf("got %s", out)
	}
}

func from(t *testing.T, caller string) context.Context {
	t.Helper()
	return daemonlog.WithCaller(t.Context(), caller)
}

func TestRepeatedLinesAreSummedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := logger()
		for i := range 100_000 {
			log.With("i", i).InfoContext(from(t, "stranger"), "cannot fetch a file", "n", i)
			log.DebugContext(from(t, "stranger"), "not written anyway")
			if i%1000 == 0 {
				log.InfoContext(from(t, "manager"), "cannot fetch a file", "manager", true)
				log.Info("cannot fetch a file", "own", true)
			}
		}
		log.WarnContext(from(t, "stranger"), "another kind")
		got := out.String()
		for part, want := range map[string]int{" n=": 100, "manager=": 100, "own=": 100, "another kind": 1, "left out": 0} {
			if n := strings.Count(got, part); n != want {
				t.Errorf("%d lines with %s, want %d", n, part, want)
			}
		}
		out.Reset()
		<-time.After(11 * time.Minute)
		synctest.Wait()
		if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `level=INFO msg="Lines of one kind were left out" like="cannot fetch a file" caller=stranger repeated=99900`) {
			t.Errorf("summed up as %q", got)
		}
		log.InfoContext(from(t, "stranger"), "cannot fetch a file", "n", "again")
		if !strings.Contains(out.String(), "n=again") {
			t.Error("it is silent for ever")
		}
	})
}

// TestManyCallersShareABound: neither the table nor the log grows with the number
// of callers, or of what they have written.
func TestManyCallersShareABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, out := logger()
		for i := range 50_000 {
			say(from(t, fmt.Sprint("caller ", i)), log, fmt.Sprint("message ", i), slog.Int("n", i))
		}
		if n := strings.Count(out.String(), "\n"); n < 256 || n > 400 {
			t.Errorf("%d lines", n)
		}
		out.Reset()
		<-time.After(11 * time.Minute)
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "like=others caller=others repeated=49644") {
			t.Errorf("summed up as %q", got)
		}
	})
}
