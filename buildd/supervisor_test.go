package buildd_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// roleVariable makes this test program act as one of the daemon's helpers.
const roleVariable = "LPBUILDD_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		goleak.VerifyTestMain(m)
	case "supervise":
		if err := scriptedSupervisor(); err != nil {
			fmt.Fprintln(os.Stderr, "scripted supervisor:", err)
			os.Exit(1)
		}
	case "cleanup":
		// The ledger of a scripted build is a list of files.
		var pid int
		if disk.ReadJSON(state.Build("").Supervisor(), &pid) == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, name := range []string{"left-behind", "ledger", "supervisor.json"} {
			_ = os.Remove(name)
		}
	}
}

// scriptedSupervisor does what the argument "script" of its build says. It
// stands in for the real supervisor, which needs root and has tests of its own.
func scriptedSupervisor() error {
	ln, err := net.FileListener(os.Stdin)
	if err != nil {
		return err
	}
	_ = os.Stdin.Close()
	s := &scripted{ln: ln, requests: make(chan job.Request, 1), aborted: make(chan struct{}), event: `{"ready":false}`}
	go s.accept()
	var request job.Request
	select {
	case request = <-s.requests:
	case <-s.aborted:
		// The request may be there too, or still to be read from the connection of a
		// daemon that is gone.
		select {
		case request = <-s.requests:
		default:
			return nil
		}
	}
	for _, name := range []string{"ledger", "left-behind"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
	}
	if err := disk.WriteJSON(state.Build("").Supervisor(), os.Getpid()); err != nil {
		return err
	}
	outcome := job.Outcome{BuildID: request.BuildID, Status: "OK"}
	switch request.Args["script"] {
	case "succeed":
		if result, ok := request.Args["result"].(string); ok {
			outcome.FileMap = map[string]string{"result": result}
			outcome.Added = []string{result}
		}
	case "die in a stage":
		s.tell(`{"ready":true,"stage":"prep","extra":{"revision_id":"r1"}}`)
		os.Exit(137)
	case "die":
		os.Exit(137)
	case "wait", "extra":
		<-s.aborted
		outcome.Status = "ABORTED"
	case "ignore":
		select {}
	case "succeed when told", "succeed when told and die", "die when told":
		for told := false; !told; <-time.After(2 * time.Millisecond) {
			_, err := os.Lstat("go")
			told = err == nil
		}
		_ = os.Remove("go")
		if request.Args["script"] == "die when told" {
			os.Exit(137)
		}
	case "succeed when aborted":
		<-s.aborted
	case "fail when aborted":
		<-s.aborted
		outcome.Status = "BUILDERFAIL"
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if request.Args["script"] == "succeed when told and die" {
		return job.WriteOutcome(state.Build(dir), outcome)
	}
	for _, name := range []string{"left-behind", "ledger", "supervisor.json"} {
		_ = os.Remove(name)
	}
	return job.WriteOutcome(state.Build(dir), outcome)
}

type scripted struct {
	ln       net.Listener
	requests chan job.Request
	aborted  chan struct{}
	once     sync.Once
	served   <-chan struct{} // closed when all of the last connection is read; used by accept only

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	event string // the last one
}

func (s *scripted) tell(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event = event
	for _, c := range s.conns {
		fmt.Fprintln(c, event)
	}
}

func (s *scripted) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		before := s.served
		done := make(chan struct{})
		s.served = done
		s.mu.Lock()
		s.conns = append(s.conns, c)
		fmt.Fprintln(c, s.event)
		s.mu.Unlock()
		go func() {
			defer close(done)
			s.serve(c, before)
		}()
	}
}

// serve reads what a daemon says. Before an abort counts, all that earlier daemons
// have said is read.
func (s *scripted) serve(c net.Conn, before <-chan struct{}) {
	decoder := json.NewDecoder(bufio.NewReader(c))
	for {
		var m job.Message
		if decoder.Decode(&m) != nil {
			return
		}
		if m.Request != nil {
			event := `{"ready":true}`
			if m.Request.Args["script"] == "extra" {
				event = `{"ready":true,"extra":{"revision_id":"r1"}}`
			}
			s.tell(event)
			s.requests <- *m.Request
		}
		if m.Abort {
			if before != nil {
				<-before
			}
			s.once.Do(func() { close(s.aborted) })
		}
	}
}

// leftovers lists what a build left in its folder.
func leftovers(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(folder, "build"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case state.SocketName, "outcome.json", disk.ReserveName, "limits.json", "accepted.json", "builder.json":
		default:
			names = append(names, e.Name())
		}
	}
	return names
}

// startScripted starts a supervisor in dir that nobody gives a request.
func startScripted(t *testing.T, dir string) error {
	t.Helper()
	t.Chdir(dir)
	_ = os.Remove(state.SocketName)
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: state.SocketName, Net: "unix"})
	if err != nil {
		return err
	}
	ln.SetUnlinkOnClose(false)
	socket, err := ln.File()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Dir, cmd.Stdin = dir, socket
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", roleVariable+"=supervise")
	if err := errors.Join(cmd.Start(), socket.Close(), ln.Close()); err != nil {
		return err
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	return nil
}
