// Package daemonlog is the daemon's own log. The unprivileged daemon writes it, to standard error and to a file that its
// operator names. It stays small whatever strangers send: long values are cut, and lines that one caller causes again and
// again are counted instead of written.
package daemonlog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// longest is how many bytes of a text are written.
const longest = 2 << 10

// Cut shortens a text that is too long for a log, and says how long it was.
func Cut(text string) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + fmt.Sprintf("... (%d bytes)", len(text))
}

// cutting is a handler that cuts messages and values.
type cutting struct{ slog.Handler }

// Handle cuts what is too long.
func (c cutting) Handle(ctx context.Context, r slog.Record) error {
	short := slog.NewRecord(r.Time, r.Level, Cut(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		short.AddAttrs(cutAttr(a))
		return true
	})
	return c.Handler.Handle(ctx, short)
}

// WithAttrs cuts the attributes of a derived logger.
func (c cutting) WithAttrs(attrs []slog.Attr) slog.Handler {
	short := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		short[i] = cutAttr(a)
	}
	return cutting{c.Handler.WithAttrs(short)}
}

// WithGroup begins a group.
func (c cutting) WithGroup(name string) slog.Handler { return cutting{c.Handler.WithGroup(name)} }

func cutAttr(a slog.Attr) slog.Attr {
	a.Key, a.Value = Cut(a.Key), a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Cut(a.Value.String()))
	case slog.KindGroup:
		var short []slog.Attr
		for _, member := range a.Value.Group() {
			short = append(short, cutAttr(member))
		}
		a.Value = slog.GroupValue(short...)
	case slog.KindAny:
		// An error, or something with a format of its own, which is kept if it is short.
		if text := fmt.Sprint(a.Value.Any()); len(text) > longest {
			a.Value = slog.StringValue(Cut(text))
		}
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime, slog.KindUint64, slog.KindLogValuer:
	}
	return a
}
