package chroot

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestStillAliveNamesWhatIsLeft(t *testing.T) {
	// All processes whose root this one shares, itself among them.
	root, err := os.Readlink("/proc/self/root")
	check(t, err)
	enough := errors.New("enough")
	err = stillAlive(root, enough)
	name, _, _ := strings.Cut(describe(os.Getpid()), " (")
	if !errors.Is(err, enough) || !strings.Contains(err.Error(), " "+name+" (") {
		t.Errorf("got %v, want %q in it", err, name)
	}
	if err := stillAlive("/no/such/root", context.Canceled); err != nil {
		t.Errorf("nothing is left: %v", err)
	}
}
