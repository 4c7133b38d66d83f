package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/config"
	"lpbuildd/buildd/supervise"
)

// shippedFile reads a file of this repository.
func shippedFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestConfigPageHasEverySetting(t *testing.T) {
	page := configPage(shippedFile(t, "etc/buildd-example.conf"), time.Unix(0, 0))
	section := ""
	var found []string
	for line := range strings.Lines(page) {
		if m := regexp.MustCompile(`^\.SS "\[(\w+)\]"`).FindStringSubmatch(line); m != nil {
			section = m[1]
		}
		if m := regexp.MustCompile(`^\.B "(\w+)"`).FindStringSubmatch(line); m != nil {
			found = append(found, section+"."+m[1])
		}
	}
	var want []string
	for _, s := range config.Settings() {
		want = append(want, s.Name())
	}
	slices.Sort(found)
	slices.Sort(want)
	if !slices.Equal(found, want) {
		t.Errorf("keys of the page %q\nof the daemon %q", found, want)
	}
	if strings.Contains(page, "Example configuration") {
		t.Error("the page speaks of the example")
	}
	for _, text := range []string{
		"\n.B \"filecache\"\nMandatory: the folder of the file cache. It must exist.\n",      // of the example
		"abort: a duration from 1s to 170s, because managers wait for 180s (default: 120s).", // of the table
	} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

func TestManFindsNoFaultInTheManual(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("needs man: ", err)
	}
	dir := t.TempDir()
	root := newCommand()
	root.SetArgs([]string{"manpages", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	page := configPage(shippedFile(t, "etc/buildd-example.conf"), time.Unix(0, 0))
	if err := os.WriteFile(filepath.Join(dir, "lpbuildd.conf.5"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(pages) < 4 {
		t.Fatalf("only %q", pages)
	}
	for _, path := range pages {
		cmd := exec.CommandContext(t.Context(), "man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", path)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80")
		var faults strings.Builder
		cmd.Stderr = &faults
		if _, err := cmd.Output(); err != nil || faults.Len() > 0 {
			t.Errorf("%s: %v\n%s", path, err, faults.String())
		}
	}
}

// The packaged sudo rule must allow what the daemon does as root, and no more.
func TestSudoRuleNamesThePrivilegedRoles(t *testing.T) {
	var allowed []string
	rule := shippedFile(t, "debian/lpbuildd.sudoers")
	for _, m := range regexp.MustCompile(`/usr/bin/lpbuildd ([^\s,]+)[,\n]`).FindAllStringSubmatch(rule, -1) {
		allowed = append(allowed, m[1])
	}
	if !slices.Equal(allowed, supervise.SudoRoles()) {
		t.Errorf("the rule allows %q, the daemon needs %q", allowed, supervise.SudoRoles())
	}
	launcher, err := newLauncher()
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{launcher.Supervise, launcher.Cleanup, launcher.Trash, launcher.Stock} {
		if !slices.Contains(supervise.SudoRoles(), argv[len(argv)-1]) {
			t.Errorf("the daemon starts %q", argv)
		}
	}
}
