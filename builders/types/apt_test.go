package types_test

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
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
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
				l.dsc("Format: 1.0\nBuild-Depends: " + depends + "\nBuild-Conflicts: " + conflicts + "\n")
				l.target.AddFile("/var/lib/apt/lists/archive_Packages", string(packages), 0o644)
				answer, ok := says[name]
				if !ok || answer.Code == 0 {
					t.Fatalf("not recorded: %+v", answer)
				}
				sbuildSays(l, fake.Answer{Stdout: answer.Stdout + sbuildSummary, Code: 3})
				err := buildPackage(t, l, nil)
				var judged *verdict.BuildError
				if !errors.As(err, &judged) || string(judged.Outcome) != outcome || judged.Dependencies != waitsFor {
					t.Errorf("got %s", result(err))
				}
			})
		}
	}
}

// TestNobodyWaitsForWhatIsNoDependency has apt's newer words with a text that a
// manager could not read.
func TestNobodyWaitsForWhatIsNoDependency(t *testing.T) {
	for named, want := range map[string]verdict.Outcome{
		"absent (>= 3) | gone": verdict.DepFail, "absent and more": verdict.PackageFail, "absent | more words": verdict.PackageFail,
	} {
		l := newLab(t)
		l.dsc("Format: 1.0\nBuild-Depends: there\n")
		l.target.AddFile("/var/lib/apt/lists/archive_Packages", "Package: there\nVersion: 1\n", 0o644)
		says := unmet("Depends: there but it is not going to be installed") +
			"   2. there:amd64 Depends " + named + "\n      but none of the choices are installable:\n      [no choices]\n"
		sbuildSays(l, fake.Answer{Stdout: says + sbuildSummary, Code: 3})
		if err := buildPackage(t, l, nil); outcome(err) != want {
			t.Errorf("%q: got %s", named, result(err))
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
					err := apt.Update(t.Context(), l.env)
					if slices.Contains(good, name) {
						if err != nil {
							t.Error(err)
						}
						return
					}
					if outcome(err) != verdict.ChrootFail || !strings.Contains(err.Error(), "an archive cannot be reached or used: ") {
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
				want, attempts := verdict.PackageFail, 1
				if trouble {
					want, attempts = verdict.GivenBack, 2
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

// tooSmall is what apt says instead of fetching more than there is room for.
const tooSmall = "Need to get 4,096 MB of archives.\nE: You don't have enough free space in /var/cache/apt/archives/.\n"

const (
	goneURL = "http://archive.test:8080/pool/needed_1_all.deb"
	gone    = "Err:1 http://archive.test:8080 ./ needed 1\n  404  Not Found\nE: Failed to fetch " + goneURL + "  404  Not Found\n" +
		"E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n"
)

// TestArchiveTroubleOfEveryType holds that no type blames what it builds.
func TestArchiveTroubleOfEveryType(t *testing.T) {
	bad, good := fake.Answer{Stdout: gone, Code: 100}, fake.Answer{Stdout: "Reading package lists...\n"}
	down := fake.Answer{Stdout: "W: Failed to fetch http://archive.test/InRelease  Connection failed\n"}
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		if c.install == "" {
			return
		}
		for _, tt := range []struct {
			name     string
			install  []fake.Answer
			update   fake.Answer
			want     verdict.Outcome
			mentions string
		}{
			{"one attempt fails", []fake.Answer{bad, good}, good, verdict.OK, ""},
			{"two attempts fail", []fake.Answer{bad}, good, verdict.GivenBack, goneURL + ": 404 Not Found"},
			{"the lists cannot be had", []fake.Answer{bad, good}, down, verdict.GivenBack, "http://archive.test/InRelease: Connection failed"},
			{"the update fails for unknown reasons", []fake.Answer{bad, good}, fake.Answer{Stdout: "E: something\n", Code: 100}, verdict.GivenBack, goneURL + ": 404 Not Found"},
			{"the disk is too small", []fake.Answer{{Stdout: tooSmall, Code: 100}}, good, verdict.BuilderFail, "free space in /var/cache/apt/archives/"},
			{"the disk is full", []fake.Answer{{Stdout: "E: Failed to fetch " + goneURL + "  Error writing to file - write (28: No space left on device)\n", Code: 100}}, good, verdict.BuilderFail, "No space left on device"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := labOf(t, typ.Tag, c)
					l.target.Script(c.install, tt.install...)
					l.target.Script("/usr/bin/apt-get -uy update", tt.update)
					err, _ := attempt(t.Context(), t, l, typ, c)
					if got := outcome(err); got != tt.want {
						t.Fatalf("got %s: %v\n%s", got, err, l.log.String())
					}
					if tt.mentions != "" && !strings.Contains(err.Error(), tt.mentions) {
						t.Errorf("the cause is %v", err)
					}
				})
			})
		}
	})
}

// TestOnlyAptIsBelieved has the words of apt where a package says them.
func TestOnlyAptIsBelieved(t *testing.T) {
	const start, dpkg = "Reading package lists...\n", "(Reading database ... 12 files and directories currently installed.)\n"
	for name, c := range map[string]struct {
		output string
		want   verdict.Outcome
	}{
		"apt itself":               {start + gone, verdict.GivenBack},
		"a maintainer script":      {start + dpkg + "Setting up evil (1) ...\n" + gone, verdict.PackageFail},
		"apt after another run":    {start + dpkg + start + gone, verdict.GivenBack},
		"the package":              {start + "Toolchain package versions: gcc\n" + start + gone, verdict.PackageFail},
		"in the middle of a line":  {start + "x" + strings.ReplaceAll(gone, "\n", "\nx"), verdict.PackageFail},
		"sbuild's own archive":     {start + strings.ReplaceAll(gone, "http://archive.test:8080", "copy:/<<RESOLVERDIR>>"), verdict.PackageFail},
		"a full disk":              {start + strings.ReplaceAll(gone, "404  Not Found", "Error writing to file - write (28: No space left on device)"), verdict.BuilderFail},
		"a broken disk":            {start + "E: Could not open lock file /var/lib/dpkg/lock-frontend - open (30: Read-only file system)\n", verdict.BuilderFail},
		"a server about its disk":  {start + strings.ReplaceAll(gone, "404  Not Found", "503  Error - write (28: No space left on device)"), verdict.GivenBack},
		"a folder of the image":    {start + strings.ReplaceAll(gone, "404  Not Found", "Could not open file - open (13: Permission denied)"), verdict.PackageFail},
		"a disk that is too small": {start + tooSmall, verdict.BuilderFail},
		"a script about a disk":    {start + dpkg + tooSmall, verdict.PackageFail},
		"behind a very long line":  {start + strings.Repeat("x", 1<<20) + "\n" + gone, verdict.GivenBack},
		"an empty reason":          {start + "E: Failed to fetch " + goneURL + "  \n", verdict.GivenBack},
		"a log without line feeds": {strings.Repeat("E: ", 1<<20), verdict.PackageFail},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			sbuildSays(l, fake.Answer{Stdout: c.output + "\n" + sbuildSummary, Code: 3})
			if err := buildPackage(t, l, nil); outcome(err) != c.want {
				t.Errorf("got %s", result(err))
			}
		})
	}
}

func TestSbuildBeginsAnewWithFreshLists(t *testing.T) {
	l := newLab(t)
	l.target.Script("host: linux64 sbuild",
		fake.Answer{Stdout: "Reading package lists...\n" + gone + sbuildSummary, Code: 3}, fake.Answer{Stdout: "Status: successful\n"})
	l.golden("binarypackage/second-attempt", buildPackage(t, l, nil))
}

func TestSbuildIsGivenBackWithoutFreshLists(t *testing.T) {
	for name, update := range map[string]fake.Answer{
		"because of an archive":   {Stdout: "W: Failed to fetch http://archive.test/InRelease  Connection failed\n"},
		"because of other things": {Stdout: "E: something\n", Code: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				sbuildSays(l, fake.Answer{Stdout: gone + sbuildSummary, Code: 3})
				l.target.Script("/usr/bin/apt-get -uy update", update)
				if err := buildPackage(t, l, nil); outcome(err) != verdict.GivenBack {
					t.Errorf("got %s", result(err))
				}
				if n := strings.Count(l.target.Transcript(), "linux64 sbuild"); n != 1 {
					t.Errorf("sbuild ran %d times", n)
				}
			})
		})
	}
}

func TestUpgradeIsTriedAgainWithFreshLists(t *testing.T) {
	for name, c := range map[string]struct {
		second fake.Answer
		want   verdict.Outcome
	}{
		"and works": {fake.Answer{}, verdict.OK},
		"and fails": {fake.Answer{Stdout: gone, Code: 100}, verdict.ChrootFail},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.target.Script("/usr/bin/apt-get -o", fake.Answer{Stdout: gone, Code: 100}, c.second)
			err := apt.Update(t.Context(), l.env)
			if outcome(err) != c.want || err != nil && !strings.Contains(err.Error(), goneURL+": 404 Not Found") {
				t.Errorf("got %s", result(err))
			}
			if n := strings.Count(l.target.Transcript(), "apt-get -uy update"); n != 2 {
				t.Errorf("%d updates", n)
			}
		})
	}
}
