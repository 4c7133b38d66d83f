//go:build integration

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"lpbuildd/backends/backendtest"
)

// library is a package with nothing but fields.
func library(name, version, more string) binary {
	return binary{"Package: " + name + "\nVersion: " + version + "\n" + more, nil}
}

// wanting is the build of a package with build dependencies, from one archive.
func (b *builder) wanting(image, archive, depends string) work {
	b.t.Helper()
	w := b.realPackageWith(image, "true", "Build-Depends: "+depends)
	return w.with(map[string]any{"archives": []any{"deb [trusted=yes] " + archive + " ./"}})
}

// TestApt has real builds, of one base image, that apt cannot help.
func TestApt(t *testing.T) {
	b := newBuilder(t, options{})
	image := b.baseImage()
	t.Run("dependency waits", func(t *testing.T) { b.within(t).waitsForDependencies(image) })
	t.Run("an archive that changes while it is read", func(t *testing.T) { b.within(t).bearsAChange(image) })
	t.Run("one of two archives is down", func(t *testing.T) { b.within(t).needsEveryArchive(image) })
}

// waitsForDependencies tells what is missing from what cannot be installed
// together.
func (b *builder) waitsForDependencies(image string) {
	archive := b.publish("/waits/", fakeroot(""),
		library("compat", "13", "Provides: virtual-compat (= 13)\n"),
		library("one", "1", "Conflicts: other\n"), library("other", "1", ""), library("breaker", "1", "Breaks: other (<< 2)\n"))
	for _, test := range []struct{ depends, outcome, waitsFor string }{
		{"compat, virtual-compat (= 14)", "DEPFAIL", "virtual-compat (= 14)"},
		{"one, other, gcc", "PACKAGEFAIL", ""},
		{"other, breaker", "PACKAGEFAIL", ""},
		{"one, other, absent (>= 2) | gone", "DEPFAIL", "absent (>= 2) | gone"},
	} {
		st, log := b.run("waits", b.wanting(image, archive, test.depends), test.outcome)
		if st.Dependencies != test.waitsFor {
			b.t.Errorf("with %s it waits for %q; its log:\n%s", test.depends, st.Dependencies, log)
		}
		b.clean()
	}
}

// bearsAChange has a mirror that is in the middle of its update, and then one that
// has lost a file.
func (b *builder) bearsAChange(image string) {
	archive := b.publish("/changing/", fakeroot(""), library("needed", "1", ""))
	// The next update brings an index that fits.
	b.origin.then("/changing/Packages", func() { b.publish("/changing/", fakeroot(""), library("needed", "1.1", "")) })
	w := b.wanting(image, archive, "needed")
	st, log := b.run("changes", w, "OK")
	must(b.t, b.verify(w, st))
	checkLog(b.t, log, "an archive cannot be reached or used: "+archive+"./", "Reading the package lists anew", "Setting up needed (1.1)")
	b.clean()

	b.origin.remove("/changing/1.deb")
	_, log = b.run("gone", w, "GIVENBACK")
	checkLog(b.t, log, "what the build needs cannot be fetched: an archive cannot be reached or used: "+archive+"./1.deb: 404")
	if n := strings.Count(log, "Install main build dependencies"); n != 2 {
		b.t.Errorf("%d attempts:\n%s", n, log)
	}
	b.clean()
}

// needsEveryArchive has one archive that works and one that does not, which apt
// only warns of.
func (b *builder) needsEveryArchive(image string) {
	down := fmt.Sprintf("http://localhost:%d/updates", freePort(b.t))
	w := b.realPackage(image, "true")
	w.args["archives"] = append(w.args["archives"].([]any), "deb "+down+" bookworm-security main")
	_, log := b.run("down", w, "CHROOTFAIL")
	checkLog(b.t, log, "Waiting 15 seconds and trying again", "  Stage:      update\n",
		"an archive cannot be reached or used: "+down+"/dists/")
	b.clean()
}

// TestSourcesOfTheImage has package sources in the base image that the request
// does not name.
func TestSourcesOfTheImage(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	sources := "Types: deb\nURIs: http://image.invalid/\nSuites: s\nComponents: main\n"
	image := b.putFile(backendtest.MiniImage(t,
		backendtest.Entry{Name: "etc/apt", Dir: true},
		backendtest.Entry{Name: "etc/apt/apt.conf.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/preferences.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/sources.list", Data: "deb http://image.invalid/ s main\n", Mode: 0o644},
		backendtest.Entry{Name: "srv/sources/debian.sources", Data: sources, Mode: 0o644},
		backendtest.Entry{Name: "srv/sources/more.list", Data: "deb http://image.invalid/ s main\n", Mode: 0o644},
		backendtest.Entry{Name: "srv/sources/more.list.save", Data: "deb http://image.invalid/ s main\n", Mode: 0o644},
		backendtest.Entry{Name: "etc/apt/sources.list.d", Link: "../../srv/sources"},
		backendtest.Entry{Name: "usr/bin/apt-get", Data: "#!/bin/sh\necho sources: $(cd /etc/apt; ls sources.list sources.list.d/*)\n"},
	))
	for series, want := range map[string]string{
		"bookworm": "sources: sources.list.d/lp-buildd.sources sources.list.d/more.list.save\n",
		"jammy":    "sources: sources.list sources.list.d/more.list.save\n",
	} {
		w := b.cheap(image, "true").with(map[string]any{"series": series})
		_, log := b.run("sources-"+series, w, "PACKAGEFAIL") // it makes nothing
		checkLog(t, log, want, "Removing the package sources of the base image: /etc/apt/sources.list "+
			"/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/more.list\n")
		b.clean()
	}
}
