package fake

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"lpbuildd/backends"
)

// Transcript renders everything that was asked of the target, in order: one
// line per step, command or copy, details indented below it. Questions that
// the target answers by itself (test, find) are left out: they are no changes.
func (t *Target) Transcript() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, line := range t.lines {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Commands returns the recorded commands as Quote writes them, without
// directories and environments.
func (t *Target) Commands() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, line := range t.lines {
		if cmd, ok := strings.CutPrefix(line, "run "); ok {
			out = append(out, cmd)
		}
	}
	return out
}

// recordCommand notes a command with its directory, environment and input.
func (t *Target) recordCommand(cmd backends.Command) error {
	var details []string
	if cmd.Dir != "" {
		details = append(details, "dir "+path.Clean(cmd.Dir))
	}
	for _, kv := range cmd.Env {
		details = append(details, "env "+kv)
	}
	if cmd.Stdin != nil {
		data, err := io.ReadAll(cmd.Stdin)
		if err != nil {
			return err
		}
		details = append(details, "stdin")
		details = append(details, text(string(data))...)
	}
	if len(cmd.Argv) == 0 {
		return fmt.Errorf("cannot run an empty command")
	}
	if !isQuestion(cmd.Argv) {
		t.record("run "+backends.Quote(cmd.Argv...), details)
	}
	return nil
}

func isQuestion(argv []string) bool {
	return argv[0] == "test" || argv[0] == "find"
}

func (t *Target) record(line string, details []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	for _, d := range details {
		t.lines = append(t.lines, "  "+d)
	}
}

// text shows content line by line, and what is no text by size and digest.
func text(data string) []string {
	if !utf8.ValidString(data) || strings.Contains(data, "\x00") {
		return []string{fmt.Sprintf("%d bytes, sha256 %x", len(data), sha256.Sum256([]byte(data)))}
	}
	if data == "" {
		return []string{"(empty)"}
	}
	lines := strings.Split(strings.TrimSuffix(data, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight("| "+line, " ")
	}
	if !strings.HasSuffix(data, "\n") {
		lines = append(lines, "(no newline at the end)")
	}
	return lines
}
