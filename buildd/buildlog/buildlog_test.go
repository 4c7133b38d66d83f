package buildlog_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/buildlog"
)

func create(t *testing.T, o buildlog.Options) *buildlog.Log {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "buildlog")
	}
	o.UID, o.GID = -1, -1
	l, err := buildlog.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func write(t *testing.T, l *buildlog.Log, text string) {
	t.Helper()
	if n, err := io.WriteString(l, text); err != nil || n != len(text) {
		t.Fatalf("Write = %d, %v, want %d", n, err, len(text))
	}
}

func content(t *testing.T, l *buildlog.Log) string {
	t.Helper()
	f, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLogIsANewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "buildlog")
	victim := filepath.Join(dir, "victim")
	for _, c := range []struct {
		name    string
		prepare func() error
	}{
		{"without an older one", func() error { return nil }},
		{"in place of an older one", func() error { return os.WriteFile(path, []byte("old"), 0o600) }},
		{"in place of a symbolic link", func() error { return os.Symlink(victim, path) }},
		{"in place of a hard link", func() error { return os.Link(victim, path) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.RemoveAll(path), c.prepare()); err != nil {
				t.Fatal(err)
			}
			l := create(t, buildlog.Options{Path: path})
			write(t, l, "new\n")
			if got := content(t, l); got != "new\n" {
				t.Errorf("the log is %q", got)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != 0o640 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if kept, err := os.ReadFile(victim); err != nil || string(kept) != "precious" {
				t.Errorf("the other file is %q, %v", kept, err)
			}
		})
	}
	t.Run("but never in place of a folder", func(t *testing.T) {
		if _, err := buildlog.Create(buildlog.Options{Path: dir, UID: -1, GID: -1}); err == nil {
			t.Error("no error")
		}
	})
}

func TestLogIsRedacted(t *testing.T) {
	l := create(t, buildlog.Options{Private: true, Secrets: []string{"hunter22"}})
	write(t, l, "http://u:p")
	write(t, l, "w@h/ hun")
	if got := content(t, l); got != "http://h/ " {
		t.Errorf("before Flush: %q", got)
	}
	write(t, l, "ter22 hun")
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	write(t, l, "ter22\n")
	if got, want := content(t, l), "http://h/ [redacted] hunter22\n"; got != want {
		t.Errorf("got %q, want %q: a stage does not continue in the next", got, want)
	}
}

func TestLimit(t *testing.T) {
	const notice = "The log has reached its limit of 10 bytes; what follows is left out.\n"
	for _, c := range []struct {
		name   string
		writes []string
		want   string
		called int
	}{
		{"less", []string{"12345", "789\n"}, "12345789\n", 0},
		{"just as much", []string{"12345", "6789\n"}, "123456789\n", 0},
		{"one more", []string{"12345", "6789\n", "x", "y"}, "123456789\n" + notice, 1},
		{"in the middle of a line", []string{"1234567890abc\n", "x\n"}, "1234567890\n" + notice, 1},
		{"a secret counts as what is written", []string{"hunter22hunter22"}, "[redacted]\n" + notice, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l *buildlog.Log
			called := 0
			l = create(t, buildlog.Options{
				Secrets: []string{"hunter22"}, Limit: 10,
				// Without locks, for it may want to write.
				OnLimit: func() { called++; write(t, l, "dropped") },
			})
			for _, text := range c.writes {
				write(t, l, text)
			}
			if got := content(t, l); got != c.want || called != c.called {
				t.Errorf("got %q and %d calls, want %q and %d", got, called, c.want, c.called)
			}
			if err := l.Conclude("end hunter22\n"); err != nil {
				t.Fatal(err)
			}
			write(t, l, "dropped or not")
			if got, want := content(t, l), c.want+"end [redacted]\n"; !strings.HasPrefix(got, want) {
				t.Errorf("after Conclude: got %q, want %q", got, want)
			}
		})
	}
}

func TestConclusionStartsALine(t *testing.T) {
	l := create(t, buildlog.Options{Secrets: []string{"hunter22"}})
	write(t, l, "Password: hunter")
	if err := l.Conclude("Summary\n"); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, l), "Password: hunter\nSummary\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLastWriteMovesWithEveryWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		l := create(t, buildlog.Options{Limit: 1})
		if got := l.LastWrite().Sub(start); got != 0 {
			t.Errorf("at the start: %v", got)
		}
		for range 3 {
			<-time.After(time.Minute)
			write(t, l, "ab")
			<-time.After(time.Second)
			if got := time.Since(l.LastWrite()); got != time.Second {
				t.Errorf("silent for %v", got)
			}
		}
	})
}

func TestClosedLog(t *testing.T) {
	l := create(t, buildlog.Options{Secrets: []string{"hunter22"}})
	write(t, l, "hunt")
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := io.WriteString(l, "x"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write = %v", err)
	}
	if err := l.Err(); err != nil {
		t.Errorf("Err = %v", err)
	}
	if tail, err := l.Tail(3); string(tail) != "unt" || err != nil {
		t.Errorf("Tail = %q, %v", tail, err)
	}
}

func TestAppend(t *testing.T) {
	for _, c := range []struct{ name, before, want string }{
		{"to an empty log", "", "end\n"},
		{"to whole lines", "a\n", "a\nend\n"},
		{"to a line that was cut off", "a\nb", "a\nb\nend\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "buildlog")
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := buildlog.Append(path, "end\n"); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); string(got) != c.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
	t.Run("to no log", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "buildlog")
		if err := buildlog.Append(path, "end\n"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}

func TestConcurrentWritesStayWhole(t *testing.T) {
	l := create(t, buildlog.Options{Private: true, Secrets: []string{"hunter22"}, Limit: 1 << 20})
	tailer := buildlog.NewTailer(filepath.Join(t.TempDir(), "none"), true)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if _, err := fmt.Fprintf(l, "line %d of %d: http://u:p@h/ hunter22\n", j, i); err != nil {
					t.Error(err)
				}
				if _, err := l.Tail(100); err != nil {
					t.Error(err)
				}
				_, _ = l.LastWrite(), tailer.Tail()
			}
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(content(t, l), "\n"), "\n")
	if len(lines) != 400 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "line ") || !strings.HasSuffix(line, ": http://h/ [redacted]") {
			t.Errorf("line %q", line)
		}
	}
}

func TestTheLogBelongsToItsOwnerFromTheBeginning(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make files of others")
	}
	const uid, gid = 1234, 4321
	for _, open := range []bool{true, false} {
		dir, err := os.MkdirTemp("/var/tmp", "buildlog-") // others must get there
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if open {
			if err := os.Chown(dir, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
		l, err := buildlog.Create(buildlog.Options{Path: filepath.Join(dir, "buildlog"), UID: uid, GID: gid})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "buildlog"))
		if err := errors.Join(err, l.Close()); err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid || info.Mode() != 0o640 {
			t.Errorf("it belongs to %d:%d, %v", st.Uid, st.Gid, info.Mode())
		}
	}
	// This process is itself again.
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x"), nil, 0o600); err != nil {
		t.Error(err)
	}
}
