package backends

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestCommandsAreEasierPreyThanThisProcess(t *testing.T) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Skipf("needs a kernel with scores for the out-of-memory killer: %v", err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(own)))
	if err != nil {
		t.Fatal(err)
	}
	want := strconv.Itoa(min(score+exposure, maxScore)) + "\n"
	// A command that has started others before anyone could look.
	script := "sh -c 'sh -c \"cat /proc/self/oom_score_adj; read x; cat /proc/self/oom_score_adj; cat /proc/\\$PPID/oom_score_adj\"; :'; cat /proc/self/oom_score_adj"
	started := make(chan struct{})
	var out watched
	out.seen = started
	err = Host{}.Run(t.Context(), Command{Argv: []string{"sh", "-c", script}, Stdin: afterwards{started}, Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	// The first was perhaps too early to see it.
	if got := strings.SplitAfter(out.String(), "\n"); len(got) < 4 || strings.Join(got[1:4], "") != strings.Repeat(want, 3) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// watched closes seen when something is written to it.
type watched struct {
	bytes.Buffer
	seen chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	if w.Len() == 0 {
		close(w.seen)
	}
	return w.Buffer.Write(p)
}

// afterwards is a line of input that comes after something else.
type afterwards struct{ after chan struct{} }

func (a afterwards) Read(p []byte) (int, error) {
	<-a.after
	p[0] = '\n'
	return 1, nil
}
