package build

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"lpbuildd/buildd/verdict"
)

// Stage is one step of a build, as the summary and the outcome call it.
type Stage string

// The stages, in their order. StageRequest is what comes before all of them,
// StageCleanup what comes after, as far as it can fail.
const (
	StageRequest Stage = "request"
	StagePrep    Stage = "prep"
	StageUnpack  Stage = "unpack"
	StageStart   Stage = "start"
	StageSources Stage = "sources"
	StageKeys    Stage = "keys"
	StageUpdate  Stage = "update"
	StageBuild   Stage = "build"
	StageGather  Stage = "gather"
	StageCleanup Stage = "cleanup"
)

// wire is what the log calls a stage where the reference does, "" if it never does
// (spec: lifecycle.md section 1).
func (s Stage) wire() string {
	return map[Stage]string{
		StagePrep: "INIT", StageUnpack: "UNPACK", StageStart: "MOUNT", StageSources: "SOURCES", StageKeys: "KEYS",
		StageUpdate: "UPDATE", StageBuild: "BUILD", StageGather: "GATHER",
	}[s]
}

// progress is how far a build has come: which stages have begun, and how long they
// and the parts of its end took.
type progress struct {
	started time.Time

	mu sync.Mutex // guards what follows
	// stages are those that have begun, in order.
	stages []timing
	// parts are how long each part of the end took, altogether.
	parts map[Part]time.Duration
	// stuck is the stage that was abandoned, "" if none was.
	stuck Stage
	// reaped says that the processes of the current stage were killed.
	reaped bool
}

// timing is how long a stage took, from when it is over.
type timing struct {
	stage Stage
	began time.Time
	took  time.Duration
}

func newProgress() *progress {
	return &progress{started: time.Now(), parts: map[Part]time.Duration{}}
}

// begin notes a stage that begins.
func (p *progress) begin(s Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stages = append(p.stages, timing{stage: s, began: time.Now()})
	p.reaped = false
}

// end notes that the current stage is over.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := &p.stages[len(p.stages)-1]
	last.took = time.Since(last.began)
}

// abandon notes that the current stage is left alone, and may go on.
func (p *progress) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck = p.stages[len(p.stages)-1].stage
}

// stuckIn says whether a stage was abandoned.
func (p *progress) stuckIn(s Stage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stuck == s
}

// stage is the current one, "" before the first.
func (p *progress) stage() Stage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.stages) == 0 {
		return ""
	}
	return p.stages[len(p.stages)-1].stage
}

// Began says whether a stage has begun.
func (p *progress) Began(s Stage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.position(s) >= 0
}

// Passed says whether a stage after this one has begun.
func (p *progress) Passed(s Stage) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.position(s)
	return i >= 0 && i < len(p.stages)-1
}

// position is where a stage stands among those that have begun, or -1.
func (p *progress) position(s Stage) int {
	return slices.IndexFunc(p.stages, func(t timing) bool { return t.stage == s })
}

// firstReap says, once a stage, that its processes are still to be killed.
func (p *progress) firstReap() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := !p.reaped
	p.reaped = true
	return first
}

// Part is a part of the end of a build. Each has a deadline.
type Part string

// The parts, in the order in which the summary has them.
const (
	PartKill     Part = "kill"
	PartRevoke   Part = "revoke"
	PartArchives Part = "archives"
	PartFiles    Part = "files"
	PartKeep     Part = "keep"
	PartUnmount  Part = "unmount"
	PartRemove   Part = "remove"
	PartTrash    Part = "trash"
)

func parts() []Part {
	return []Part{PartKill, PartRevoke, PartArchives, PartFiles, PartKeep, PartUnmount, PartRemove, PartTrash}
}

// partGrace is how long a part may take to notice that its time is up.
const partGrace = 5 * time.Second

// hangError is the end of a part that did not notice that its time was up. It is
// still at work.
type hangError struct {
	part  Part
	limit time.Duration
}

func (e *hangError) Error() string {
	return fmt.Sprintf("%s hangs; it was given up after %s", e.part, e.limit)
}

// hangs says whether a part is still at work.
func hangs(err error) bool {
	var hang *hangError
	return errors.As(err, &hang)
}

// during runs a part of the end of a build, and measures it. It gives the part up
// when that does not end within its limit.
func (p *progress) during(ctx context.Context, part Part, limit time.Duration, f func(context.Context) error) error {
	began := time.Now()
	defer func() {
		p.mu.Lock()
		p.parts[part] += time.Since(began)
		p.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- protect(func() error { return f(ctx) }) }()
	select {
	case err := <-done:
		return inTime(part, limit, err)
	case <-ctx.Done():
	}
	grace := time.NewTimer(partGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return inTime(part, limit, err)
	case <-grace.C:
		return &hangError{part: part, limit: limit}
	}
}

// inTime says in the error of a part that its time was up, if that is the error.
func inTime(part Part, limit time.Duration, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not end within %s: %w", part, limit, err)
	}
	return err
}

// protect turns a panic, which only an error of this program can cause, into
// the builder's failure.
func protect(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &verdict.HostFault{
				Err:    fmt.Errorf("internal error: %v\n%s", r, debug.Stack()),
				Advice: "Report this error in the builder's software, with this log.",
			}
		}
	}()
	return f()
}

// times is what the summary says of how long everything took.
func (p *progress) times() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var took []string
	for _, t := range p.stages {
		took = append(took, fmt.Sprintf("%s %.3f s", t.stage, t.took.Seconds()))
	}
	for _, part := range parts() {
		if d, ok := p.parts[part]; ok {
			took = append(took, fmt.Sprintf("%s %.3f s", part, d.Seconds()))
		}
	}
	return fmt.Sprintf("%.3f s (%s)", time.Since(p.started).Seconds(), strings.Join(took, ", "))
}
