package builders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
)

// onHost is a target that is this machine, as far as its commands go.
type onHost struct {
	backends.Target // nil
	host            backends.Host
}

func (h onHost) Run(ctx context.Context, cmd backends.Command) error { return h.host.Run(ctx, cmd) }

// A path of several lines must not be taken for several paths, nor a missing answer
// for a good one.
func TestAnAnswerForEachPathIsNeeded(t *testing.T) {
	for _, answer := range []string{"", "/build/x\n", "/build/x\n/build/x/a\n/build/x/b\n"} {
		target := fake.New()
		target.Script("readlink", fake.Answer{Stdout: answer})
		env := Env{Target: target, Log: t.Output()}
		if err := ResolveInside(t.Context(), env, "/build/x", "/build/x/a"); err == nil {
			t.Errorf("%q is good enough", answer)
		}
	}
}

func TestWhatIsNoNameIsNotGathered(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a\nb", "a\xff"} {
		target := fake.New()
		target.AddFile("/build/"+name, "secret", 0o644)
		err := GatherProduct(t.Context(), Env{Target: target, Log: t.Output()}, "/build", name, func(string, io.ReadCloser) error {
			t.Errorf("%q is handed over", name)
			return nil
		})
		if err == nil || strings.Contains(target.Transcript(), "copy out") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestErrorsOfCommandsDoNotRepeatArguments(t *testing.T) {
	for line, want := range map[string]string{
		"git clone https://u:secret@git.test/": "git clone", "curl --user u:secret": "curl", "lb": "lb",
	} {
		err := WithoutArguments(fmt.Errorf("cannot: %w", &backends.ExitError{Argv: strings.Fields(line), Code: 7}))
		var exit *backends.ExitError
		if !errors.As(err, &exit) || strings.Join(exit.Argv, " ") != want || exit.Code != 7 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v", line, err)
		}
	}
	if other := errors.New("other"); !errors.Is(WithoutArguments(other), other) || WithoutArguments(nil) != nil {
		t.Error("other errors change")
	}
}

// Blame judges what nobody has judged before, and never what ended the build.
func TestBlame(t *testing.T) {
	broken, ended := errors.New("broken"), errors.New("ended")
	judged := &verdict.BuildError{Outcome: verdict.DepFail, Err: broken}
	for name, c := range map[string]struct {
		over bool // the build
		err  error
		want verdict.Outcome // "" for none
	}{
		"a failure":             {false, broken, verdict.ChrootFail},
		"one that is judged":    {false, fmt.Errorf("x: %w", judged), verdict.DepFail},
		"the host's fault":      {false, fmt.Errorf("x: %w", &verdict.HostFault{Err: broken, Advice: "host"}), verdict.BuilderFail},
		"after the build ended": {true, judged, ""},
	} {
		t.Run(name, func(t *testing.T) {
			during, end := context.WithCancelCause(t.Context())
			defer end(nil)
			if c.over {
				end(ended)
			}
			err := Blame(during, verdict.ChrootFail, c.err, "advice")
			var got *verdict.BuildError
			switch {
			case c.want == "" && !errors.Is(err, ended):
				t.Errorf("got %v", err)
			case c.want != "" && (!errors.As(err, &got) || got.Outcome != c.want || !errors.Is(err, broken)):
				t.Errorf("got %v", err)
			}
		})
	}
	if err := Blame(t.Context(), verdict.ChrootFail, nil, ""); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

// Credentials, commands and options hide in what is not one line of text.
func TestReaderRefuses(t *testing.T) {
	for text, reads := range map[string][]func(*Reader){
		"a\tb":   {func(r *Reader) { r.Required("name") }, func(r *Reader) { r.Optional("name", "") }},
		"a\x7fb": {func(r *Reader) { r.Required("name") }, func(r *Reader) { r.Optional("name", "") }},
		"-x":     {func(r *Reader) { r.Word("name") }, func(r *Reader) { r.Name() }},
		"a/b":    {func(r *Reader) { r.Name() }},
		"..":     {func(r *Reader) { r.Name() }},
	} {
		for i, read := range reads {
			r := NewReader(Args{"name": text})
			if read(r); r.Err() == nil || !strings.HasPrefix(r.Err().Error(), "name: ") {
				t.Errorf("%q, %d: got %v", text, i, r.Err())
			}
		}
	}
}

// TestPathsInsideTheCheckout asks a real readlink, and lists through links.
func TestPathsInsideTheCheckout(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	checkout := filepath.Join(top, "snap")
	for _, dir := range []string{checkout + "/a/b", checkout + "2"} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"inside": "a/b", "around": "../snap/a", "out": "..", "etc": "/etc", "a/up": "../..", "beside": "../snap2", "loop": "loop", "dangling": "../none",
	} {
		if err := os.Symlink(to, filepath.Join(checkout, link)); err != nil {
			t.Fatal(err)
		}
	}
	env := Env{Target: onHost{host: backends.Host{Home: top}}, Log: t.Output()}
	for path, inside := range map[string]bool{
		".": true, "a/b": true, "a/": true, "a/../a/b": true, "a//b": true, "inside": true, "around": true, "a/absent": true, checkout + "/a": true, "./-x": true,
		"..": false, "/etc": false, "/": false, "../snap2": false, "a/../..": false, "out": false, "out/snap2": false, "etc": false, "a/up": false,
		"beside": false, "loop": false, "dangling": false, "absent/absent": false,
	} {
		if err := ResolveInside(t.Context(), env, checkout, JoinPath(checkout, path)); (err == nil) != inside {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.WriteFile(checkout+"/a/b/x.snap", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a/b", "inside", "around/b", "a/b/."} {
		names, err := Products(t.Context(), env, JoinPath(checkout, dir), ".snap")
		if err != nil || !slices.Equal(names, []string{"x.snap"}) {
			t.Errorf("%s: got %q, %v", dir, names, err)
		}
	}
}
