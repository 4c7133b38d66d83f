// Package selftest is run by the operator: it looks at an installed builder, builds
// a tiny package with it, and says what is wrong and what to do about it.
//
// The checks are the table in Run: each looks at one thing, changes nothing that
// stays, and goes on to the next whatever it finds. The last one is a real
// build, of a source package that is made here, with an archive that is served
// here, so that nothing outside of this machine is needed.
package selftest

import (
	"context"
	"os/user"
	"strconv"
	"time"

	"lpbuildd/backends"
)

// check is one row of the table of checks.
type check struct {
	name string
	run  func(*tester, context.Context) Finding
}

// checks is the table.
func checks() []check {
	return []check{
		{"build user", (*tester).buildUser},
		{"home folder", (*tester).homeFolder},
		{"helpers", (*tester).helpers},
		{"sbuild", (*tester).sbuild},
		{"shipped files", (*tester).shippedFiles},
		{"disk", (*tester).disk},
		{"clock", (*tester).clock},
		{"overlay", (*tester).overlay},
		{"container engine", (*tester).engine},
		{"container network", (*tester).network},
		{"daemon", (*tester).daemon},
		{"build", (*tester).build},
	}
}

// Run makes all checks and calls report with each finding as soon as it is there.
// It is false when one of them failed.
func Run(ctx context.Context, b Builder, report func(Finding)) bool {
	t := &tester{Builder: b, now: time.Now}
	t.owner = hostOf(b.Owner)
	sound := true
	for _, c := range checks() {
		f := c.run(t, ctx)
		if ctx.Err() != nil {
			f = failed("interrupted", "Run it again.")
		}
		f.Name = c.name
		report(f)
		sound = sound && f.Result != Failed
		if ctx.Err() != nil {
			return false
		}
	}
	return sound
}

// hostOf runs commands as a user.
func hostOf(u *user.User) backends.Host {
	h := backends.Host{Home: u.HomeDir, User: u.Username}
	groups, _ := u.GroupIds() // whoever has none misses them in other checks
	ids := make([]uint32, 0, len(groups)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, _ := strconv.ParseUint(text, 10, 32) // ids of Linux are numbers
		ids = append(ids, uint32(id))
	}
	h.UID, h.GID, h.Groups = ids[0], ids[1], ids[2:]
	return h
}
