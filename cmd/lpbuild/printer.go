package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
)

// event is one JSON object on standard output. Event says what happened; the
// other fields are set as they apply.
type event struct {
	Event        string          `json:"event"`
	Name         string          `json:"name,omitempty"`
	SHA1         string          `json:"sha1,omitempty"`
	Size         *int64          `json:"size,omitempty"`
	Present      *bool           `json:"present,omitempty"`
	Info         string          `json:"info,omitempty"`
	BuildID      string          `json:"build_id,omitempty"`
	Stage        string          `json:"stage,omitempty"`
	Text         *string         `json:"text,omitempty"`
	Path         string          `json:"path,omitempty"`
	Commit       string          `json:"commit,omitempty"`
	Outcome      verdict.Outcome `json:"outcome,omitempty"`
	Dependencies string          `json:"dependencies,omitempty"`
	Files        []string        `json:"files,omitempty"`
	Seconds      float64         `json:"seconds,omitempty"`
	Error        string          `json:"error,omitempty"`
	ExitCode     *int            `json:"exit_code,omitempty"`
}

// printer shows what happens, to people or, if json is set, to programs. It is
// an io.Writer for the build log. It is not safe for concurrent use.
type printer struct {
	stdout, stderr io.Writer
	json           bool
	// terminal says that stdout is one: the log is coloured and made harmless,
	// and a progress line stands below it.
	terminal, color bool
	now             func() time.Time

	line     []byte // of the log, not complete yet
	midLine  bool   // the log, as it was printed, ends within a line
	progress progress
}

// progress is what the line below the log of a build says.
type progress struct {
	started, stageStarted time.Time
	stage                 string
	stages                int
	shown                 bool
}

// newPrinter finds out what it prints to.
func newPrinter(stdout, stderr io.Writer) *printer {
	terminal := isTerminal(stdout)
	noColor := os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
	return &printer{stdout: stdout, stderr: stderr, terminal: terminal, color: terminal && !noColor, now: time.Now}
}

// isTerminal tells whether a person looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// emit prints an event, for programs only. Nobody can be told that standard
// output is gone.
func (p *printer) emit(e event) {
	if p.json {
		p.object(e)
	}
}

// object prints any value as one line of JSON.
func (p *printer) object(v any) {
	_ = json.NewEncoder(p.stdout).Encode(v)
}

// say prints a message for people.
func (p *printer) say(format string, args ...any) {
	if p.json {
		return
	}
	p.clearProgress()
	_, _ = fmt.Fprintf(p.stderr, format+"\n", args...)
}

// warn tells everyone of something that may be a mistake.
func (p *printer) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.emit(event{Event: "warning", Text: &text})
	p.say("lpbuild: warning: %s", text)
}

// result prints what a person asked for.
func (p *printer) result(format string, args ...any) {
	if p.json {
		return
	}
	p.clearProgress()
	_, _ = fmt.Fprintf(p.stdout, format+"\n", args...)
}

// failed prints why the command failed, to everyone.
func (p *printer) failed(text string, code int) {
	p.emit(event{Event: "error", Error: text, ExitCode: &code})
	p.clearProgress()
	_, _ = fmt.Fprintln(p.stderr, "lpbuild:", text)
}

// clearProgress removes the line, so that something else can be printed.
func (p *printer) clearProgress() {
	if p.progress.shown {
		_, _ = fmt.Fprint(p.stdout, "\r\x1b[K")
		p.progress.shown = false
	}
}

// longestLine is where a line of the log is cut in two.
const longestLine = 64 << 10

// Write prints the complete lines of a log and keeps the rest.
func (p *printer) Write(data []byte) (int, error) {
	if !p.json && !p.terminal {
		p.midLine = !bytes.HasSuffix(data, []byte("\n")) && (p.midLine || len(data) > 0)
		return p.stdout.Write(data)
	}
	rest := string(data)
	for {
		line, after, complete := strings.Cut(rest, "\n")
		p.line = append(p.line, line...)
		if !complete && len(p.line) < longestLine {
			return len(data), nil
		}
		if err := p.logLine(); err != nil {
			return 0, err
		}
		rest = after
	}
}

// flushLog ends the last line of the log.
func (p *printer) flushLog() error {
	if p.midLine {
		p.midLine = false
		_, err := fmt.Fprintln(p.stdout)
		return err
	}
	if len(p.line) == 0 {
		return nil
	}
	return p.logLine()
}

// logLine prints one line of the log.
func (p *printer) logLine() error {
	line := strings.ToValidUTF8(string(p.line), "\uFFFD")
	p.line = p.line[:0]
	if p.json {
		p.emit(event{Event: "log", Text: &line})
		return nil
	}
	p.clearProgress()
	_, err := fmt.Fprintln(p.stdout, p.paint(line))
	return err
}

// paint makes a line of the log harmless, and colours what structures it.
func (p *printer) paint(line string) string {
	line = harmless(line)
	switch {
	case !p.color:
		return line
	case strings.HasPrefix(line, "RUN: "):
		return "\x1b[1;36m" + line + "\x1b[0m"
	case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
		return "\x1b[2m" + line + "\x1b[0m"
	case strings.HasPrefix(line, "E: "), strings.Contains(line, "error: "):
		return "\x1b[31m" + line + "\x1b[0m"
	}
	return line
}

// harmless removes what a terminal would obey, save tabs.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r < ' ', r >= 0x7f && r < 0xa0:
			return -1
		}
		return r
	}, text)
}

// printable is untrusted text as one line for people.
func printable(text string) string {
	return harmless(strings.Join(strings.Fields(text), " "))
}
