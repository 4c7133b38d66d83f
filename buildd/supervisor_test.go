package buildd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"lpbuildd/buildd/job"
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
		if job.ReadFile(job.SupervisorName, &pid) == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, name := range []string{"left-behind", job.LedgerName, job.SupervisorName} {
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
	s := &scripted{ln: ln, requests: make(chan job.Request, 1), aborted: make(chan struct{})}
	go s.accept()
	request := <-s.requests
	for _, name := range []string{job.LedgerName, "left-behind"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
	}
	if err := job.WriteFile(job.SupervisorName, os.Getpid()); err != nil {
		return err
	}
	outcome := job.Outcome{BuildID: request.BuildID, Status: "OK"}
	switch request.Args["script"] {
	case "succeed":
		outcome.FileMap = map[string]string{"result": request.Args["result"].(string)}
		outcome.Added = []string{request.Args["result"].(string)}
	case "die":
		os.Exit(137)
	case "wait":
		<-s.aborted
		outcome.Status = "ABORTED"
	case "ignore":
		select {}
	case "succeed when aborted":
		<-s.aborted
	case "fail when aborted":
		<-s.aborted
		outcome.Status = "BUILDERFAIL"
	}
	for _, name := range []string{"left-behind", job.LedgerName, job.SupervisorName} {
		_ = os.Remove(name)
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	return job.WriteOutcome(dir, outcome)
}

type scripted struct {
	ln       net.Listener
	requests chan job.Request
	aborted  chan struct{}
	once     sync.Once
	ready    atomic.Bool
}

func (s *scripted) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		if len(s.requests) > 0 || s.ready.Load() {
			fmt.Fprintln(c, `{"ready":true}`)
		}
		go s.serve(c)
	}
}

func (s *scripted) serve(c net.Conn) {
	decoder := json.NewDecoder(bufio.NewReader(c))
	for {
		var m job.Message
		if decoder.Decode(&m) != nil {
			return
		}
		if m.Request != nil {
			s.ready.Store(true)
			fmt.Fprintln(c, `{"ready":true}`)
			s.requests <- *m.Request
		}
		if m.Abort {
			s.once.Do(func() { close(s.aborted) })
		}
	}
}

// leftovers lists what a build left in its folder.
func leftovers(t *testing.T, state string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(state, "build"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case job.SocketName, job.OutcomeName:
		default:
			names = append(names, e.Name())
		}
	}
	return names
}
