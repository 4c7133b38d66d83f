package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

func TestTerminalsGetColoursAndAProgressLine(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	p := &printer{stdout: &out, stderr: &out, terminal: true, color: true, now: func() time.Time { return now }}
	w := &stageWatcher{out: p}
	p.startProgress()
	now = now.Add(61 * time.Second)
	_, _ = w.Write([]byte("RUN: bin/in-target unpack-chroot x\n"))
	now = now.Add(5 * time.Second)
	p.showProgress(buildd.Status{State: buildd.Building})
	_, _ = w.Write([]byte("half"))
	_, _ = w.Write([]byte(" a line \x1b]0;title\x07\r\n"))
	p.showProgress(buildd.Status{State: buildd.Aborting})
	p.say("done")
	want := "\x1b[1;36mRUN: bin/in-target unpack-chroot x\x1b[0m\n" +
		"\x1b[1;33munpack-chroot  0:05  (stage 1, 1:06 in all)\x1b[0m\r\x1b[K" +
		"half a line ]0;title\n" +
		"\x1b[1;33maborting  0:05  (stage 1, 1:06 in all)\x1b[0m\r\x1b[K" +
		"done\n"
	if out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}

func TestTerminalsWithoutColours(t *testing.T) {
	var out bytes.Buffer
	p := &printer{stdout: &out, stderr: &out, terminal: true, now: time.Now}
	_, _ = p.Write([]byte("E: error: \xff\u009b\tx"))
	if err := p.flushLog(); err != nil || out.String() != "E: error: \uFFFD\tx\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestFilesGetTheLogAsItIs(t *testing.T) {
	var out bytes.Buffer
	p := newPrinter(&out, &out)
	_, _ = p.Write([]byte("\x1b[31m\xff"))
	p.startProgress()
	p.showProgress(buildd.Status{})
	if out.String() != "\x1b[31m\xff" {
		t.Errorf("got %q", out.String())
	}
}

func TestStageOf(t *testing.T) {
	tests := map[string]string{
		"RUN: /usr/share/launchpad-buildd/bin/builder-prep\n":                    "builder-prep",
		"RUN: /usr/share/launchpad-buildd/bin/in-target mount-chroot --series=x": "mount-chroot",
		"RUN: bin/in-target": "in-target",
		"RUN: ":              "",
		"not RUN: x":         "",
	}
	for line, want := range tests {
		if got := stageOf(line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// FuzzStageWatcher: however a log is cut, all of it is passed on and the same
// stages are found.
func FuzzStageWatcher(f *testing.F) {
	f.Add([]byte("RUN: a\nRUN: in-target b\n\nRUN: c"), uint8(3))
	f.Add(bytes.Repeat([]byte("x"), 2*longestLine), uint8(200))
	f.Fuzz(func(t *testing.T, log []byte, size uint8) {
		var whole, pieces bytes.Buffer
		one := &stageWatcher{out: newPrinter(&whole, &whole)}
		many := &stageWatcher{out: newPrinter(&pieces, &pieces)}
		_, _ = one.Write(log)
		for rest := log; len(rest) > 0; {
			n, err := many.Write(rest[:min(len(rest), int(size)+1)])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(whole.Bytes(), log) || !bytes.Equal(pieces.Bytes(), log) {
			t.Errorf("the log has changed")
		}
		if one.out.progress.stages != many.out.progress.stages || one.out.progress.stage != many.out.progress.stage {
			t.Errorf("got %+v and %+v", one.out.progress, many.out.progress)
		}
	})
}

func TestParseArgs(t *testing.T) {
	got, err := parseArgs([]string{
		"text=a=b", "empty=", "yes:=true", "n:=-7", "big:=12345678901", "f:=1.5", "nil:=null", `list:=["a", 1, {"c": 3, "b": [2]}]`, "colon:text=x:=y",
	})
	want := map[string]any{
		"text": "a=b", "empty": "", "yes": true, "n": int64(-7), "big": int64(12345678901), "f": 1.5, "nil": nil,
		"list": []any{"a", int64(1), ordered.Struct{{Name: "c", Value: int64(3)}, {Name: "b", Value: []any{int64(2)}}}}, "colon:text": "x:=y",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, %v", got, err)
	}
	for _, bad := range []string{"x", "=x", ":=1", "x:=", "x:=1 2", "x:=yes", "x:=1e999"} {
		if got, err := parseArgs([]string{bad}); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestHashCacheDoesNotReadAFileTwice(t *testing.T) {
	image := filepath.Join(t.TempDir(), "base.tar.gz")
	old := time.Now().Add(-time.Hour)
	c := hashCache{path: filepath.Join(t.TempDir(), "new", "sha1.json"), now: time.Now}
	tests := []struct {
		name, content, want string
		mtime               time.Time
	}{
		{"the first time it is read", "aaaa", "aaaa", old},
		{"the second time it is not", "bbbb", "aaaa", old},
		{"a new time counts", "bbbb", "bbbb", old.Add(time.Nanosecond)},
		{"a new size counts", "ccccc", "ccccc", old.Add(time.Nanosecond)},
		{"a file that was changed just now", "ddddd", "ddddd", time.Now().Add(time.Minute)},
		{"is not remembered", "eeeee", "eeeee", time.Now().Add(time.Minute)},
	}
	for _, tt := range tests {
		write(t, image, tt.content)
		if err := os.Chtimes(image, tt.mtime, tt.mtime); err != nil {
			t.Fatal(err)
		}
		got, err := c.hash(t.Context(), image)
		if err != nil || got.sha1 != sha1Of([]byte(tt.want)) {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
	remove(t, image)
	if len(c.read()) != 0 {
		t.Error("a file that is gone is remembered")
	}
	write(t, c.path, "damaged")
	if len(c.read()) != 0 {
		t.Error("a damaged cache is believed")
	}
}

func TestHashingEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	write(t, path, strings.Repeat("x", 100))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	if _, err := hashFile(ctx, path); err == nil {
		t.Error("no error")
	}
}
