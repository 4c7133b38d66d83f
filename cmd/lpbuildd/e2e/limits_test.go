//go:build integration

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	image := b.cheapImage(1 << 20)
	for _, test := range []struct{ name, config, suite, script, outcome, cause string }{
		{"wall clock", "wall = %ds", "none", "while :; do echo busy; sleep 0.1; done", "PACKAGEFAIL", "[limits] wall"},
		{"wall clock before the package", "wall = %ds", "nap3600", "true", "CHROOTFAIL", "[limits] wall"},
		{"silence", "silence = %ds", "none", "echo hush; sleep 3600", "PACKAGEFAIL", "[limits] silence"},
		{
			"processes", "processes = 200", "none",
			"i=0; while [ $i -lt 400 ]; do sleep 300 & i=$((i+1)); done", "PACKAGEFAIL", "[limits] processes = 200",
		},
		{"results", "results = 1G", "none", deliver(t, map[string]string{"big.deb": ""}) + "truncate -s 1T big.deb", "PACKAGEFAIL", "[limits] results"},
		{"log", "log = 64K", "none", "while :; do echo and so on; done", "PACKAGEFAIL", "[limits] log"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := b.within(t)
			w := b.cheap(image, test.script+"\n").suite(test.suite)
			log := b.limited(w, test.config, test.outcome)
			if left := b.workers(); len(left) > 0 {
				t.Errorf("there are processes left: %v", left)
			}
			checkLog(t, log, "Build summary\n", test.cause)
			if len(log) > 80<<10 {
				t.Errorf("the log has %d bytes", len(log))
			}
			b.clean()
		})
	}
}

// limited does work with a limit, which has a number of seconds in it or none, and
// returns the log. On a busy machine, a limit that is short may end the build
// before the work has begun, and then it is tried with a longer one.
func (b *builder) limited(w work, limit, outcome string) string {
	b.t.Helper()
	for seconds := 3; ; seconds *= 4 {
		config := limit
		if strings.Contains(limit, "%d") {
			config = fmt.Sprintf(limit, seconds)
		}
		b.configure("[limits]\n" + config + "\n")
		b.restart()
		b.build("limited", w)
		if st := b.settled(); string(st.Outcome) == outcome || config == limit || seconds > 300 {
			b.finish(outcome)
			return b.log()
		}
		b.clean()
	}
}

// TestFullDisk fills disks, which is never the package's or the image's fault.
func TestFullDisk(t *testing.T) {
	const small = 40 << 20
	fill := "dd if=/dev/zero of=filled bs=64k; echo; exit 2\n"
	// What could not be made is gone again before the build ends.
	litter := "i=0; while touch litter$i; do i=$((i+1)); done; rm -f litter*; exit 2\n"
	for _, test := range []struct {
		name string
		options
		suite, script string
	}{
		{"HOME in the build", options{homeBytes: small}, "none", fill},
		{"HOME by the image", options{homeBytes: small}, "fill", "true\n"},
		{"HOME by unpacking", options{homeBytes: 4 << 20, config: "[chroot]\noverlay = never\n"}, "none", "true\n"},
		{"an upper layer in memory", options{config: "[chroot]\ntmpfs = 40M\n"}, "fill", "true\n"},
		{"the cache by the results", options{cacheBytes: 60 << 20}, "none", deliver(t, map[string]string{"big.deb": ""}) + "truncate -s 100M big.deb\n"},
		{"the cache by the log", options{cacheBytes: 60 << 20}, "none", "while :; do head -c 100000 /dev/zero | tr '\\0' x; echo; done\n"},
		{"the cache by unpacking", options{cacheBytes: 8 << 20}, "none", "true\n"},
		{"the inodes of HOME in the build", options{homeBytes: small, inodes: 400}, "none", litter},
		{"the inodes of HOME by the image", options{homeBytes: small, inodes: 400}, "litter", "true\n"},
		{"the inodes of HOME by unpacking", options{homeBytes: small, inodes: 8, config: "[chroot]\noverlay = never\n"}, "none", "true\n"},
		{"the inodes of the cache by unpacking", options{cacheBytes: 60 << 20, inodes: 40}, "none", "true\n"},
		{"the inodes of everything in the build", options{diskBytes: 60 << 20, inodes: 1000}, "none", litter},
		{"everything in the build", options{diskBytes: 60 << 20}, "none", fill},
		{"everything by the image", options{diskBytes: 60 << 20}, "fill", "true\n"},
		{"everything by the log", options{diskBytes: 60 << 20}, "none", "while :; do head -c 100000 /dev/zero | tr '\\0' x; echo; done\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config += "\n[cache]\nminfree = 0\n"
			b := newBuilder(t, test.options)
			b.useStandIn()
			_, log := b.run("full", b.cheap(b.cheapImage(1<<20), test.script).suite(test.suite), "BUILDERFAIL")
			checkLog(t, log, "Build summary\n", "Result:     BUILDERFAIL\n", "What to do:")
			b.clean()
		})
	}
}
