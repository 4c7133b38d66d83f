package helper_test

import (
	"slices"
	"testing"

	"lpbuildd/buildd/helper"
)

// With the helper service the daemon needs no sudo.
func TestDaemonAsksTheHelperWhereThereIsOne(t *testing.T) {
	if got := helper.AsRoot("/x", 0); !slices.Equal(got, []string{"/x"}) {
		t.Errorf("as root: got %q", got)
	}
	for socket, want := range map[string][]string{"": {"sudo", "-n", "/x"}, "/run/lpbuildd/helper": {"/x", "ask-helper"}} {
		t.Setenv(helper.Variable, socket)
		if got := helper.AsRoot("/x", 2001); !slices.Equal(got, want) {
			t.Errorf("with %s=%q: got %q", helper.Variable, socket, got)
		}
	}
}

func TestSocketOfTheEnvironment(t *testing.T) {
	t.Setenv(helper.Variable, "/of/the/unit")
	if got := helper.Socket(); got != "/of/the/unit" {
		t.Errorf("got %q", got)
	}
}
