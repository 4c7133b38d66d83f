package selftest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestSourcePackageCanBeUnpacked(t *testing.T) {
	files, err := sourcePackage()
	if err != nil {
		t.Fatal(err)
	}
	again, err := sourcePackage()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range files {
		if string(again[name]) != string(data) {
			t.Errorf("%s is not the same each time", name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := exec.LookPath("dpkg-source"); err != nil {
		t.Skipf("needs dpkg-source: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "dpkg-source", "-x", packageName+"_1.0.dsc", "top")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if warnings := strings.Replace(string(out), "warning: extracting unsigned", "", 1); strings.Contains(warnings, "warning") {
		t.Errorf("dpkg-source says %s", out)
	}
	if info, err := os.Stat(filepath.Join(dir, "top/debian/rules")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("the rules: %v, %v", info, err)
	}
}
