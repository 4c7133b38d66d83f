package types_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/site"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// lab is a build in memory: one fake stands for the target and, under argument
// vectors that start with "host:" or "root:", for the builder machine, so that
// one transcript holds the order of everything.
type lab struct {
	t      *testing.T
	target *fake.Target
	log    bytes.Buffer
	env    builders.Env
	tmp    string
}

type place struct {
	name   string
	target *fake.Target
}

func (p place) Run(ctx context.Context, cmd backends.Command) error {
	cmd.Argv = append([]string{p.name}, cmd.Argv...)
	return p.target.Run(ctx, cmd)
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, target: fake.New(), tmp: t.TempDir()}
	dir := filepath.Join(l.tmp, "build-PACKAGEBUILD-1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l.env = builders.Env{
		Job:        builders.Job{BuildID: "PACKAGEBUILD-1", Dir: dir, Home: l.tmp},
		Common:     builders.Common{Series: "noble", ABI: "amd64"},
		Target:     l.target,
		TargetRoot: filepath.Join(dir, "chroot-autobuild"),
		Host:       place{"host:", l.target},
		Root:       place{"root:", l.target},
		Log:        &l.log,
		SharePath:  "/usr/share/lpbuildd",
		User:       "buildd",

		Site: site.Site{TemplatesArchive: "translation-templates.tar.gz"},
		CPUs: 2,
		LogTail: func(n int64) ([]byte, error) {
			return l.log.Bytes()[max(0, int64(l.log.Len())-n):], nil
		},
		OpenLog:     func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(l.log.Bytes())), nil },
		AnnounceRun: func(argv ...string) { fmt.Fprintf(&l.log, "RUN: %s\n", backends.Quote(argv...)) },
		Undo: func(path string) error {
			fmt.Fprintf(&l.log, "(undo %s)\n", path)
			return nil
		},
		Redact: func(text io.ReadCloser) io.ReadCloser { return text },
		Store: func(_ context.Context, name string, content io.ReadCloser) (string, error) {
			data, err := io.ReadAll(content)
			fmt.Fprintf(&l.log, "(store %s: %q)\n", name, data)
			return "sha1 of " + name, errors.Join(err, content.Close())
		},
	}
	l.target.Script("host: getent group sbuild", fake.Answer{Stdout: "sbuild:x:105:buildd\n"})
	l.target.Script("host: getent passwd sbuild", fake.Answer{Stdout: "sbuild:x:102:105::/var/lib/sbuild:/bin/bash\n"})
	l.target.Script("host: linux64 uname", fake.Answer{Stdout: "6.1.0 #1 SMP x86_64\n"})
	l.target.Script("host: linux32 uname", fake.Answer{Stdout: "6.1.0 #1 SMP i686\n"})
	l.target.AddFile("/etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644)
	l.target.AddFile("/etc/group", "root:x:0:\n", 0o644)
	return l
}

// dsc puts the .dsc of hello into the build directory.
func (l *lab) dsc(content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.env.Job.Dir, "hello_1.0.dsc"), []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// golden compares everything that happened with a file of testdata.
func (l *lab) golden(name string, err error) {
	l.t.Helper()
	text := "== commands and files\n" + l.target.Transcript() + "== log\n" + l.log.String() + "== result\n" + result(err)
	text = strings.ReplaceAll(text, l.tmp, "/home/buildd")
	if host, err := os.Hostname(); err == nil {
		text = strings.ReplaceAll(text, "buildd@"+host, "buildd@HOST")
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(text), 0o600))
		if err != nil {
			l.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || len(want) == 0 {
		l.t.Fatalf("no golden file (%v); run the tests with -update and look at it", err)
	}
	if text != string(want) {
		l.t.Errorf("%s differs; it is now\n%s", path, text)
	}
}

func result(err error) string {
	var b *verdict.BuildError
	switch {
	case err == nil:
		return "OK\n"
	case errors.As(err, &b):
		text := fmt.Sprintf("%s\ncause: %v\nadvice: %s\n", b.Outcome, err, b.Advice)
		if b.Dependencies != "" {
			text += "dependencies: " + b.Dependencies + "\n"
		}
		return text
	}
	return "error: " + err.Error() + "\n"
}

// outcome is the verdict of a build.
func outcome(err error) verdict.Outcome {
	var b *verdict.BuildError
	switch {
	case err == nil:
		return verdict.OK
	case errors.As(err, &b):
		return b.Outcome
	}
	return verdict.BuilderFail
}
