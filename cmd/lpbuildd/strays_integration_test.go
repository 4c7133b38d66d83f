//go:build integration

package main_test

import (
	"strings"
	"testing"
)

// TestOutputHeldOpen: what a package, or a dependency, leaves running keeps no
// build from its end, and is named.
func TestOutputHeldOpen(t *testing.T) {
	const stray = "setsid sleep 1234567 </dev/null &"
	for _, test := range []struct{ name, rules, postinst, outcome, says string }{
		{"by a package that is done", stray, "", "OK", "The package was done, but process "},
		{"by one that goes on saying something", `sh -c "while :; do echo more; sleep 1234567 & sleep 1; done" &`, "", "OK", "The package was done, but process "},
		{"by a package that fails", stray + " exit 3", "", "PACKAGEFAIL", "A command in the target was done, but process "},
		{"by a service of a dependency", "", stray, "OK", "A command in the target was done, but process "},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBuilder(t, options{user: "buildd"})
			w := b.realPackage(b.baseImage(), test.rules).with(b.archive(test.postinst))
			_, log := b.run("held", w, test.outcome)
			if n := strings.Count(log, test.says); n < 2 || !strings.Contains(log, "sleep 1234567) was left behind") {
				t.Errorf("the log and its summary have %d times %q:\n%s", n, test.says, log)
			}
			b.clean()
		})
	}
}
