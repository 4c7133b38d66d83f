package helper_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lpbuildd/buildd/helper"
)

const childVariable = "HELPER_TEST_NO_CHILD"

// TestMain is the test, or, when the server runs it, the helper: the server
// gives it an environment of its own.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(child(os.Args[1]))
	}
	os.Exit(m.Run())
}

// child says what it got, and ends as its verb tells.
func child(verb string) int {
	dir, _ := os.Getwd()
	fmt.Printf("%s in %s for %s", verb, dir, os.Getenv("SUDO_UID"))
	in, _ := io.ReadAll(os.Stdin)
	fmt.Printf(" read %q with %q", in, os.Getenv(childVariable))
	fmt.Fprint(os.Stderr, "complaint")
	code, _ := strconv.Atoi(strings.TrimPrefix(verb, "exit-"))
	return code
}

// serve answers connections until the test ends, and sends what Serve returns.
func serve(t *testing.T) (socket string, ended chan error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket, ended = filepath.Join(t.TempDir(), "socket"), make(chan error, 1)
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			ended <- helper.Server{Program: self, Verbs: []string{"exit-0", "exit-7"}}.Serve(context.WithoutCancel(t.Context()), conn)
		}
	}()
	t.Cleanup(func() {
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return socket, ended
}

// pipes are the streams of a helper whose input is in.
func pipes(t *testing.T, in string) (files [3]*os.File, out, complaint string) {
	t.Helper()
	dir := t.TempDir()
	input, out, complaint := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "err")
	if err := os.WriteFile(input, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{input, out, complaint} {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		files[i] = f
	}
	return files, out, complaint
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAskRunsTheVerbWithOurStreams(t *testing.T) {
	t.Setenv(childVariable, "something of ours")
	socket, ended := serve(t)
	for verb, want := range map[string]int{"exit-0": 0, "exit-7": 7} {
		dir := t.TempDir()
		files, out, complaint := pipes(t, "hello")
		code, err := helper.Ask(t.Context(), socket, verb, dir, files)
		if err := errors.Join(err, <-ended); err != nil || code != want {
			t.Errorf("%s: got %d, %v", verb, code, err)
		}
		if got, want := read(t, out), fmt.Sprintf("%s in %s for %d read %q with %q", verb, dir, os.Getuid(), "hello", ""); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := read(t, complaint); got != "complaint" {
			t.Errorf("standard error: %q", got)
		}
	}
}

func TestServerRefuses(t *testing.T) {
	tests := []struct{ name, verb, dir, want string }{
		{"a verb that is not one", "serve", "/", `cannot do "serve"`},
		{"an option", "--help", "/", `cannot do "--help"`},
		{"a verb with something behind", "exit-0 exit-7", "/", "cannot do"},
		{"a relative folder", "exit-0", "tmp", "cannot do"},
		{"a folder that is not there", "exit-0", "/no/such/folder", "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			socket, ended := serve(t)
			files, out, _ := pipes(t, "")
			_, err := helper.Ask(t.Context(), socket, tt.verb, tt.dir, files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v", err)
			}
			if err := <-ended; err == nil {
				t.Error("the server is content")
			}
			if said := read(t, out); said != "" {
				t.Errorf("something ran: %s", said)
			}
		})
	}
}

func TestServerRefusesWhatIsNoRequest(t *testing.T) {
	for _, packet := range []string{"exit-0", "exit-0\x00/", "\x00"} {
		socket, ended := serve(t)
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(packet)); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "cannot understand") {
			t.Errorf("%q: got %v", packet, err)
		}
		_ = conn.Close()
	}
}

// A daemon that is restarted leaves its build alone.
func TestHelperGoesOnWithoutTheAsker(t *testing.T) {
	socket, ended := serve(t)
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	files, _, _ := pipes(t, "")
	files[0], files[1] = in, out
	ctx, leave := context.WithCancelCause(t.Context())
	asked := make(chan error)
	go func() {
		_, err := helper.Ask(ctx, socket, "exit-0", "/", files)
		asked <- err
	}()
	// The request has arrived when the helper says that it runs.
	if _, err := feed.WriteString("now"); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := said.Read(first); err != nil {
		t.Fatal(err)
	}
	leave(nil)
	if err := <-asked; err == nil {
		t.Error("the asker did not leave")
	}
	if _, err := feed.WriteString(" and later"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(in.Close(), feed.Close(), <-ended, out.Close()); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(said)
	if err := errors.Join(err, said.Close()); err != nil {
		t.Fatal(err)
	}
	if got := string(first) + string(rest); !strings.Contains(got, `read "now and later"`) {
		t.Errorf("got %s", got)
	}
}

func TestAskWithoutAServerNamesTheUnit(t *testing.T) {
	files, _, _ := pipes(t, "")
	_, err := helper.Ask(t.Context(), filepath.Join(t.TempDir(), "none"), "exit-0", "/", files)
	if err == nil || !strings.Contains(err.Error(), "lpbuildd-helper.socket") {
		t.Errorf("got %v", err)
	}
}
