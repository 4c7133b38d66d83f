package state_test

import (
	"testing"

	"lpbuildd/buildd/state"
)

// TestPaths: a new version finds what the last one has left.
func TestPaths(t *testing.T) {
	f := state.Folder("/cache/.lpbuildd")
	b := f.Build()
	for got, want := range map[string]string{
		f.Path(): "/cache/.lpbuildd", f.Cache(): "/cache", f.Log(): "/cache/buildlog",
		f.Journal(): "/cache/.lpbuildd/journal.json", f.Drain(): "/cache/.lpbuildd/drained.json",
		f.Roots(): "/cache/.lpbuildd/roots", f.Trash(): "/cache/.lpbuildd/trash", f.Kept(): "/cache/.lpbuildd/kept",
		b.Path(): "/cache/.lpbuildd/build", b.Socket(): "/cache/.lpbuildd/build/socket",
		b.Ledger(): "/cache/.lpbuildd/build/ledger", b.Outcome(): "/cache/.lpbuildd/build/outcome.json",
		b.Supervisor(): "/cache/.lpbuildd/build/supervisor.json", b.Accepted(): "/cache/.lpbuildd/build/accepted.json",
		b.Builder(): "/cache/.lpbuildd/build/builder.json", b.Limits(): "/cache/.lpbuildd/build/limits.json",
		b.Container(): "/cache/.lpbuildd/build/container.json", b.Results(): "/cache/.lpbuildd/build/results",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if b.State() != f {
		t.Errorf("the folder of a build is in %s", b.State())
	}
}
