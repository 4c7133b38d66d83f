package build

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/namespace"
)

// maxStrays is how many lines the summary has of what was left behind.
const maxStrays = 5

// stray notes that a process held the output of a command that was done.
func (b *build) stray(s backends.Stray) {
	line := fmt.Sprintf("%s was done, but %s held its output open", s.Argv[0], s.Held)
	if s.Inner {
		line = fmt.Sprintf("%s was done, but %s held its output open and had to be killed", b.innerCommand(), s.Held)
	}
	b.say("%s", line)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.strays) < maxStrays && !slices.Contains(b.strays, line) {
		b.strays = append(b.strays, line)
	}
}

// packageDone is what dpkg-buildpackage says last when it has succeeded.
var packageDone = regexp.MustCompile(`(?m)^dpkg-buildpackage: info: .*upload`)

// innerCommand is what sbuild ran in the target, as far as the log tells.
func (b *build) innerCommand() string {
	if tail, err := b.log.Tail(64 << 10); err == nil && packageDone.Match(tail) {
		return "The package"
	}
	return "A command in the target"
}

// maxRunning is how many processes a message names.
const maxRunning = 10

// running names what runs in the namespace of the build; "" if nothing does.
func running() string {
	if namespace.Inside() != nil {
		return ""
	}
	alive, err := namespace.Survivors()
	if err != nil || len(alive) == 0 {
		return ""
	}
	if more := len(alive) - maxRunning; more > 0 {
		alive = append(alive[:maxRunning], fmt.Sprintf("%d more", more))
	}
	return strings.Join(alive, ", ")
}
