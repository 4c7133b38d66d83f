package chroot

import (
	"slices"
	"strings"
	"testing"

	"lpbuildd/backends"
)

func TestInside(t *testing.T) {
	linux64 := []string{"linux64"}
	for name, tt := range map[string]struct {
		cmd         backends.Command
		personality []string
		want        []string
	}{
		"plain": {backends.Command{Argv: []string{"ls", "-l"}}, nil, []string{"ls", "-l"}},
		"environment after personality": {
			backends.Command{Argv: []string{"apt-get", "update"}, Env: []string{"LANG=C"}},
			linux64,
			[]string{"linux64", "env", "LANG=C", "apt-get", "update"},
		},
		"environment keeps its order and needs no quotes": {
			backends.Command{Argv: []string{"x"}, Env: []string{"B=1 2", "A='"}},
			nil,
			[]string{"env", "B=1 2", "A='", "x"},
		},
		"directory": {
			backends.Command{Argv: []string{"make", "a b"}, Dir: "/it's"},
			linux64,
			[]string{"/bin/sh", "-c", `cd '/it'"'"'s' && linux64 make 'a b'`},
		},
		"all together": {
			backends.Command{Argv: []string{"make"}, Dir: "/build", Env: []string{"A=1 2"}},
			[]string{"linux32", "--uname-2.6"},
			[]string{"/bin/sh", "-c", "cd /build && linux32 --uname-2.6 env 'A=1 2' make"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := inside(tt.cmd, tt.personality); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnUnknownArchitectureIsAnErrorOfCommands(t *testing.T) {
	c, err := New(Config{BuildDir: t.TempDir() + "/build-1", Arch: "nosuch"})
	check(t, err)
	if err := c.Run(t.Context(), backends.Command{Argv: []string{"true"}}); err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("got %v", err)
	}
}
