package backends

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Scores of the out-of-memory killer, see proc_pid_oom_score_adj(5).
const (
	// exposure is how much sooner it takes a command than this process.
	exposure = 500
	maxScore = 1000
)

// expose makes a command and its children easier prey of the out-of-memory killer
// than this process, which must live to tell what happened. It misses none: children
// that are started later inherit it from their parent.
func expose(pid int) {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(own)))
	if err != nil {
		return
	}
	exposeTo(pid, strconv.Itoa(min(score+exposure, maxScore)))
}

func exposeTo(pid int, score string) {
	// It may have ended already.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(score), 0o600)
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		children, _ := os.ReadFile(list)
		for child := range strings.FieldsSeq(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				exposeTo(n, score)
			}
		}
	}
}
