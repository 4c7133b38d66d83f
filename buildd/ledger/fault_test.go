package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestFailedWriteLeavesTheEntryOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, b := Entry{File, "/a"}, Entry{File, "/b"}
	if err := l.Add(a); err != nil {
		t.Fatal(err)
	}
	good := l.file
	if l.file, err = os.Open(path); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(good.Close(), l.Done(a)); err == nil {
		t.Error("a failed strike is not reported")
	}
	if err := l.Add(b); err == nil {
		t.Error("a failed addition is not reported")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if got, err := Read(path); err != nil || !slices.Equal(got, []Entry{a}) {
		t.Errorf("open entries %v, %v", got, err)
	}
}
