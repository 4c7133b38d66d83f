package apt

import (
	"io"
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

// What apt says of errors of the machine, whichever, is no trouble of an archive.
func TestErrorsOfTheMachineAreTheHosts(t *testing.T) {
	for _, text := range []string{
		"No space left on device", "Disk quota exceeded", "Read-only file system", "Input/output error",
		"Too many open files", "Too many open files in system", "Cannot allocate memory",
	} {
		for _, line := range []string{
			"E: Failed to fetch http://one.test/a_1.deb  Error writing to file - write (28: " + text + ")",
			"W: Could not open file /var/lib/apt/lists/x - open (5: " + text + ")",
		} {
			w := NewWatch(io.Discard)
			if _, err := io.WriteString(w, runBegins+"\n"+line+"\n"); err != nil {
				t.Fatal(err)
			}
			if w.Fault() == nil || w.Trouble() != nil {
				t.Errorf("%s: %v, %v", line, w.Fault(), w.Trouble())
			}
		}
	}
}
