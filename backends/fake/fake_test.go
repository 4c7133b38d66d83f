package fake_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
)

const wantTranscript = `create chroot 1234
start
run apt-get -uy update
  dir /tmp
  env LANG=C
  env TTY=unknown
run cat
  stdin
  | line
  (no newline at the end)
copy in /etc/f 0644
  | one
  |
  | two
copy in /etc/binary 0600
  2 bytes, sha256 06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8
copy in /etc/empty 0644
  (empty)
copy out /etc/f
kill
stop
remove
`

func TestTranscript(t *testing.T) {
	target, ctx := fake.New(), t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(target.Create(ctx, backends.Image{Path: "/tmp/random", SHA1: "1234", Type: "chroot"}))
	check(target.Start(ctx))
	check(target.Run(ctx, backends.Command{Argv: []string{"apt-get", "-uy", "update"}, Dir: "/tmp/", Env: []string{"LANG=C", "TTY=unknown"}}))
	check(target.Run(ctx, backends.Command{Argv: []string{"cat"}, Stdin: strings.NewReader("line")}))
	check(backends.WriteFile(ctx, target, "/etc/f", []byte("one\n\ntwo\n"), 0o644))
	check(backends.WriteFile(ctx, target, "/etc/binary", []byte{0, 255}, 0o600))
	check(backends.WriteFile(ctx, target, "/etc/empty", nil, 0o644))
	data, err := backends.ReadFile(ctx, target, "/etc/f", 100)
	if check(err); string(data) != "one\n\ntwo\n" {
		t.Errorf("read %q", data)
	}
	check(target.KillProcesses(ctx))
	check(target.Stop(ctx))
	check(target.Remove(ctx))
	if got := target.Transcript(); got != wantTranscript {
		t.Errorf("got\n%s", got)
	}
}

func TestScript(t *testing.T) {
	target, ctx := fake.New(), t.Context()
	broken := errors.New("broken")
	target.Script("apt-get", fake.Answer{Code: 100}, fake.Answer{Stdout: "ok\n", Stderr: "warning\n"})
	target.Script("apt-get install", fake.Answer{Err: broken})
	target.Script("make", fake.Answer{Do: func(_ context.Context, tt *fake.Target, cmd backends.Command) error {
		tt.AddFile("/out/"+cmd.Argv[1], "made", 0o644)
		return nil
	}})
	update := backends.Command{Argv: []string{"apt-get", "update"}}
	var exit *backends.ExitError
	if err := target.Run(ctx, update); !errors.As(err, &exit) || exit.Code != 100 {
		t.Errorf("first answer: %v", err)
	}
	for range 2 {
		var out, errs bytes.Buffer
		update.Stdout, update.Stderr = &out, &errs
		if err := target.Run(ctx, update); err != nil || out.String() != "ok\n" || errs.String() != "warning\n" {
			t.Errorf("second answer: %q, %q, %v", out.String(), errs.String(), err)
		}
	}
	if err := target.Run(ctx, backends.Command{Argv: []string{"apt-get", "install", "x"}}); !errors.Is(err, broken) {
		t.Errorf("longer prefix: %v", err)
	}
	if err := target.Run(ctx, backends.Command{Argv: []string{"make", "thing"}}); err != nil {
		t.Error(err)
	}
	if f, ok := target.File("/out/thing"); !ok || f.Data != "made" {
		t.Errorf("got %v", f)
	}
	if got := strings.Join(target.Commands(), "; "); got != "apt-get update; apt-get update; apt-get update; apt-get install x; make thing" {
		t.Errorf("got %s", got)
	}
}

func TestQuestionsAreAnsweredFromFiles(t *testing.T) {
	target, ctx := fake.New(), t.Context()
	target.AddFile("/d/a", "x", 0o644)
	target.AddFile("/d/sub/b.deb", "x", 0o644)
	for path, want := range map[string][2]bool{"/d": {true, true}, "/d/a": {true, false}, "/d/none": {}} {
		exists, err1 := backends.Exists(ctx, target, path)
		dir, err2 := backends.IsDir(ctx, target, path)
		if exists != want[0] || dir != want[1] || err1 != nil || err2 != nil {
			t.Errorf("%s: %v %v", path, exists, dir)
		}
	}
	for want, opts := range map[string]backends.FindOptions{
		"a sub sub/b.deb": {},
		"a sub":           {MaxDepth: 1},
		"a sub/b.deb":     {NoDirs: true},
		"sub/b.deb":       {Name: "*.deb"},
	} {
		names, err := backends.Find(ctx, target, "/d", opts)
		if got := strings.Join(names, " "); got != want || err != nil {
			t.Errorf("%+v: got %q, %v, want %q", opts, got, err, want)
		}
	}
	if _, err := target.CopyOut(ctx, "/d/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := backends.List(ctx, target, "/none"); err == nil {
		t.Error("a missing folder can be listed")
	}
}

func TestHangingCommandsCanBeEnded(t *testing.T) {
	target := fake.New()
	target.Script("hang", fake.Answer{Stdout: "x", Hang: true})
	hang := func(ctx context.Context) chan error {
		started, result := make(chan struct{}), make(chan error, 1)
		cmd := backends.Command{Argv: []string{"hang"}, Stdout: closer(started)}
		go func() { result <- target.Run(ctx, cmd) }()
		<-started
		return result
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("enough")
	result := hang(ctx)
	cancel(want)
	if err := <-result; !errors.Is(err, want) {
		t.Errorf("cancelled: %v", err)
	}
	result = hang(t.Context())
	if err := target.KillProcesses(t.Context()); err != nil {
		t.Fatal(err)
	}
	var exit *backends.ExitError
	if err := <-result; !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("killed: %v", err)
	}
	target.Fail("kill", want)
	if err := target.KillProcesses(t.Context()); !errors.Is(err, want) {
		t.Errorf("failing: %v", err)
	}
}

// closer closes a channel when something is written.
type closer chan struct{}

// Write implements io.Writer.
func (c closer) Write(p []byte) (int, error) {
	close(c)
	return len(p), nil
}
