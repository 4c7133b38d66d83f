package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"lpbuildd/buildd/config"
)

// minimal is the least that a configuration needs. @CACHE@ stands for the folder
// of the file cache.
const minimal = "[builder]\narchitecturetag = amd64\nfilecache = @CACHE@\nbindport = 8221\n"

// runConfig runs `config` with a configuration file of this text.
func runConfig(t *testing.T, text string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "default")
	text = strings.ReplaceAll(text, "@CACHE@", t.TempDir())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := newConfigCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append(args, "--config", path))
	err := cmd.ExecuteContext(t.Context())
	return strings.ReplaceAll(out.String(), path, "FILE"), err
}

func TestConfigCheck(t *testing.T) {
	tests := []struct {
		name, text, want, err string
	}{
		{"says OK", minimal, "OK\n", ""},
		{
			"says OK after warnings", minimal + "[slave]\n",
			"warning: FILE:5: slave: [slave] is what [builder] was called before version 190 of launchpad-buildd; it is ignored: rename it to [builder]\nOK\n", "",
		},
		{
			"fails after the last error", minimal + "user = a b\nproxyport = x\n",
			"error: builder.proxyport = \"x\" (FILE:6): want a port number from 1 to 65534, because the one after it is used too\nerror: builder.user = \"a b\" (FILE:5): want the name of a user\n",
			"the configuration cannot be used: 2 error(s)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := runConfig(t, tt.text, "check")
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestConfigShowTellsOriginsAndKeepsSecrets(t *testing.T) {
	t.Setenv("LPBUILDD_PROXY_APT", "http://user:secret@proxy.example:3128")
	got, err := runConfig(t, minimal, "show", "--bindport", "1", "--set", "cache.roots=3")
	if err != nil {
		t.Fatal(err)
	}
	squeezed := strings.Join(strings.Fields(got), " ")
	for _, want := range []string{
		`builder.architecturetag = "amd64" # FILE:2`,
		`builder.bindport = "1" # --bindport`,
		`cache.roots = "3" # --set`,
		`proxy.apt = "http://[redacted]@proxy.example:3128" # LPBUILDD_PROXY_APT`,
		`limits.abort = "120s" # default`,
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "secret") {
		t.Errorf("a secret is in\n%s", got)
	}
}

func TestTheDaemonRefusesPromisesThatItCannotKeep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"default", "two"} {
		text := strings.ReplaceAll(minimal, "@CACHE@", t.TempDir()) + "[limits]\ncpus = 1000000\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "default")
	cmd := newCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"config", "check", "--config", path})
	if err := cmd.Execute(); err == nil || !strings.Contains(out.String(), "promise 2000000 processors (default: 1000000, two: 1000000)") {
		t.Errorf("config check: %v\n%s", err, out.String())
	}
	cmd.SetArgs([]string{"serve", "--config", path})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "promise 2000000 processors") {
		t.Errorf("serve: %v", err)
	}
}

func TestTheConfigurationFileOfACommand(t *testing.T) {
	tests := []struct {
		name, env string
		args      []string
		want      string
	}{
		{"the working folder", "", nil, "buildd-example.conf"},
		{"the environment", "env.conf", nil, "env.conf"},
		{"the flag first", "env.conf", []string{"--config=flag.conf"}, "flag.conf"},
		{"an empty flag, too", "env.conf", []string{"--config="}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			addConfigFlags(flags)
			if err := flags.Parse(append(tt.args, "--bindport=1", "--set", "a.b=c", "--set", "d.e=f,g")); err != nil {
				t.Fatal(err)
			}
			got := sources(flags, func(name string) (string, bool) { return tt.env, name == "BUILDD_CONFIG" && tt.env != "" })
			if got.File != tt.want {
				t.Errorf("got %q, want %q", got.File, tt.want)
			}
			if want := []config.Flag{{Name: "--bindport", Key: "builder.bindport", Value: "1"}}; !slices.Equal(got.Flags, want) {
				t.Errorf("got the flags %+v", got.Flags)
			}
			if want := []string{"a.b=c", "d.e=f,g"}; !slices.Equal(got.Set, want) {
				t.Errorf("got %q of --set", got.Set)
			}
		})
	}
}
