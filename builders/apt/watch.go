package apt

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"lpbuildd/buildd/verdict"
)

// ArchiveError is what apt says about a file that it could not get from an
// archive, or could not trust. It is never the fault of what is built.
type ArchiveError struct {
	// file is its URL, or what else apt calls it by.
	file   string
	reason string
}

// Error names the file with its server.
func (t *ArchiveError) Error() string {
	if t.reason == "" {
		return "an archive cannot be reached or used: " + t.file
	}
	return fmt.Sprintf("an archive cannot be reached or used: %s: %s", t.file, t.reason)
}

// What apt prints about its archives, in all versions since 1.0 and in the C
// locale. With a proxy or server that is down, apt-get update only warns.
var (
	fetchFailed = regexp.MustCompile(`^[EW]: Failed to fetch (\S+)\s*(.*)`)
	notTrusted  = regexp.MustCompile(`^E: (?:GPG error|OpenPGP signature verification failed|Signature verification failed): (.*?): (.*)`)
	outdated    = regexp.MustCompile(`^E: Release file for (\S+) (is (?:expired|not valid yet).*)`)
	noRelease   = regexp.MustCompile(`^E: The repository '(.*)' ((?:does not have|no longer has) a Release file|is (?:not|no longer) signed)\.`)
)

// What apt says about this machine. It refuses to fetch what a disk is too small
// for and writes nothing then, so that nobody will find the disk full.
var (
	tooSmall    = regexp.MustCompile(`^E: (You don't have enough free space in \S+)\.$`)
	brokenHost  = regexp.MustCompile(`^[EW]: (.* - [\w:]+ \(\d+: (?:` + strings.Join(hostErrors, "|") + `)\))`)
	serverSpeak = regexp.MustCompile(`^[EW]: Failed to fetch \S+ +\d{3} `) // what follows are the words of a server
)

// hostErrors are the texts of errors that no archive makes.
var hostErrors = []string{
	"No space left on device", "Disk quota exceeded", "Read-only file system", "Input/output error",
	"Too many open files", "Too many open files in system", "Cannot allocate memory",
}

// localReasons are troubles of this machine or of the base image, which apt tells in
// the same way; as those with "copy:", sbuild's own archive.
var localReasons = append([]string{"Permission denied"}, hostErrors...)

// dpkgBegins are the starts of lines after which a run of apt-get fetches nothing
// more: what follows can be the output of packages.
var dpkgBegins = []string{
	"(Reading database ", "Preconfiguring packages ", "Selecting previously ", "Preparing to unpack ", "Unpacking ", "Setting up ", "Removing ",
}

const (
	// runBegins starts the output of every run of apt-get.
	runBegins = "Reading package lists..."
	// toolchain is what sbuild prints when build dependencies are installed; what
	// follows is the package's own output.
	toolchain = "Toolchain package versions:"
	// maxLine is how much of a line is looked at; apt's own are shorter.
	maxLine = 16 << 10
)

// Watch passes the output of apt-get or of sbuild on, and finds out about the
// first trouble with an archive in it. It is for one goroutine.
type Watch struct {
	dst     io.Writer
	line    []byte
	trouble *ArchiveError
	fault   error // of the host
	deaf    bool  // packages may be talking
	ended   bool  // only packages talk from now on
}

// NewWatch returns a watch that passes on to dst.
func NewWatch(dst io.Writer) *Watch { return &Watch{dst: dst} }

// Trouble is the first trouble of an archive so far, nil for none.
func (w *Watch) Trouble() *ArchiveError { return w.trouble }

// Fault is the first trouble of this machine so far, nil for none.
func (w *Watch) Fault() error { return w.fault }

// Write implements io.Writer.
func (w *Watch) Write(p []byte) (int, error) {
	if !w.ended {
		w.look(p)
	}
	return w.dst.Write(p)
}

// look judges every line that p completes; of a long one, its start.
func (w *Watch) look(p []byte) {
	for text := range bytes.Lines(p) {
		w.line = append(w.line, text[:min(len(text), maxLine-min(len(w.line), maxLine))]...)
		if text[len(text)-1] == '\n' {
			w.judge(strings.TrimRight(string(w.line), "\r\n"))
			w.line = w.line[:0]
		}
	}
}

// judge takes one line.
func (w *Watch) judge(line string) {
	switch {
	case w.ended:
	case strings.HasPrefix(line, toolchain):
		w.ended = true
	case line == runBegins:
		w.deaf = false
	case slices.ContainsFunc(dpkgBegins, func(start string) bool { return strings.HasPrefix(line, start) }):
		w.deaf = true
	case !w.deaf && w.trouble == nil && w.fault == nil:
		w.trouble, w.fault = troubleIn(line), faultIn(line)
	}
}

// faultIn is what a line of apt's says about this machine, nil if nothing.
func faultIn(line string) error {
	for _, pattern := range []*regexp.Regexp{tooSmall, brokenHost} {
		if found := pattern.FindStringSubmatch(line); found != nil && !serverSpeak.MatchString(line) {
			return &verdict.HostFault{
				Err:    fmt.Errorf("what the build needs cannot be fetched: %s", found[1]),
				Advice: "Look at the disk of the builder: is it full, too small, read-only or broken?",
			}
		}
	}
	return nil
}

// troubleIn is what a line of apt's says about an archive, nil if nothing.
func troubleIn(line string) *ArchiveError {
	for _, pattern := range []*regexp.Regexp{fetchFailed, notTrusted, outdated, noRelease} {
		found := pattern.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		local := func(reason string) bool { return strings.Contains(found[2], reason) && !serverSpeak.MatchString(line) }
		if strings.HasPrefix(found[1], "copy:") || slices.ContainsFunc(localReasons, local) {
			return nil
		}
		return &ArchiveError{file: found[1], reason: strings.Join(strings.Fields(found[2]), " ")}
	}
	return nil
}
