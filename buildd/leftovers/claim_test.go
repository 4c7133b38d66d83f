package leftovers

import (
	"errors"
	"testing"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
)

func TestWhatAProcessOfTheBuildHoldsIsNotAnotherBuilders(t *testing.T) {
	for name, c := range map[string]struct {
		marked      bool
		taken, fail bool
	}{
		"with the mark of this builder": {marked: true, fail: true},
		"without":                       {taken: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, home := state.Build(t.TempDir()), t.TempDir()
			l, err := ledger.Open(dir.Ledger())
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(l.Add(ledger.Entry{Kind: ledger.Directory, Name: home}), l.Close()); err != nil {
				t.Fatal(err)
			}
			if c.marked {
				if err := Mark(home, dir); err != nil {
					t.Fatal(err)
				}
			}
			holder, err := Claim(home)
			if err != nil {
				t.Fatal(err)
			}
			taken, err := takenOver(dir)
			if taken != c.taken || (err != nil) != c.fail {
				t.Errorf("got %v, %v", taken, err)
			}
			if err := holder.Close(); err != nil {
				t.Fatal(err)
			}
			if taken, err = takenOver(dir); taken || err != nil {
				t.Errorf("when nobody holds it: %v, %v", taken, err)
			}
		})
	}
}
