//go:build integration

package main_test

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
	w := b.realPackage(image, "true").with(map[string]any{"archives": []any{"deb [trusted=yes] " + archive + " ./"}})
	w.files = b.sourcePackage("true", "Build-Depends: "+depends+"\n")
	return w
}

// TestDependencyWaits tells what is missing from what cannot be installed together.
func TestDependencyWaits(t *testing.T) {
	b := newBuilder(t, options{})
	image := b.baseImage()
	archive := b.publish("/waits/", fakeroot(),
		library("compat", "13", "Provides: virtual-compat (= 13)\n"),
		library("one", "1", "Conflicts: other\n"), library("other", "1", ""), library("breaker", "1", "Breaks: other (<< 2)\n"))
	for _, test := range []struct{ name, depends, outcome, waitsFor string }{
		{"a version of a virtual package", "compat, virtual-compat (= 14)", "DEPFAIL", "virtual-compat (= 14)"},
		{"a conflict", "one, other, gcc", "PACKAGEFAIL", ""},
		{"a break", "other, breaker", "PACKAGEFAIL", ""},
		{"a conflict and what is missing", "one, other, absent (>= 2) | gone", "DEPFAIL", "absent (>= 2) | gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := b.within(t)
			st, log := b.run("waits", b.wanting(image, archive, test.depends), test.outcome)
			if st.Dependencies != test.waitsFor {
				t.Errorf("it waits for %q; its log:\n%s", st.Dependencies, log)
			}
			b.clean()
		})
	}
}

// TestArchiveChangesWhileItIsRead has a mirror that is in the middle of its update.
func TestArchiveChangesWhileItIsRead(t *testing.T) {
	b := newBuilder(t, options{})
	image := b.baseImage()
	archive := b.publish("/changing/", fakeroot(), library("needed", "1", ""))
	// The next update brings an index that fits.
	b.origin.then("/changing/Packages", func() { b.publish("/changing/", fakeroot(), library("needed", "2", "")) })
	w := b.wanting(image, archive, "needed")
	st, log := b.run("changes", w, "OK")
	must(t, b.verify(w, st))
	checkLog(t, log, archive+"1.deb", "Reading the package lists anew", "needed (2)")
	b.clean()

	b.origin.remove("/changing/1.deb")
	_, log = b.run("gone", w, "GIVENBACK")
	checkLog(t, log, "what the build needs cannot be fetched: an archive cannot be reached or used: "+archive+"./1.deb: 404")
	if n := strings.Count(log, "Install main build dependencies"); n != 2 {
		t.Errorf("%d attempts:\n%s", n, log)
	}
	b.clean()
}

// TestUnreachableArchive has one archive that works and one that does not.
func TestUnreachableArchive(t *testing.T) {
	b := newBuilder(t, options{})
	down := fmt.Sprintf("http://localhost:%d/updates", freePort(t))
	w := b.realPackage(b.baseImage(), "true")
	w.args["archives"] = append(w.args["archives"].([]any), "deb "+down+" bookworm-security main")
	_, log := b.run("down", w, "CHROOTFAIL")
	checkLog(t, log, "Waiting 15 seconds and trying again", "Stage:      update\n", "an archive cannot be reached or used: "+down+"/dists/")
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
