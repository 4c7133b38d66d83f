//go:build integration

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestResultsOfAQuietBuild: what the build left running is ended, and named,
// before it can change a result any more.
func TestResultsOfAQuietBuild(t *testing.T) {
	b := newBuilder(t, options{user: "buildd"})
	b.useStandIn()
	script := deliver(t, map[string]string{"grows.deb": "x"}) + "setsid sh -c 'while :; do echo more >>grows.deb; done' >/dev/null 2>&1 &\n"
	st, log := b.run("quiet", b.cheap(b.cheapImage(1<<20), script), "OK")
	if st.FileMap["grows.deb"] == "" || !strings.Contains(log, "Ended what the build had left running before its results are gathered: ") {
		t.Errorf("the results are %v, the log is\n%s", st.FileMap, log)
	}
	b.clean()
}

// TestManyResults are stored, told of and cleaned away.
func TestManyResults(t *testing.T) {
	const count = 5000
	b := newBuilder(t, options{user: "buildd"})
	b.useStandIn()
	script := fmt.Sprintf("(echo 'Files:'; seq -f ' 0 0 misc optional file%%.0f' %[1]d) >%[2]s; for i in $(seq %[1]d); do echo $i >file$i; done\n", count, changes(t))
	st, _ := b.run("many", b.cheap(b.cheapImage(1<<20), script), "OK")
	if len(st.FileMap) != count+1 || st.FileMap["file77"] != sha1Of([]byte("77\n")) {
		t.Errorf("there are %d results", len(st.FileMap))
	}
	b.clean()
}

// TestOutputHeldOpen: what a package, or a dependency, leaves running keeps no
// build from its end, and is named.
func TestOutputHeldOpen(t *testing.T) {
	const stray = "setsid sleep 1234567 </dev/null &"
	// What needs no kill for the build to go on is ended before gathering.
	for _, test := range []struct{ name, rules, postinst, outcome, says string }{
		{"by a package that is done", stray, "", "OK", "The package was done, but process "},
		{"by one that goes on saying something", `sh -c "while :; do echo more; sleep 1234567 & sleep 1; done" &`, "", "OK", "The package was done, but process "},
		{"by a package that fails", stray + " exit 3", "", "PACKAGEFAIL", "A command in the target was done, but process "},
		{"by a service of a dependency", "", stray, "OK", "Ended what the build had left running before its results are gathered: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBuilder(t, options{user: "buildd"})
			w := b.realPackage(b.baseImage(), test.rules).with(b.archive(test.postinst))
			_, log := b.run("held", w, test.outcome)
			_, summary, _ := strings.Cut(log, "\nBuild summary\n")
			held := strings.Contains(test.says, "was done")
			if !strings.Contains(log, test.says) || held != strings.Contains(summary, test.says) || held != strings.Contains(summary, "(sleep 1234567)") {
				t.Errorf("the log and its summary do not have %q:\n%s", test.says, log)
			}
			b.clean()
		})
	}
}
