// Package depwait is run by root, inside the namespaces of a build, and only reads:
// it answers the question why sbuild gave a build back: does the package wait for a
// build dependency, and for which one? See spec: builders.md sections 2.6 to 2.9.
//
// The words in which apt explains itself change with its versions, and it calls
// a package that is there "not installable" when another one conflicts with it.
// So the words only say that dependencies are what failed (AnalyseLog), and the
// packages decide: Unsatisfied compares the build dependencies of the .dsc with
// what the chroot's indexes offer. A wait for something that is there would
// never end.
//
// Only direct build dependencies are compared. A problem further down is one to
// wait for if apt names a package that no index has.
//
// Everything here works on text: nothing runs a program, and nothing is shared
// between calls, so all functions may be called concurrently. All inputs are
// under the control of a package's author; time is linear in their size, and
// memory is bounded (AnalyseLog) or linear in what is kept (Available).
package depwait

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// chunkSize is how much of the log is read at once. Two chunks make the
	// window of spec: builders.md section 2.6 step 2; a longer match is none.
	chunkSize = 256 << 10
	// tailSize is how much of the end of the log may name the failed stage.
	tailSize = 4096
)

const (
	forceYesError  = "E: There are problems and -y was used without --force-yes"
	failStage      = "Fail-Stage: install-deps"
	toolchainStart = "Toolchain package versions:"
)

// AnalyseLog reads the log of a build that sbuild gave back; tail is the end of
// that log, of which the last 4096 bytes count. It stops where the build
// dependencies were installed: what follows is the package's own output. It
// holds 512 KiB of the log at a time.
//
// The phrases of spec: builders.md section 2.6 decide whether apt names a
// dependency; every other failure to install dependencies is a Maybe.
func AnalyseLog(log io.Reader, tail []byte) (Finding, error) {
	return analyse(log, failedInInstallDeps(tail), chunkSize)
}

// failedInInstallDeps says whether a line of tail names that stage.
func failedInInstallDeps(tail []byte) bool {
	tail = tail[max(0, len(tail)-tailSize):]
	for line := range bytes.SplitSeq(tail, []byte("\n")) {
		if string(line) == failStage {
			return true
		}
	}
	return false
}

// analyse is AnalyseLog for chunks of any size. Without unmet it looks for
// GiveBack only.
func analyse(log io.Reader, unmet bool, chunk int) (Finding, error) {
	w := window{buf: make([]byte, 2*chunk), chunk: chunk, startsLine: true}
	for {
		ended, err := w.advance(log)
		if err != nil {
			return Finding{}, fmt.Errorf("cannot read the build log: %w", err)
		}
		if w.hasNewLine(forceYesError) {
			return Finding{Kind: GiveBack}, nil
		}
		if unmet {
			if found := findUnmet(w.bytes()); found.Kind != None {
				return usable(found), nil
			}
		}
		if ended || w.hasNewLine(toolchainStart) {
			return unexplained(unmet), nil
		}
	}
}

// unexplained is the finding about a log in which apt names no dependency.
func unexplained(unmet bool) Finding {
	if unmet {
		return Finding{Kind: Maybe}
	}
	return Finding{}
}

// usable strips the captured text. An empty one names nothing: nobody could ever
// satisfy that wait.
func usable(found Finding) Finding {
	found.Depends = Strip(found.Depends)
	if found.Kind == Definite && found.Depends == "" {
		return unexplained(true)
	}
	return found
}

// window is the previous and the current chunk of a stream.
type window struct {
	buf        []byte
	chunk      int
	size       int  // bytes of buf in use
	fresh      int  // where the current chunk starts in buf
	startsLine bool // buf[0] is the first byte of a line
}

func (w *window) bytes() []byte { return w.buf[:w.size] }

// advance reads the next chunk; ended says that it was the last one.
func (w *window) advance(r io.Reader) (ended bool, err error) {
	if w.fresh > 0 {
		w.startsLine = w.buf[w.fresh-1] == '\n'
	}
	w.fresh = copy(w.buf, w.buf[w.fresh:w.size])
	n, err := io.ReadFull(r, w.buf[w.fresh:w.fresh+w.chunk])
	w.size = w.fresh + n
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true, nil
	}
	return false, err
}

// hasNewLine says whether a line that starts with text came with the current
// chunk. One that lay wholly in the previous chunk has been seen before.
func (w *window) hasNewLine(text string) bool {
	pos := max(0, w.fresh-len(text))
	for {
		i := bytes.Index(w.buf[pos:w.size], []byte(text))
		if i < 0 {
			return false
		}
		pos += i
		if pos == 0 && w.startsLine || pos > 0 && w.buf[pos-1] == '\n' {
			return true
		}
		pos += len(text)
	}
}
