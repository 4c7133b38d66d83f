package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// afterACrash is a builder whose build has died in the middle, with its folder,
// the folder of another builder's, and what must not be touched: beside them, and
// elsewhere on the machine.
type afterACrash struct {
	*testing.T
	dir                     state.Build
	home, foreign, precious string
	machine                 string
	log                     bytes.Buffer
}

func newCrash(t *testing.T) *afterACrash {
	t.Helper()
	homes := t.TempDir()
	c := &afterACrash{
		T: t, dir: state.Folder(filepath.Join(t.TempDir(), ".lpbuildd")).Build(),
		home: filepath.Join(homes, "build-B-1"), foreign: filepath.Join(homes, "build-B-2"), precious: filepath.Join(homes, "precious"),
		machine: t.TempDir(),
	}
	for _, path := range []string{c.dir.Path(), filepath.Join(c.home, "full"), filepath.Join(c.foreign, "full"), filepath.Join(c.precious, "full"), filepath.Join(c.machine, "lib")} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	settings := job.Settings{Home: homes}
	err := errors.Join(leftovers.Mark(c.home, c.dir), leftovers.Mark(c.foreign, "/another/builder"), job.WriteBuilder(c.dir, settings))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(c.dir.Path())
	return c
}

// cleanUp must leave what is not this builder's, and nothing else.
func (c *afterACrash) cleanUp() {
	c.Helper()
	if err := Cleanup(c.Context(), slog.New(slog.NewTextHandler(&c.log, nil))); err != nil {
		c.Fatal(err)
	}
	for path, stays := range map[string]bool{c.home: false, c.foreign: true, c.precious: true, filepath.Join(c.machine, "lib"): true, c.dir.Ledger(): false} {
		if _, err := os.Lstat(path); (err == nil) != stays {
			c.Errorf("%s: %v", path, err)
		}
	}
}

// badLedgers are what can become of a ledger. %s is the build directory.
func badLedgers() map[string]string {
	entry := `{"kind":"directory","name":"%s"}` + "\n"
	named := func(kind, name string) string { return fmt.Sprintf(`{"kind":%q,"name":%q}`, kind, name) + "\n" }
	return map[string]string{
		"empty":                                "",
		"a blank line":                         "\n",
		"zeros":                                strings.Repeat("\x00", 4096),
		"zeros and a line":                     strings.Repeat("\x00", 100) + "\n" + entry,
		"a line and zeros":                     entry + strings.Repeat("\x00", 100),
		"half a line":                          `{"kind":"direc`,
		"half a line with an end":              `{"kind":"direc` + "\n",
		"half a line before a whole one":       `{"kind":"direc` + entry,
		"a line, cut off":                      strings.TrimSuffix(entry, "\n"),
		"rubbish":                              "rubbish\n",
		"rubbish before a line":                "rubbish\n" + entry,
		"rubbish after a line":                 entry + "rubbish\n",
		"a binary":                             "\x7fELF\x02\x01\x00\n",
		"not UTF-8":                            "\xff\xfe\n" + entry,
		"wrong types":                          `{"kind":1,"name":{}}` + "\n" + entry,
		"an unknown kind":                      named("moon", "/x") + entry,
		"a kind of another program":            named("database", "/var/lib") + entry,
		"a huge line":                          strings.Repeat("x", 1<<20) + "\n" + entry,
		"a list":                               `[{"kind":"directory"}]` + "\n",
		"struck out too early":                 entry + strings.Replace(entry, "}", `,"done":true}`, 1),
		"a folder of the machine":              named("directory", "MACHINE") + entry,
		"a folder that only ends like a build": named("directory", "MACHINE/build-1/../lib") + entry,
		"the folder of all builds":             named("directory", "PRECIOUS/..") + entry,
		"a folder of HOME that is no build":    named("directory", "PRECIOUS") + entry,
		"a relative folder":                    named("directory", "build-B-1") + entry,
		"a folder with a zero":                 named("directory", "/home/build-\x00") + entry,
		"a file of the machine":                named("file", "MACHINE/lib") + entry,
		"a file out of schroot's folder":       named("file", "/etc/schroot/chroot.d/../schroot.conf") + entry,
		"a relative file":                      named("file", "socket") + entry,
		"a bridge of somebody else":            named("bridge", "docker0") + entry,
		"a container of somebody else":         named("container", "database") + entry,
		"a profile of somebody else":           named("profile", "default") + entry,
		"a network of somebody else":           named("container-network", "incusbr0") + entry,
		"a result that leads elsewhere":        named("result", "../../../etc/passwd") + entry,
		"a token that is none":                 named("token", "x") + entry,
		"twice the same":                       entry + entry,
		"blanks after a line":                  entry + strings.Repeat(" ", 10) + "\n",
	}
}

// TestADamagedLedgerKeepsNobody, and is obeyed in nothing that no build can have
// written.
func TestADamagedLedgerKeepsNobody(t *testing.T) {
	for name, text := range badLedgers() {
		t.Run(name, func(t *testing.T) {
			c := newCrash(t)
			text = strings.NewReplacer("%s", c.home, "PRECIOUS", c.precious, "MACHINE", c.machine).Replace(text)
			if err := os.WriteFile(state.Build("").Ledger(), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c.cleanUp()
			// And once more, when all is clean.
			c.log.Reset()
			c.cleanUp()
			if c.log.Len() > 0 {
				t.Errorf("the second clean-up says %s", c.log.String())
			}
		})
	}
}

func TestALedgerThatIsNoFileKeepsNobody(t *testing.T) {
	for name, make := range map[string]func() error{
		"nothing":          func() error { return nil },
		"a folder":         func() error { return os.MkdirAll(filepath.Join(state.Build("").Ledger(), "full"), 0o700) },
		"a link":           func() error { return os.Symlink("/etc/passwd", state.Build("").Ledger()) },
		"a file of others": func() error { return os.WriteFile(state.Build("").Ledger(), []byte("rubbish\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrash(t)
			if err := make(); err != nil {
				t.Fatal(err)
			}
			c.cleanUp()
		})
	}
}

func TestADamagedRecordOfTheSupervisorKeepsNobody(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "zeros": "\x00\x00", "a list": "[]", "wrong types": `{"pid":"7"}`, "no process": `{"pid":-1}`} {
		t.Run(name, func(t *testing.T) {
			c := newCrash(t)
			last := inFolder(t, c.dir, "program", RoleInit)
			if err := os.WriteFile(state.Build("").Supervisor(), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.cleanUp(); alive(last) {
				t.Error("the supervisor lives")
			}
		})
	}
}

// TestALeftFolderThatIsInUseIsAnErrorAndStays: to strike it out would keep it for
// good.
func TestALeftFolderThatIsInUseIsAnErrorAndStays(t *testing.T) {
	for _, inLedger := range []bool{true, false} {
		c := newCrash(t)
		if inLedger {
			l, err := ledger.Open(state.Build("").Ledger())
			if err := errors.Join(err, l.Add(ledger.Entry{Kind: ledger.Directory, Name: c.home}), l.Close()); err != nil {
				t.Fatal(err)
			}
		}
		holder, err := leftovers.Claim(c.home)
		if err != nil {
			t.Fatal(err)
		}
		if err := Cleanup(t.Context(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("in the ledger: %v: it says that nothing is left", inLedger)
		}
		if _, err := os.Lstat(c.home); err != nil {
			t.Error(err)
		}
		if err := holder.Close(); err != nil {
			t.Fatal(err)
		}
		c.cleanUp()
	}
}

// TestNoFolderInThePlaceOfAFileKeepsABuilder from cleaning up.
func TestNoFolderInThePlaceOfAFileKeepsABuilder(t *testing.T) {
	for _, name := range []string{"results", "container.json", "supervisor.json"} {
		t.Run(name, func(t *testing.T) {
			c := newCrash(t)
			if err := os.MkdirAll(filepath.Join(c.dir.Path(), name, "full"), 0o700); err != nil {
				t.Fatal(err)
			}
			c.cleanUp()
			if _, err := os.Lstat(filepath.Join(c.dir.Path(), name+aside.Suffix)); err != nil || !strings.Contains(c.log.String(), name+" is no file") {
				t.Errorf("%v, the log is\n%s", err, c.log.String())
			}
		})
	}
}

func TestCleanupUndoesAndForgets(t *testing.T) {
	c := newCrash(t)
	c.owes(ledger.Entry{Kind: ledger.Directory, Name: c.home})
	p := inFolder(t, state.Build(t.TempDir()), "program")
	err := errors.Join(
		disk.WriteJSON(c.dir.Supervisor(), p), disk.WriteJSON(c.dir.Container(), job.Container{}),
		job.WriteOutcome(c.dir, job.Outcome{BuildID: "B-1"}), os.Remove(c.dir.Builder()),
	)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.cleanUp()
	}
	// The outcome is for the daemon to read.
	if entries, err := os.ReadDir(c.dir.Path()); err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(c.dir.Outcome()) || alive(p) {
		t.Errorf("left: %v, %v; the supervisor lives: %v", entries, err, alive(p))
	}
	if err := EmptyTrash(t.Context(), 0, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(c.dir.State().Trash()); err != nil || len(left) > 0 {
		t.Errorf("in the trash: %v, %v", left, err)
	}
}

// owes writes entries into the ledger of the dead build.
func (c *afterACrash) owes(entries ...ledger.Entry) {
	c.Helper()
	l, err := ledger.Open(c.dir.Ledger())
	if err != nil {
		c.Fatal(err)
	}
	for _, e := range entries {
		err = errors.Join(err, l.Add(e))
	}
	if err := errors.Join(err, l.Close()); err != nil {
		c.Fatal(err)
	}
}

func TestCleanupLeavesWhatAnotherBuilderHasTakenOver(t *testing.T) {
	for _, taken := range []bool{true, false} {
		c := newCrash(t)
		if err := os.Remove(filepath.Join(c.home, ".lpbuildd")); err != nil { // its mark
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "schroot")
		text := fmt.Sprintf("[build]\ndirectory=%s/chroot-autobuild\n", c.home)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.owes(ledger.Entry{Kind: ledger.Directory, Name: c.home}, ledger.Entry{Kind: ledger.File, Name: file})
		if taken {
			other, err := leftovers.Claim(c.home)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Close() })
		}
		if err := Cleanup(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{c.home, file} {
			if _, err := os.Lstat(path); (err == nil) != taken {
				t.Errorf("taken over: %v; %s: %v", taken, path, err)
			}
		}
		if _, err := os.Lstat(c.dir.Ledger()); err == nil {
			t.Error("there is still a ledger")
		}
	}
}

func TestNothingIsDoneInTheFolderOfSomebodyElse(t *testing.T) {
	c := newCrash(t)
	t.Setenv("SUDO_UID", fmt.Sprint(os.Getuid()+1))
	log := slog.New(slog.DiscardHandler)
	for what, do := range map[string]func() error{
		"it was cleaned":        func() error { return Cleanup(t.Context(), log) },
		"its trash was emptied": func() error { return EmptyTrash(t.Context(), 0, log) },
		"a build was started":   func() error { return Supervise(t.Context()) },
		"stock was taken":       func() error { return Stock(t.Context(), strings.NewReader("{}"), io.Discard) },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "belongs to uid") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Lstat(c.home); err != nil {
		t.Error(err)
	}
}
