//go:build integration

package chroot_test

import (
	"os"
	"testing"

	"lpbuildd/backends/chroot"
)

func TestTryOverlayLeavesNothing(t *testing.T) {
	disk := t.TempDir()
	mountTmpfs(t, disk, "size=16M")
	for _, name := range []string{"/lower", "/upper"} {
		check(t, os.Mkdir(disk+name, 0o700))
	}
	check(t, chroot.TryOverlay(t.Context(), disk+"/lower", disk+"/upper"))
	for lower, upper := range map[string]string{disk + "/none": disk + "/upper", disk + "/lower": disk + "/none"} {
		if err := chroot.TryOverlay(t.Context(), lower, upper); err == nil {
			t.Errorf("%s on %s works", upper, lower)
		}
	}
	// Neither folders nor mounts.
	for _, name := range []string{"/lower", "/upper"} {
		check(t, os.Remove(disk+name))
	}
}
