package builders_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"lpbuildd/backends/fake"
	"lpbuildd/builders"
)

// aptVersions are those of which testdata/apt has what they say.
func aptVersions(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/apt/*.txt")
	if err != nil || len(files) < 3 {
		t.Fatalf("only %q (%v)", files, err)
	}
	return files
}

// recorded reads what a version of apt says, by name.
func recorded(t *testing.T, file string) map[string]fake.Answer {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]fake.Answer{}
	for part := range strings.SplitSeq("\n"+string(data), "\n== ") {
		title, output, _ := strings.Cut(part, "\n")
		name, code, ok := strings.Cut(title, " ")
		if !ok {
			continue
		}
		status, err := strconv.Atoi(code)
		if err != nil {
			t.Fatal(err)
		}
		answers[name] = fake.Answer{Stdout: output + "\n", Code: status}
	}
	return answers
}

// TestDependencyWaitsWithEveryApt has every situation explained by every apt: the
// words differ, the verdicts do not.
func TestDependencyWaitsWithEveryApt(t *testing.T) {
	situations, err := os.ReadFile("testdata/apt/situations")
	if err != nil {
		t.Fatal(err)
	}
	packages, err := os.ReadFile("testdata/apt/packages")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range aptVersions(t) {
		says := recorded(t, file)
		for line := range strings.Lines(string(situations)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			columns := strings.Split(strings.TrimSpace(line), ";")
			for i := range columns {
				columns[i] = strings.TrimSpace(columns[i])
			}
			name, depends, conflicts, outcome, waitsFor := columns[0], columns[1], columns[2], columns[3], columns[4]
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				l := newLab(t)
				l.file("hello_1.0.dsc", "Format: 1.0\nBuild-Depends: "+depends+"\nBuild-Conflicts: "+conflicts+"\n")
				l.target.AddFile("/var/lib/apt/lists/archive_Packages", string(packages), 0o644)
				answer, ok := says[name]
				if !ok || answer.Code == 0 {
					t.Fatalf("not recorded: %+v", answer)
				}
				sbuildSays(l, fake.Answer{Stdout: answer.Stdout + sbuildSummary, Code: 3})
				err := buildPackage(t, l, nil)
				var judged *builders.BuildError
				if !errors.As(err, &judged) || string(judged.Outcome) != outcome || judged.Dependencies != waitsFor {
					t.Errorf("got %s", result(err))
				}
			})
		}
	}
}

// TestUpdateWithEveryApt has every trouble of an archive, which apt sometimes only
// warns of.
func TestUpdateWithEveryApt(t *testing.T) {
	good := []string{
		"update-good", "update-flat-without-release", "update-by-hash-missing", "update-signed", "update-unknown-key-trusted",
	}
	for _, file := range aptVersions(t) {
		says := recorded(t, file)
		for _, name := range slices.Sorted(maps.Keys(says)) {
			if !strings.HasPrefix(name, "update-") {
				continue
			}
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t)
					l.target.Script("/usr/bin/apt-get -uy update", says[name])
					err := builders.Update(t.Context(), l.env)
					if slices.Contains(good, name) {
						if err != nil {
							t.Error(err)
						}
						return
					}
					if outcome(err) != builders.ChrootFail || !strings.Contains(err.Error(), "an archive cannot be reached or used: ") {
						t.Errorf("got %s", result(err))
					}
					if n := strings.Count(l.target.Transcript(), "apt-get -uy update"); n != 2 {
						t.Errorf("%d attempts", n)
					}
				})
			})
		}
	}
}

// TestFetchingWithEveryApt has every trouble of an archive with a package.
func TestFetchingWithEveryApt(t *testing.T) {
	for _, file := range aptVersions(t) {
		says := recorded(t, file)
		for _, name := range slices.Sorted(maps.Keys(says)) {
			if !strings.HasPrefix(name, "install-") {
				continue
			}
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				trouble := name != "install-unknown-package"
				l := newLab(t)
				sbuildSays(l, fake.Answer{Stdout: says[name].Stdout + sbuildSummary, Code: 3})
				err := buildPackage(t, l, nil)
				want, attempts := builders.PackageFail, 1
				if trouble {
					want, attempts = builders.GivenBack, 2
				}
				if outcome(err) != want || trouble && !strings.Contains(err.Error(), "/good_1_all.deb: ") {
					t.Errorf("got %s", result(err))
				}
				if n := strings.Count(l.target.Transcript(), "linux64 sbuild"); n != attempts {
					t.Errorf("sbuild ran %d times", n)
				}
				if n := strings.Count(l.target.Transcript(), "apt-get -uy update"); n != attempts-1 {
					t.Errorf("%d updates", n)
				}
			})
		}
	}
}
