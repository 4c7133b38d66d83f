package main

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"time"

	"lpbuildd/buildd"
)

// startProgress starts the clock of a build.
func (p *printer) startProgress() {
	p.progress = progress{started: p.now(), stageStarted: p.now(), stage: "start"}
}

// elapsed is how long the build has taken, in seconds.
func (p *printer) elapsed() float64 { return p.now().Sub(p.progress.started).Seconds() }

// showProgress draws the line anew. It is called after each poll.
func (p *printer) showProgress(st buildd.Status) {
	if p.json || !p.terminal {
		return
	}
	now := p.now()
	stage := p.progress.stage
	if st.State == buildd.Aborting {
		stage = "aborting"
	}
	text := fmt.Sprintf("%s  %s  (stage %d, %s in all)", stage, clock(now.Sub(p.progress.stageStarted)), p.progress.stages, clock(now.Sub(p.progress.started)))
	p.clearProgress()
	if p.color {
		text = "\x1b[1;33m" + text + "\x1b[0m"
	}
	_, _ = fmt.Fprint(p.stdout, text)
	p.progress.shown = true
}

// enterStage notes that a stage of the build begins.
func (p *printer) enterStage(name string) {
	p.progress.stage = harmless(name)
	p.progress.stages++
	p.progress.stageStarted = p.now()
	p.emit(event{Event: "stage", Stage: name, Seconds: p.elapsed()})
}

// clock is a duration as minutes and seconds.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// stageWatcher finds the stages of a build in its log. It looks at complete
// lines only, however the log is cut into writes.
type stageWatcher struct {
	out  *printer
	line []byte
}

// Write passes the log on to the printer, stage by stage.
func (w *stageWatcher) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		chunk := data[written:]
		end := bytes.IndexByte(chunk, '\n')
		if end >= 0 {
			chunk = chunk[:end+1]
		}
		w.line = append(w.line, chunk[:min(len(chunk), longestLine-len(w.line))]...)
		if end >= 0 {
			if stage := stageOf(string(w.line)); stage != "" {
				w.out.enterStage(stage)
			}
			w.line = w.line[:0]
		}
		n, err := w.out.Write(chunk)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// stageOf returns the name of the stage that a line of the log starts, "" if
// it starts none (spec: lifecycle.md section 4.1).
func stageOf(line string) string {
	command, ok := strings.CutPrefix(line, "RUN: ")
	if !ok {
		return ""
	}
	words := strings.Fields(command)
	switch {
	case len(words) == 0:
		return ""
	case path.Base(words[0]) == "in-target" && len(words) > 1:
		return words[1]
	}
	return path.Base(words[0])
}
