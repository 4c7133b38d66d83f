package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shipped runs one of the package's scripts, with some more environment.
func shipped(t *testing.T, env []string, argv ...string) string {
	t.Helper()
	argv[0] = filepath.Join("..", "..", "debian", argv[0])
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v", argv, err)
	}
	return string(out)
}

func TestGeneratorMakesABuilderOfEachConfiguration(t *testing.T) {
	config, out := t.TempDir(), t.TempDir()
	for _, name := range []string{
		"default", "second-one", "a_b.c:1", // builders
		"-option", ".hidden", "old~", "default.dpkg-old", "two words", "weird@name", // none
	} {
		if err := os.WriteFile(filepath.Join(config, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(config, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	shipped(t, []string{"LPBUILDD_CONFIG_DIR=" + config}, "launchpad-buildd-generator", out, out, out)
	var got []string
	entries, _ := os.ReadDir(filepath.Join(out, "lpbuildd.service.wants"))
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(out, "lpbuildd.service.wants", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name()+" "+filepath.Base(to))
	}
	var want []string
	for _, name := range []string{"default", "second-one", "a_b.c:1"} {
		want = append(want, "lpbuildd@"+name+".service lpbuildd@.service", "lpbuildd-expire@"+name+".timer lpbuildd-expire@.timer")
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// What is no builder promises nothing.
	entries, _ = os.ReadDir(config)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		started := slices.Contains(got, "lpbuildd@"+e.Name()+".service lpbuildd@.service")
		if counts := isConfiguration(e.Name(), info); counts != started {
			t.Errorf("%q: counts %v, is started %v", e.Name(), counts, started)
		}
	}
}

func TestGeneratorIsContentWithoutConfigurations(t *testing.T) {
	empty, useless := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(useless, "default~"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		"no folder": "/no/such/folder", "an empty folder": empty, "no file that counts": useless,
	} {
		out := t.TempDir()
		said := shipped(t, []string{"LPBUILDD_CONFIG_DIR=" + config}, "launchpad-buildd-generator", out, out, out)
		made, err := os.ReadDir(out)
		if err != nil || len(made) > 0 || said != "" {
			t.Errorf("%s: it made %v and said %q, %v", name, made, said, err)
		}
	}
}

func TestGenconfigFillsTheTemplateIn(t *testing.T) {
	const all = "@NAME@ @BINDHOST@ @BINDPORT@ @ARCHTAG@ @PROXYPORT@"
	tests := []struct {
		name, template string
		args           []string
		want           string
	}{
		{"short options", all, []string{"-n", "one", "-H", "192.0.2.1", "-p", "1", "-a", "riscv64"}, "one 192.0.2.1 1 riscv64 8222\n"},
		{
			"long options", all,
			[]string{"--name=one", "--host", "::", "--port=1", "--arch=i386", "--proxy-port=2"},
			"one :: 1 i386 2\n",
		},
		{"defaults", "@NAME@ @BINDHOST@ @BINDPORT@ @PROXYPORT@", nil, "default localhost 8221 8222\n"},
		{"blank lines around it", "\n\n  a\n\nb\n\n\n", nil, "  a\n\nb\n"},
		{"nothing in a value is special", "@NAME@@NAME@", []string{"-n", `&\1@NAME@/`}, `&\1@NAME@/&\1@NAME@/` + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template := filepath.Join(t.TempDir(), "template")
			if err := os.WriteFile(template, []byte(tt.template), 0o600); err != nil {
				t.Fatal(err)
			}
			argv := append([]string{"buildd-genconfig", "--template", template}, tt.args...)
			if tt.name == "defaults" {
				argv = append(argv, "--arch", "unused") // dpkg need not be there
			}
			if got := shipped(t, nil, argv...); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// What it makes is what the daemon reads.
func TestGeneratedConfigurationIsUnderstood(t *testing.T) {
	made := shipped(t, nil, "buildd-genconfig", "--template", "../../etc/template-buildd.conf", "--arch", "amd64", "--host", "0.0.0.0")
	path := filepath.Join(t.TempDir(), "default")
	if err := os.WriteFile(path, []byte(made), 0o600); err != nil {
		t.Fatal(err)
	}
	cache := map[string]string{"LPBUILDD_BUILDER_FILECACHE": t.TempDir()}
	_, origins, err := Load(Sources{File: path, Environ: environ(cache)})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range origins {
		if o.Warning != "" || strings.Contains(o.Value, "@") {
			t.Errorf("%+v", o)
		}
	}
}
