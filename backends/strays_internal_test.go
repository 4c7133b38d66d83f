package backends

import (
	"strings"
	"testing"
)

// TestACommandIsCutBetweenItsWords, so that what knows secrets finds those that
// are there.
func TestACommandIsCutBetweenItsWords(t *testing.T) {
	zeros := strings.Repeat("0", 94)
	for line, want := range map[string]string{
		"":                                "",
		"sleep 1":                         "sleep 1",
		"sleep " + zeros:                  "sleep " + zeros,
		"sleep " + zeros + "0":            "sleep ...",
		"sleep " + zeros + " secret":      "sleep " + zeros + " ...",
		"sleep 1 " + zeros[:60] + zeros:   "sleep 1 ...",
		strings.Repeat("x", 1000) + " 1":  "",
		strings.Repeat("x", maxCommand+1): "",
	} {
		if got := fewWords(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
