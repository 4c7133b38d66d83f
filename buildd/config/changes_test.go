package config

import (
	"slices"
	"strings"
	"testing"
)

func TestChangesOfWhatIsInEffect(t *testing.T) {
	list := func(pairs ...string) (out []Origin) {
		for _, p := range pairs {
			key, value, _ := strings.Cut(p, "=")
			out = append(out, Origin{Key: key, Value: value})
		}
		return append(out, Origin{Key: "x.y", Value: pairs[0], Warning: "unknown key"})
	}
	before := list("builder.bindport=1", "limits.wall=0", "log.level=info")
	after := list("builder.bindport=2", "limits.wall=1h", "log.level=info")
	got := Compare(before, after)
	if !slices.Equal(got.Now, []string{"limits.wall"}) || !slices.Equal(got.Restart, []string{"builder.bindport"}) {
		t.Errorf("got %v and %v", got.Now, got.Restart)
	}
	if want := append([]Origin{before[0]}, after[1:]...); !slices.Equal(got.InEffect, want) {
		t.Errorf("in effect are %v", got.InEffect)
	}
	if after[0].Value != "2" {
		t.Error("the list of the caller was changed")
	}
}

func TestRestartKeysExist(t *testing.T) {
	for _, key := range restartKeys() {
		if !isSetting(key) {
			t.Errorf("there is no key %s", key)
		}
	}
}
