package buildd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// helpers stand in for what root does for a daemon. The real ones need root, and have
// tests of their own.
type helpers struct {
	t *testing.T

	mu       sync.Mutex // guards what follows
	all      []*supervisor
	refuses  error         // why no supervisor starts
	slow     time.Duration // how long one takes until it says something
	mute     bool          // those that start from now on read nothing
	cleaning int           // how many clean-ups go on
	held     chan struct{} // they wait for it
	clean    func(dir string) error
	limits   []time.Duration // how long each may take
	trash    func()
	trashed  error   // what EmptyTrash returns
	needs    []int64 // what EmptyTrash was asked for
}

// StartSupervisor starts one that does what the argument "script" of its build says.
func (h *helpers) StartSupervisor(_ context.Context, dir string, ended func(error)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuses != nil {
		return h.refuses
	}
	s := h.addLocked(dir)
	slow := h.slow
	go func() {
		err := s.run(slow)
		s.die()
		ended(err)
	}()
	return nil
}

// addLocked makes a supervisor that nobody has started.
func (h *helpers) addLocked(dir string) *supervisor {
	s := &supervisor{
		dir: dir, mute: h.mute, event: `{"ready":false}`,
		requests: make(chan job.Request, 1), aborted: make(chan struct{}), told: make(chan struct{}), killed: make(chan struct{}), done: make(chan struct{}),
	}
	h.all = append(h.all, s)
	return s
}

// orphan starts a supervisor that nobody gives a request.
func (h *helpers) orphan(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, slow := h.addLocked(dir), h.slow
	go func() {
		_ = s.run(slow)
		s.die()
	}()
}

// last is the supervisor that was started last.
func (h *helpers) last() *supervisor {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) == 0 {
		h.t.Fatal("no supervisor was started")
	}
	return h.all[len(h.all)-1]
}

// Connect connects to the last supervisor.
func (h *helpers) Connect(context.Context, string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.all) == 0 {
		return nil, errors.New("no supervisor was started")
	}
	return h.all[len(h.all)-1].connect()
}

// CleanUp kills the supervisor and undoes the ledger of a scripted build, which is a
// list of files.
func (h *helpers) CleanUp(ctx context.Context, dir string) error {
	h.mu.Lock()
	h.cleaning++
	deadline, _ := ctx.Deadline()
	h.limits = append(h.limits, time.Until(deadline))
	held, clean := h.held, h.clean
	h.mu.Unlock()
	if held != nil {
		<-held
	}
	h.killAll()
	var err error
	if clean != nil {
		err = clean(dir)
	} else {
		for _, name := range []string{"left-behind", "ledger", "supervisor.json"} {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cleaning--
	return errors.Join(err, ctx.Err())
}

// hold makes clean-ups wait until the returned function is called.
func (h *helpers) hold() (letGo func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.held = held
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.held = nil
		close(held)
	}
}

// cleansUp says whether a clean-up goes on.
func (h *helpers) cleansUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cleaning > 0
}

// EmptyTrash notes that it was asked.
func (h *helpers) EmptyTrash(_ context.Context, _ string, need int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.needs = append(h.needs, need)
	if h.trash != nil {
		h.trash()
	}
	return h.trashed
}

// asked is what EmptyTrash was asked for since the last call.
func (h *helpers) asked() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	needs := h.needs
	h.needs = nil
	return needs
}

func (h *helpers) killAll() {
	h.mu.Lock()
	all := h.all
	h.mu.Unlock()
	for _, s := range all {
		s.kill()
	}
}

// supervisor is a scripted one.
type supervisor struct {
	dir string

	requests chan job.Request
	aborted  chan struct{} // closed by the first abort
	told     chan struct{} // closed by goOn
	killed   chan struct{} // closed by kill
	done     chan struct{} // closed by exit

	mu     sync.Mutex // guards what follows
	mute   bool       // reads nothing
	silent bool       // says nothing
	begun  bool
	dead   bool
	aborts int
	conns  []chan<- string // what is told
	raw    []net.Conn
	event  string // the last one
}

var errDied = errors.New("exit status 137")

// run does what the script says, and returns how the process ends.
func (s *supervisor) run(slow time.Duration) error {
	select {
	case <-time.After(slow):
	case <-s.killed:
		return errDied
	}
	s.begin()
	var request job.Request
	select {
	case request = <-s.requests:
	case <-s.aborted:
		return nil
	case <-s.killed:
		return errDied
	}
	for _, name := range []string{"ledger", "left-behind"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			return err
		}
	}
	if err := disk.WriteJSON(filepath.Join(s.dir, "supervisor.json"), os.Getpid()); err != nil {
		return err
	}
	return s.follow(request)
}

// follow follows the script.
func (s *supervisor) follow(request job.Request) error {
	outcome := job.Outcome{BuildID: request.BuildID, Status: "OK"}
	if result, ok := request.Args["result"].(string); ok {
		outcome.FileMap = map[string]string{"result": result}
		outcome.Added = []string{result}
	}
	cue := make(chan struct{})
	close(cue)
	var wait <-chan struct{} = cue // for which the build ends
	script, _ := request.Args["script"].(string)
	switch script {
	case "die in a stage":
		s.tell(`{"ready":true,"stage":"prep","extra":{"revision_id":"r1"}}`)
		return errDied
	case "die":
		return errDied
	case "extra":
		s.tell(`{"ready":true,"extra":{"revision_id":"r1"}}`)
		wait, outcome.Status = s.aborted, "ABORTED"
	case "wait":
		wait, outcome.Status = s.aborted, "ABORTED"
	case "ignore":
		wait = nil
	case "succeed when told", "succeed when told and die", "succeed when told and stay", "die when told":
		wait = s.told
	case "succeed when aborted":
		wait = s.aborted
	case "fail when aborted":
		wait, outcome.Status = s.aborted, "BUILDERFAIL"
	}
	select {
	case <-wait:
	case <-s.killed:
		return errDied
	}
	if script == "die when told" {
		return errDied
	}
	if err := job.WriteOutcome(state.Build(s.dir), outcome); err != nil {
		return err
	}
	switch script {
	case "succeed when told and die":
		return errDied
	case "succeed when told and stay":
		s.tell(`{"ready":true,"done":true}`)
		select {
		case <-s.done:
			return nil
		case <-s.killed:
			return errDied
		}
	}
	for _, name := range []string{"left-behind", "ledger", "supervisor.json"} {
		_ = os.Remove(filepath.Join(s.dir, name))
	}
	return nil
}

// goOn is what a script waits for.
func (s *supervisor) goOn() { close(s.told) }

func (s *supervisor) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	s.sayLocked()
}

// tell tells all who listen.
func (s *supervisor) tell(event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event = event
	s.sayLocked()
}

// sayLocked repeats the last event.
func (s *supervisor) sayLocked() {
	if s.begun && !s.silent && !s.dead {
		for _, c := range s.conns {
			c <- s.event
		}
	}
}

func (s *supervisor) connect() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return nil, errors.New("the supervisor is dead")
	}
	theirs, ours := net.Pipe()
	out := make(chan string, 64) // a socket has room, too
	s.conns, s.raw = append(s.conns, out), append(s.raw, ours)
	go func() {
		for event := range out {
			_, _ = ours.Write([]byte(event + "\n"))
		}
		_ = ours.Close()
	}()
	if !s.mute {
		go s.read(ours)
	}
	if s.begun && !s.silent {
		out <- s.event
	}
	return theirs, nil
}

// listen ends that it is mute.
func (s *supervisor) listen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = false
	for _, c := range s.raw {
		go s.read(c)
	}
}

func (s *supervisor) read(c net.Conn) {
	decoder := json.NewDecoder(bufio.NewReader(c))
	for {
		var m job.Message
		if decoder.Decode(&m) != nil {
			return
		}
		if m.Request != nil {
			s.tell(`{"ready":true}`)
			s.requests <- *m.Request
		}
		if m.Abort {
			s.mu.Lock()
			if s.aborts++; s.aborts == 1 {
				close(s.aborted)
			}
			s.mu.Unlock()
		}
	}
}

// isDead says that the process has ended.
func (s *supervisor) isDead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// exit ends the process of one that stays, as it should.
func (s *supervisor) exit() { close(s.done) }

// cut breaks all connections.
func (s *supervisor) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.raw {
		_ = c.Close()
		close(s.conns[i])
	}
	s.conns, s.raw = nil, nil
}

// abortsHeard is how often it was told to abort.
func (s *supervisor) abortsHeard() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborts
}

// die ends the process, and with it all connections, but what was said arrives.
func (s *supervisor) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return
	}
	s.dead = true
	for _, c := range s.conns {
		close(c)
	}
	s.conns = nil
}

func (s *supervisor) kill() {
	s.mu.Lock()
	select {
	case <-s.killed:
	default:
		close(s.killed)
	}
	s.mu.Unlock()
	s.die()
}
