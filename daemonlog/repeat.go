package daemonlog

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// window is the time for which lines of one kind are counted together.
	window = 10 * time.Minute
	// fromOne is how many lines of one kind a caller may cause in that time.
	fromOne = 100
	// mostKinds is how many kinds of lines, by caller, are told apart at a time. All
	// others count as one. It bounds the memory, and with fromOne the size of the log.
	mostKinds = 256
)

type callerKey struct{}

// WithCaller notes for whom something is done, by address. Only lines with such a
// context are counted: those of the daemon itself are always written.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// New makes a handler that passes on to next what is to be written.
func New(next slog.Handler) slog.Handler {
	next = cutting{next}
	return counting{next, &counter{base: next, kinds: map[kind]*tally{}}}
}

// kind is what lines have in common that are counted together.
type kind struct {
	caller, message string
	level           slog.Level
}

// tally counts the lines of one kind in one window.
type tally struct {
	first         time.Time
	seen, leftOut int
}

// counting is a handler that leaves lines out.
type counting struct {
	slog.Handler
	*counter
}

// counter is shared by all handlers that were derived from one.
type counter struct {
	base  slog.Handler
	mu    sync.Mutex
	kinds map[kind]*tally
	timer *time.Timer // nil while nothing is counted
}

// Handle writes a line, or counts it.
func (c counting) Handle(ctx context.Context, r slog.Record) error {
	caller, ok := ctx.Value(callerKey{}).(string)
	if ok && !c.admit(kind{caller, Cut(r.Message), r.Level}) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs adds attributes; they make no other kind of a line.
func (c counting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return counting{c.Handler.WithAttrs(attrs), c.counter}
}

// WithGroup begins a group.
func (c counting) WithGroup(name string) slog.Handler {
	return counting{c.Handler.WithGroup(name), c.counter}
}

// admit counts a line, and says whether it is written.
func (c *counter) admit(k kind) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.kinds[k]
	if t == nil && len(c.kinds) >= mostKinds {
		k = kind{caller: "others", message: "others", level: k.level}
		t = c.kinds[k]
	}
	if t == nil {
		t = &tally{first: time.Now()}
		c.kinds[k] = t
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(window, c.sumUp)
	}
	t.seen++
	if t.seen > fromOne {
		t.leftOut++
		return false
	}
	return true
}

// sumUp says what was left out in windows that are over, and forgets them.
func (c *counter) sumUp() {
	c.mu.Lock()
	over := map[kind]*tally{}
	now := time.Now()
	for k, t := range c.kinds {
		if now.Sub(t.first) >= window {
			over[k] = t
			delete(c.kinds, k)
		}
	}
	c.timer = nil
	if len(c.kinds) > 0 {
		c.timer = time.AfterFunc(window, c.sumUp)
	}
	c.mu.Unlock()
	for k, t := range over {
		if t.leftOut == 0 {
			continue
		}
		r := slog.NewRecord(now, k.level, "Lines of one kind were left out", 0)
		r.AddAttrs(slog.String("like", k.message), slog.String("caller", k.caller),
			slog.Int("repeated", t.leftOut), slog.Time("since", t.first))
		_ = c.base.Handle(context.Background(), r) // nobody could be told
	}
}
