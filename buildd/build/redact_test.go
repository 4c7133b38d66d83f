package build

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTheDaemonsLogIsRedacted(t *testing.T) {
	var out bytes.Buffer
	plain := slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	log := slog.New(redactingHandler{plain, redactor([]string{"s3cret"})})
	log.With("with", "s3cret").WithGroup("g").Error("Message", "text", "a s3cret", "error", errors.New("http://u:p@h/ s3cret"),
		"list", []string{"s3cret"}, "number", 7, "took", time.Second, slog.Group("deep", "er", "s3cret"))
	want := `level=ERROR msg=Message with=[redacted] g.text="a [redacted]" g.error="http://h/ [redacted]" ` +
		`g.list=[[redacted]] g.number=7 g.took=1s g.deep.er=[redacted]`
	if got := strings.TrimSpace(out.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
