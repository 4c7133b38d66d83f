package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestInstalledVersion(t *testing.T) {
	for _, tt := range []struct {
		name string
		// packages are "name version status".
		packages []string
		want     string
	}{
		{"nothing", nil, ""},
		{"installed", []string{"lpbuildd 1.2 installed"}, "1.2"},
		{"its upgrade starts the daemon", []string{"lpbuildd 1.3 half-configured"}, "1.3"},
		{"unpacked in an image", []string{"lpbuildd 1.3 unpacked"}, "1.3"},
		{"removed", []string{"lpbuildd 1.2 config-files"}, ""},
		{"in place of launchpad-buildd", []string{"launchpad-buildd 254 config-files", "lpbuildd 1.2 installed"}, "1.2"},
		{"beside launchpad-buildd", []string{"launchpad-buildd 254 installed", "lpbuildd 1.2 config-files"}, "254"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var status strings.Builder
			for _, p := range tt.packages {
				words := strings.Fields(p)
				fmt.Fprintf(&status, "Package: %s\nVersion: %s\nStatus: install ok %s\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n\n", words[0], words[1], words[2])
			}
			for _, folder := range []string{"info", "updates"} {
				if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "status"), []byte(status.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("DPKG_ADMINDIR", dir)
			if got := installedVersion(t.Context()); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
