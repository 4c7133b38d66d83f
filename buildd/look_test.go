package buildd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/state"
)

// TestASupervisorIsGoneOnlyIfThatIsCertain: whoever is taken for dead is killed.
func TestASupervisorIsGoneOnlyIfThatIsCertain(t *testing.T) {
	boot, err := state.BootID()
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	text := string(stat)
	start := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])[19]
	record := func(pid int, start, boot string) string {
		return fmt.Sprintf(`{"pid":%d,"start":%q,"boot":%q}`, pid, start, boot)
	}
	for name, tt := range map[string]struct {
		record string
		gone   bool
	}{
		"one that lives":                 {record(os.Getpid(), start, boot), false},
		"another one of that number":     {record(os.Getpid(), start+"0", boot), true},
		"one from before the last boot":  {record(os.Getpid(), start, "0b00"), true},
		"a number that nobody has":       {record(1<<30, start, boot), true},
		"no record":                      {"", false},
		"a record that cannot be read":   {"\x00\x00", false},
		"a record without a process":     {"{}", false},
		"a record of the wrong type":     {"[]", false},
		"a record of a process number 1": {record(1, start, boot), false},
	} {
		dir := t.TempDir()
		if tt.record != "" {
			if err := os.WriteFile(state.Build(dir).Supervisor(), []byte(tt.record), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := supervisorGone(dir); got != tt.gone {
			t.Errorf("%s: got %v", name, got)
		}
		if tt.record == "" {
			continue
		}
		path := state.Build(dir).Accepted()
		for _, later := range []time.Duration{-time.Hour, time.Hour} {
			times := time.Now().Add(later)
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, times, times)); err != nil {
				t.Fatal(err)
			}
			if got, want := supervisorGone(dir), tt.gone && later < 0; got != want {
				t.Errorf("%s, in a build accepted %v later: got %v", name, later, got)
			}
		}
	}
}
