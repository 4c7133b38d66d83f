package buildlog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/buildlog"
)

// statusTail asks a Tailer once.
func statusTail(path string, private bool) []byte {
	t := buildlog.NewTailer(path, private)
	defer t.Close()
	return t.Tail()
}

func TestPublicTailIsTheLast2048Bytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "buildlog")
	log := strings.Repeat("abcdefghijklmno\n", 256)
	for size, want := range map[int]int{0: 0, 1: 1, 2048: 2048, 2049: 2048, 4096: 2048} {
		if err := os.WriteFile(path, []byte(log[:size]), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := string(statusTail(path, false)); got != log[size-want:size] {
			t.Errorf("of %d bytes: got %d bytes, want the last %d", size, len(got), want)
		}
	}
}

func TestPrivateTail(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"nothing", "", ""},
		{"one line", "one\n", ""},
		{"one line that goes on", "one", ""},
		{"two lines", "one\ntwo\n", "two"},
		{"two lines, the second goes on", "one\ntwo", "two"},
		{"empty lines", "\n\n\ntwo\n\n", "\n\ntwo\n"},
		{"all kinds of line ends", "1\r\n2\r3\n4\r\r\n5", "2\n3\n4\n\n5"},
		{"bytes that are no text", "x\n\xff\x00\x1b\xe9", "\xff\x00\x1b\xe9"},
		{"a long line", "x\n" + strings.Repeat("y", 2048), ""},
		{"a line that is cut", strings.Repeat("y", 2048) + "\nx\n", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "buildlog")
			if err := os.WriteFile(path, []byte(c.log), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := string(statusTail(path, true)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTailerFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "buildlog")
	tailer := buildlog.NewTailer(path, false)
	defer tailer.Close()
	expect := func(when, want string) {
		t.Helper()
		for range 2 {
			if got := tailer.Tail(); got == nil || string(got) != want {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
	}
	expect("before there is a log", "")
	l := create(t, buildlog.Options{Path: path})
	expect("of an empty log", "")
	write(t, l, "one\n")
	before := tailer.Tail()
	expect("after a line", "one\n")
	write(t, l, "two\n")
	expect("after two", "one\ntwo\n")
	if string(before) != "one\n" {
		t.Errorf("an earlier answer became %q", before)
	}
	write(t, create(t, buildlog.Options{Path: path}), "ENO\nOWT\n")
	expect("of a new log of the same size", "ENO\nOWT\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("of a removed log", "")
	if err := os.WriteFile(path, []byte("back"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("of one that is back", "back")
	tailer.Close()
	expect("after Close", "back")
}

func TestTailIsEmptyWithoutAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	for _, private := range []bool{false, true} {
		if got := statusTail(path, private); got == nil || len(got) != 0 {
			t.Errorf("got %q", got)
		}
	}
	if got := statusTail(t.TempDir(), true); got == nil || len(got) != 0 {
		t.Errorf("of a folder: got %q", got)
	}
}

func TestPollingATailDoesNotAllocate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "buildlog")
	if err := os.WriteFile(path, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tailer := buildlog.NewTailer(path, true)
	defer tailer.Close()
	if allocs := testing.AllocsPerRun(100, func() { _ = tailer.Tail() }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
