package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
