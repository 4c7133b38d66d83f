package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestInstalledVersion(t *testing.T) {
	// What dpkg-query says of either package; "" is a package it does not know.
	for name, c := range map[string]struct{ lpbuildd, predecessor, want string }{
		"no package":                      {"", "", ""},
		"installed":                       {"installed 1.2", "", "1.2"},
		"started by its own installation": {"half-configured 1.3", "", "1.3"},
		"removed":                         {"config-files 1.2", "", ""},
		"known but not installed":         {"not-installed ", "", ""},
		"the predecessor":                 {"", "installed 254", "254"},
		"after a way back":                {"config-files 1.2", "installed 254", "254"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			t.Setenv("SAYS_lpbuildd", c.lpbuildd)
			t.Setenv("SAYS_launchpad_buildd", c.predecessor)
			script := "#!/bin/sh\n[ \"$3\" = '${db:Status-Status} ${Version}' ] || exit 2\n" +
				"says=$(printenv SAYS_$(echo $4 | tr - _))\n[ -n \"$says\" ] || exit 1\nprintf %s \"$says\"\n"
			if err := os.WriteFile(filepath.Join(dir, "dpkg-query"), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
				t.Fatal(err)
			}
			if got := installedVersion(t.Context()); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
