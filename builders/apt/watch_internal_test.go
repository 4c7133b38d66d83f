package apt

import (
	"strings"
	"testing"
)

// TestAptWatchPassesOnWhatItReads holds for any way to cut the output.
func TestAptWatchPassesOnWhatItReads(t *testing.T) {
	text := "Reading package lists...\r\n" + strings.Repeat("x", 3*maxLine) + "E: Failed to fetch http://no.test/ no\n\n" +
		"W: Failed to fetch http://one.test/a_1.deb  Hash Sum mismatch\r\n   Hashes of expected file:\n" +
		"E: Failed to fetch http://two.test/b_1.deb  404  Not Found\nthe end"
	for _, size := range []int{1, 2, 7, 64, maxLine, len(text)} {
		var out strings.Builder
		w := &Watch{dst: &out}
		for rest := text; rest != ""; {
			n, err := w.Write([]byte(rest[:min(size, len(rest))]))
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if out.String() != text {
			t.Errorf("in pieces of %d bytes it passes on %q", size, out.String())
		}
		if w.trouble == nil || w.trouble.file != "http://one.test/a_1.deb" || w.trouble.reason != "Hash Sum mismatch" {
			t.Errorf("in pieces of %d bytes it finds %v", size, w.trouble)
		}
		if len(w.line) > maxLine || cap(w.line) > 2*maxLine {
			t.Errorf("it holds %d bytes", cap(w.line))
		}
	}
}
