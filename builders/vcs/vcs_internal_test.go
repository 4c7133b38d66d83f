package vcs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/builders"
)

// here is a target that is this machine.
type here struct{ backends.Host }

func (here) CopyIn(context.Context, io.Reader, string, fs.FileMode) error {
	return errors.ErrUnsupported
}

func (here) CopyOut(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}

// repository makes a Git repository: two commits on main, the first of them
// with an annotated tag, a branch with a slash in its name, and a ref of
// another kind. It returns its URL and the two commit ids.
func repository(t *testing.T, dir, format string) (url, first, second string) {
	t.Helper()
	git := func(args ...string) string {
		t.Helper()
		settings := []string{"-C", dir, "-c", "user.name=A", "-c", "user.email=a@example.org"}
		out, err := backends.Output(t.Context(), backends.Host{Home: dir}, backends.Command{
			Argv: append(append([]string{"git"}, settings...), args...), Stderr: t.Output(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main", "--object-format="+format)
	git("commit", "-q", "--allow-empty", "-m", "one")
	git("tag", "-a", "-m", "tag", "v1.0")
	first = git("rev-parse", "HEAD")
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("add", "file")
	git("commit", "-q", "-m", "two")
	git("branch", "feature/x", first)
	git("branch", "20240401") // which could be the beginning of a commit id
	git("update-ref", "refs/merge/7/head", first)
	return "file://" + dir, first, git("rev-parse", "HEAD")
}

func TestCheckOutFromGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git:", err)
	}
	for _, format := range []string{"sha1", "sha256"} {
		url, first, second := repository(t, t.TempDir(), format)
		for ref, want := range map[string]string{
			"HEAD": second, "main": second, "feature/x": first, "v1.0": first, "v1.0^{}": first, "HEAD^{}": second,
			"refs/heads/main": second, "refs/heads/feature/x": first, "refs/tags/v1.0": first, "refs/tags/v1.0^{}": first,
			"refs/merge/7/head": first, first: first, second: second, first[:9]: first, first[:len(first)-1]: first, "20240401": second,
			first[:40]: first,
		} {
			checksOut(t, format, Source{repository: url, ref: ref}, want, false)
			checksOut(t, format, Source{repository: url, ref: ref}, want, true)
		}
	}
}

// checksOut checks out a source, which must give a commit.
func checksOut(t *testing.T, format string, s Source, want string, shallow bool) {
	t.Helper()
	t.Run(strings.ReplaceAll(format+" "+s.ref, "/", "_")+map[bool]string{true: " shallow"}[shallow], func(t *testing.T) {
		var log bytes.Buffer
		dir := filepath.Join(t.TempDir(), "snap")
		env := builders.Env{Target: here{backends.Host{Home: t.TempDir()}}, Log: &log}
		if err := s.CheckOut(t.Context(), env, dir, nil, shallow); err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		got, err := s.revision(t.Context(), env, dir)
		if err != nil || got != want {
			t.Errorf("checked out %q, %v; want %q", got, err, want)
		}
		count, err := backends.Output(t.Context(), backends.Host{}, backends.Command{
			Argv: []string{"git", "-C", dir, "rev-list", "--count", "HEAD"},
		})
		abbreviated := s.ref != want && commitID.MatchString(s.ref) || abbreviatedID.MatchString(s.ref) && strings.HasPrefix(want, s.ref)
		if n := strings.TrimSpace(string(count)); err != nil || shallow && n != "1" && !abbreviated {
			t.Errorf("%q commits, %v", n, err)
		}
	})
}

// A server of an older protocol does not say which object format it has.
func TestCheckOutOfSHA256WithOtherProtocols(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git:", err)
	}
	url, first, second := repository(t, t.TempDir(), "sha256")
	for _, version := range []string{"0", "1"} {
		environment := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.version", "GIT_CONFIG_VALUE_0=" + version}
		for ref, want := range map[string]string{"refs/heads/main": second, "refs/tags/v1.0": first, second: second} {
			env := builders.Env{Target: here{backends.Host{Home: t.TempDir()}}, Log: t.Output()}
			dir, s := filepath.Join(t.TempDir(), "snap"), Source{repository: url, ref: ref}
			err := s.CheckOut(t.Context(), env, dir, environment, true)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.revision(t.Context(), env, dir); got != want {
				t.Errorf("%s: checked out %q, %v; want %q", ref, got, err, want)
			}
		}
	}
}

// A git that makes repositories of SHA-256 unless told otherwise reads others.
func TestCheckOutWithAnotherDefaultFormat(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git:", err)
	}
	url, _, second := repository(t, t.TempDir(), "sha1")
	env := builders.Env{Target: here{backends.Host{Home: t.TempDir()}}, Log: t.Output()}
	dir, s := filepath.Join(t.TempDir(), "snap"), Source{repository: url, ref: "refs/heads/main"}
	if err := s.CheckOut(t.Context(), env, dir, []string{"GIT_DEFAULT_HASH=sha256"}, true); err != nil {
		t.Fatal(err)
	}
	if got, err := s.revision(t.Context(), env, dir); got != second {
		t.Errorf("checked out %q, %v; want %q", got, err, second)
	}
}

// oldGit is a target with a git of long ago, as far as its words go.
type oldGit struct {
	here
	version, words string
	asked          string // what it says to ls-remote
}

func (o oldGit) Run(_ context.Context, cmd backends.Command) error {
	if cmd.Argv[1] == "version" {
		_, err := io.WriteString(cmd.Stdout, o.version+"\n")
		return err
	}
	if o.words == "" || cmd.Argv[1] == "init" && !strings.Contains(o.words, "unknown option") {
		return nil
	}
	if cmd.Argv[len(cmd.Argv)-3] == "ls-remote" {
		o.words = o.asked
	}
	_, err := io.WriteString(cmd.Stderr, o.words+"\n")
	return errors.Join(err, &backends.ExitError{Argv: cmd.Argv, Code: 128})
}

func TestAnOldGitIsNamed(t *testing.T) {
	id := strings.Repeat("0123", 16)
	const old, clear = "git version 2.25.1", "git version 2.25.1, which the base image has, cannot read a repository of the object format sha256"
	for _, tt := range []struct {
		version, words, asked string
		explained             bool
	}{
		{old, "fatal: invalid ls-refs response: " + id + " HEAD", "", true},
		{old, "fatal: protocol error: unexpected '" + id + " HEAD'", "", true},
		{old, "fatal: mismatched object format: server sha256; client sha1", "", true},
		{old, "fatal: expected flush after ref listing", "fatal: protocol error: unexpected '" + id + " HEAD'", true},
		{old, "fatal: expected flush after ref listing", "fatal: unable to access it", false},
		{old, "fatal: protocol error: bad line length character: abcd", "", false},
		{old, "error: unknown option `object-format=sha256'", "", true},
		{"git version 2.29.0", "fatal: protocol error: unexpected '" + id + "'", "", false},
		{"git version 3.0", "fatal: protocol error: unexpected '" + id + "'", "", false},
		{"something else", "fatal: protocol error: unexpected '" + id + "'", "", false},
		{old, "fatal: repository not found", "", false},
	} {
		for _, shallow := range []bool{false, true} {
			env := builders.Env{Target: oldGit{version: tt.version, words: tt.words, asked: tt.asked}, Log: io.Discard}
			err := Source{repository: "https://git.test/repo", ref: "refs/heads/main"}.CheckOut(t.Context(), env, "/build/x", nil, shallow)
			var exit *backends.ExitError
			if !errors.As(err, &exit) || strings.Contains(err.Error(), clear) != tt.explained {
				t.Errorf("%s, %s: got %v", tt.version, tt.words, err)
			}
		}
	}
}

func TestCheckOutOfWhatIsNotThere(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git:", err)
	}
	url, _, _ := repository(t, t.TempDir(), "sha1")
	for _, ref := range []string{"none", "refs/heads/none", "refs/tags/none", "refs/none", strings.Repeat("0123", 10), strings.Repeat("0123", 16)} {
		for _, shallow := range []bool{false, true} {
			env := builders.Env{Target: here{backends.Host{Home: t.TempDir()}}, Log: io.Discard}
			dir := filepath.Join(t.TempDir(), "snap")
			var exit *backends.ExitError
			if err := (Source{repository: url, ref: ref}).CheckOut(t.Context(), env, dir, nil, shallow); !errors.As(err, &exit) {
				t.Errorf("%s, shallow %v: %v", ref, shallow, err)
			}
		}
	}
}

// What the lines that announce an operation show is no secret.
func TestSourcesAreShownWithoutCredentials(t *testing.T) {
	for _, s := range []Source{
		{branch: "https://user:s3cret@bzr.test/project"},
		{repository: "https://user:s3cret@git.test/project", ref: "HEAD"},
		{repository: "https://user:s3cret@git.test/project", ref: "main"},
	} {
		if shown := strings.Join(append(s.Options(), s.String()), " "); strings.Contains(shown, "s3cret") {
			t.Errorf("shown is %s", shown)
		}
	}
}
