package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
	"lpbuildd/builders"
)

// secretsOf are the secrets in a request: in the arguments of the build, and in
// the settings of the builder.
func secretsOf(r job.Request) []string {
	return slices.Concat(builders.Secrets(builders.Args(r.Args)), r.Settings.Secrets())
}

// redactor returns a function that removes the secrets of a build, and
// credentials in URLs, from a text for the daemon.
func redactor(secrets []string) func(string) string {
	return func(text string) string {
		var out strings.Builder
		// A strings.Builder takes everything.
		r := buildlog.NewRedactor(&out, true, secrets)
		_, _ = r.Write([]byte(text))
		_ = r.Flush()
		return out.String()
	}
}

// redacted is a text without secrets, as a stream.
func redacted(text io.ReadCloser, secrets []string) io.ReadCloser {
	out, in := io.Pipe()
	go func() {
		r := buildlog.NewRedactor(in, true, secrets)
		_, err := io.Copy(r, text)
		if err == nil {
			err = r.Flush()
		}
		_ = in.CloseWithError(err) // never fails
	}()
	return &redactedText{PipeReader: out, text: text}
}

type redactedText struct {
	*io.PipeReader
	text io.Closer
}

// Close ends the stream and closes the text.
func (r *redactedText) Close() error { return errors.Join(r.PipeReader.Close(), r.text.Close()) }

// redactingHandler redacts every text in the records that it passes on.
type redactingHandler struct {
	slog.Handler
	redact func(string) string
}

// Handle implements slog.Handler.
func (h redactingHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.clean(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h redactingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.clean(a)
	}
	return redactingHandler{h.Handler.WithAttrs(clean), h.redact}
}

// WithGroup implements slog.Handler.
func (h redactingHandler) WithGroup(name string) slog.Handler {
	return redactingHandler{h.Handler.WithGroup(name), h.redact}
}

// clean leaves numbers and times alone.
func (h redactingHandler) clean(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.redact(v.String()))
	case slog.KindAny:
		return slog.String(a.Key, h.redact(fmt.Sprint(v.Any())))
	case slog.KindGroup:
		var group []any
		for _, member := range v.Group() {
			group = append(group, h.clean(member))
		}
		return slog.Group(a.Key, group...)
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindTime, slog.KindUint64, slog.KindLogValuer:
	}
	return a
}
