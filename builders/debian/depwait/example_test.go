package depwait_test

import (
	"fmt"
	"strings"

	"lpbuildd/builders/debian/depwait"
)

// every is for packages that are built for one architecture.
type every struct{}

func (every) Matches(arch, wildcard string) bool { return wildcard == arch || wildcard == "any" }

// Example tells which build dependencies an archive does not have.
func Example() {
	const dsc = `Source: hello
Build-Depends: debhelper (>= 13), libfoo-dev (>= 2.1) [any], gettext <!nocheck>,
 only-on-sparc [sparc]
`
	const packages = `Package: debhelper
Version: 13.24

Package: libfoo-dev
Version: 2.0-1
`
	var available depwait.Available
	if err := available.Read(strings.NewReader(packages)); err != nil {
		fmt.Println(err)
		return
	}
	wait, err := depwait.Unsatisfied(strings.NewReader(dsc), &available, "amd64", false, every{})
	fmt.Println(wait, err)
	// Output:
	// libfoo-dev (>= 2.1), gettext <nil>
}
