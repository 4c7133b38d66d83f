package config

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd/job"
)

// instances writes configuration files, by name, and reads the one called
// "default" as its own daemon would.
func instances(t *testing.T, files map[string]string) (path string, c Config, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		cache := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(cache, 0o700); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(minimal, "@CACHE@", cache) + text
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path = filepath.Join(dir, "default")
	c, _, err = Load(Sources{File: path, Environ: environ(nil)})
	return path, c, err
}

func TestPromisesMustFitTheMachine(t *testing.T) {
	m := Machine{CPUs: 4, Memory: 8 << 30}
	tests := []struct {
		name  string
		files map[string]string
		want  []string // parts of the errors, one for each
	}{
		{"nobody promises anything", map[string]string{"default": "", "two": ""}, nil},
		{"one promises everything", map[string]string{"default": "[limits]\ncpus = 4\nmemory = 8G\n"}, nil},
		{"two share it", map[string]string{"default": "[limits]\ncpus = 2.5\nmemory = 5G\n", "two": "[limits]\ncpus = 1.5\nmemory = 3G\n"}, nil},
		{
			"two promise too many processors",
			map[string]string{"default": "[limits]\ncpus = 3\n", "two": "[limits]\ncpus = 3\n"},
			[]string{"limits.cpus: the builders of this machine promise 6 processors (default: 3, two: 3), but builds can have 4: (4 - 0 reserved) x 1;"},
		},
		{
			"the neighbour alone promises too much",
			map[string]string{"default": "", "two": "[limits]\nmemory = 9G\n"},
			[]string{"promise 9G of memory (two: 9G), but builds can have 8G: (8G - 0 reserved) x 1;"},
		},
		{
			"what is reserved cannot be promised",
			map[string]string{"default": "[limits]\ncpus = 4\nmemory = 8G\nreserved_cpus = 0.5\nreserved_memory = 512M\n"},
			[]string{"can have 3.5: (4 - 0.5 reserved) x 1;", "can have 7680M: (8G - 512M reserved) x 1;"},
		},
		{
			"overcommitment",
			map[string]string{"default": "[limits]\ncpus = 4\nmemory = 6G\ncpu_overcommit = 2\nmemory_overcommit = 1.5\n", "two": "[limits]\ncpus = 4\nmemory = 6G\n"},
			nil,
		},
		{
			"overcommitment of what is not reserved",
			map[string]string{"default": "[limits]\ncpus = 7\ncpu_overcommit = 2\nreserved_cpus = 1\n"},
			[]string{"can have 6: (4 - 1 reserved) x 2;"},
		},
		{"more is reserved than there is", map[string]string{"default": "[limits]\ncpus = 1\nreserved_cpus = 9\n"}, []string{"can have 0: (4 - 9 reserved) x 1;"}},
		{
			"files of editors, of packages, and broken ones promise nothing",
			map[string]string{
				"default": "[limits]\ncpus = 4\n", "default~": "[limits]\ncpus = 4\n", ".default.swp": "[limits]\ncpus = 4\n",
				"default.dpkg-dist": "[limits]\ncpus = 4\n", "broken": "[limits]\ncpus = many\nmemory = 1G\n", "syntax": "[limits]\ncpus = 4\nnonsense\n",
			},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path, c, err := instances(t, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			all := promises(path, c)
			got := overbooked(m, c, all)
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %d errors", got, len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i].Error(), want) {
					t.Errorf("got %v, want %s", got[i], want)
				}
			}
			if problems := clashes(all); len(problems) > 0 {
				t.Errorf("clashes: %v", problems)
			}
		})
	}
}

func TestAFileThatIsNoConfigurationIsNoNeighbour(t *testing.T) {
	path, c, err := instances(t, map[string]string{"default": ""})
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(path), "other")
	if err := errors.Join(os.WriteFile(other, []byte("[limits]\ncpus = 1\n"), 0o600), os.Mkdir(other+".d", 0o700), os.Symlink(path, other+".link")); err != nil {
		t.Fatal(err)
	}
	if all := promises(path, c); len(all) != 1 {
		t.Errorf("got %+v", all)
	}
}

func TestNeighboursMustNotShareNamesOrCaches(t *testing.T) {
	path, c, err := instances(t, map[string]string{"default": "", "two": "[backend]\ninstance = default\n", "four": "[backend]\nsubnet = 10.10.10.128/25\n"})
	if err != nil {
		t.Fatal(err)
	}
	third := strings.ReplaceAll(minimal, "@CACHE@", c.FileCache+"/.")
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "three"), []byte(third), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := []Origin{
		{Key: "backend.subnet", Value: "10.10.10.128/25", From: dir + "/four"},
		{Key: "builder.filecache", Value: c.FileCache + "/.", From: dir + "/three"},
		{Key: "backend.instance", Value: "default", From: dir + "/two"},
	}
	got := clashes(promises(path, c))
	for i := range got {
		if !strings.Contains(got[i].Warning, "is that of this builder too; give") {
			t.Errorf("the warning is %s", got[i].Warning)
		}
		got[i].Warning = ""
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestWhatCannotBeKeptIsAnError(t *testing.T) {
	path, _, err := instances(t, map[string]string{"default": "[limits]\ncpus = 1000000\n", "two": "[limits]\ncpus = 1000000\n"})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = LoadUsable(Sources{File: path, Environ: environ(nil)})
	if err == nil || !strings.Contains(err.Error(), "promise 2000000 processors (default: 1000000, two: 1000000)") {
		t.Errorf("got %v", err)
	}
}

func TestLimitsAreReportedAtTheStart(t *testing.T) {
	path, c, err := instances(t, map[string]string{"default": "[limits]\ncpus = 0.5\n", "two": "[limits]\ncpus = 1\nmemory = 2G\n"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ReportLimits(slog.New(slog.NewTextHandler(&out, nil)), path, c)
	for _, want := range []string{`cpus=0.5 memory="no limit"`, `promised_cpus="default: 0.5, two: 1"`, `promised_memory="two: 2G"`, "capacity_cpus="} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestLimits(t *testing.T) {
	m := Machine{CPUs: 4, Memory: 8 << 30}
	c := Config{Container: job.Container{Instance: "a"}, CPULimit: 2, MemoryLimit: 1 << 30, CPUOvercommit: 3, MemoryOvercommit: 1}
	if got, want := c.Limits(m), (job.Limits{Instance: "a", CPUs: 2, Memory: 1 << 30}); got != want {
		t.Errorf("nothing reserved: got %+v", got)
	}
	c.ReservedCPUs, c.ReservedMemory = 0.5, 2<<30
	if got := c.Limits(m); got.TotalCPUs != 3.5 || got.TotalMemory != 6<<30 {
		t.Errorf("reserved: got %+v", got)
	}
	c.ReservedCPUs = 100
	if got := c.Limits(m); got.TotalCPUs <= 0 {
		t.Errorf("everything reserved: got %+v, which is no limit", got)
	}
}

func TestThisMachine(t *testing.T) {
	if m := ThisMachine(); m.CPUs < 1 || m.Memory < 16<<20 {
		t.Errorf("got %+v", m)
	}
}
