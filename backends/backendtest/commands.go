package backendtest

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"lpbuildd/backends"
)

func testCommands(t *testing.T, factory Factory) {
	target := started(t, factory)
	t.Run("success is no error", func(t *testing.T) {
		check(t, target.Run(t.Context(), backends.Command{Argv: []string{"true"}}))
	})
	t.Run("failure is an exit error with the code", func(t *testing.T) {
		for _, code := range []int{1, 2, 42, 100, 255} {
			wantCode(t, target.Run(t.Context(), shell(fmt.Sprintf("exit %d", code))), code)
		}
	})
	t.Run("death by a signal is 128 plus its number", func(t *testing.T) {
		wantCode(t, target.Run(t.Context(), shell("kill -9 $$")), 137)
		wantCode(t, target.Run(t.Context(), shell("kill -15 $$")), 143)
	})
	t.Run("a missing program is an error", func(t *testing.T) {
		if err := target.Run(t.Context(), backends.Command{Argv: []string{"no-such-program"}}); err == nil {
			t.Error("it succeeded")
		}
	})
	t.Run("no command is an error", func(t *testing.T) {
		if err := target.Run(t.Context(), backends.Command{}); err == nil {
			t.Error("it succeeded")
		}
	})
	t.Run("arguments arrive as they are", func(t *testing.T) { testArguments(t, target) })
	t.Run("output goes to its own streams", func(t *testing.T) {
		var out, errs bytes.Buffer
		cmd := shell("echo out; echo err >&2")
		cmd.Stdout, cmd.Stderr = &out, &errs
		check(t, target.Run(t.Context(), cmd))
		if out.String() != "out\n" || errs.String() != "err\n" {
			t.Errorf("got %q and %q", out.String(), errs.String())
		}
	})
	t.Run("one writer for both streams keeps the order", func(t *testing.T) {
		var both bytes.Buffer
		cmd := shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2")
		cmd.Stdout, cmd.Stderr = &both, &both
		check(t, target.Run(t.Context(), cmd))
		if both.String() != "1\n2\n3\n4\n" {
			t.Errorf("got %q", both.String())
		}
	})
	t.Run("commands run as root with few variables", func(t *testing.T) {
		if got := output(t, target, "id -u; echo $HOME"); got != "0\n/root\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("the environment keeps its order, the last value wins", func(t *testing.T) {
		cmd := shell("echo $A$B$C")
		cmd.Env = []string{"A=1", "B=x y", "A=2", "C='"}
		out, err := backends.Output(t.Context(), target, cmd)
		if check(t, err); string(out) != "2x y'\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("input", func(t *testing.T) { testInput(t, target) })
	t.Run("big output is complete", func(t *testing.T) { testBigOutput(t, target) })
	t.Run("strays that hold the output do not hold up", func(t *testing.T) {
		out, err := backends.Output(t.Context(), target, shell("echo done; setsid sleep 3600 & true"))
		if check(t, err); string(out) != "done\n" {
			t.Errorf("got %q", out)
		}
	})
}

func testArguments(t *testing.T, target backends.Target) {
	odd := []string{"", " ", "a b", "'", `"`, "$HOME", "`id`", "\\", "*", "-n", "--", "\n", "ü", "a;b", "#", "!"}
	for _, dir := range []string{"", "/tmp", "/it's a dir"} {
		check(t, target.Run(t.Context(), backends.Command{Argv: []string{"mkdir", "-p", "/it's a dir"}}))
		cmd := backends.Command{Argv: append([]string{"printf", `<%s>`}, odd...), Dir: dir}
		out, err := backends.Output(t.Context(), target, cmd)
		if want := "<" + strings.Join(odd, "><") + ">"; err != nil || string(out) != want {
			t.Errorf("in %q: got %q, %v, want %q", dir, out, err, want)
		}
		out, err = backends.Output(t.Context(), target, backends.Command{Argv: []string{"readlink", "/proc/self/cwd"}, Dir: dir})
		if err != nil || string(out) != max(dir, "/")+"\n" {
			t.Errorf("ran in %q, %v, want %q", out, err, dir)
		}
	}
	if err := target.Run(t.Context(), backends.Command{Argv: []string{"true"}, Dir: "/no/such/dir"}); err == nil {
		t.Error("a missing directory is no error")
	}
}

func testInput(t *testing.T, target backends.Target) {
	out, err := backends.Output(t.Context(), target, backends.Command{Argv: []string{"cat"}})
	if check(t, err); len(out) != 0 {
		t.Errorf("without input: got %q", out)
	}
	big := strings.Repeat("0123456789abcdef", 1<<16)
	out, err = backends.Output(t.Context(), target, backends.Command{Argv: []string{"cat"}, Stdin: strings.NewReader(big)})
	if check(t, err); string(out) != big {
		t.Errorf("got %d bytes back of %d", len(out), len(big))
	}
	// Input that the command does not read, with a reader that never ends.
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	check(t, target.Run(t.Context(), backends.Command{Argv: []string{"true"}, Stdin: r}))
}

// testBigOutput takes 100 MB of known content.
func testBigOutput(t *testing.T, target backends.Target) {
	const size = 100 << 20
	var count countingWriter
	cmd := shell("dd if=/dev/zero bs=1048576 count=100 2>/dev/null; echo END")
	cmd.Stdout = &count
	check(t, target.Run(t.Context(), cmd))
	if count.zeros != size || string(count.rest) != "END\n" {
		t.Errorf("got %d zeros and %q, want %d", count.zeros, count.rest, size)
	}
}

// countingWriter counts zero bytes and keeps others.
type countingWriter struct {
	zeros int
	rest  []byte
}

// Write implements io.Writer.
func (c *countingWriter) Write(p []byte) (int, error) {
	zeros := bytes.Count(p, []byte{0})
	c.zeros += zeros
	if zeros < len(p) {
		c.rest = append(c.rest, bytes.ReplaceAll(p, []byte{0}, nil)...)
	}
	return len(p), nil
}

func testQuestions(t *testing.T, factory Factory) {
	target := started(t, factory)
	ctx := t.Context()
	output(t, target, "mkdir -p /q/dir; echo x >/q/file; echo y >'/q/dir/a b'; ln -s file /q/link; ln -s nowhere /q/dangling")
	for _, tt := range []struct {
		path              string
		exists, dir, link bool
	}{
		{"/q", true, true, false},
		{"/q/file", true, false, false},
		{"/q/link", true, false, true},
		{"/q/dangling", false, false, true},
		{"/q/none", false, false, false},
	} {
		exists, err1 := backends.Exists(ctx, target, tt.path)
		dir, err2 := backends.IsDir(ctx, target, tt.path)
		link, err3 := backends.IsLink(ctx, target, tt.path)
		if err1 != nil || err2 != nil || err3 != nil || exists != tt.exists || dir != tt.dir || link != tt.link {
			t.Errorf("%s: exists %v, dir %v, link %v; %v %v %v", tt.path, exists, dir, link, err1, err2, err3)
		}
	}
	names, err := backends.List(ctx, target, "/q")
	if got := strings.Join(names, " "); err != nil || got != "dangling dir file link" {
		t.Errorf("List: %q, %v", got, err)
	}
	names, err = backends.Find(ctx, target, "/q", backends.FindOptions{NoDirs: true, Name: "a*"})
	if got := strings.Join(names, ","); err != nil || got != "dir/a b" {
		t.Errorf("Find: %q, %v", got, err)
	}
	if _, err = backends.List(ctx, target, "/q/none"); err == nil {
		t.Error("a missing folder can be listed")
	}
}
