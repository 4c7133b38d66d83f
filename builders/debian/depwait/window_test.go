package depwait

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// byExpression is the search of the spec with its regular expressions, on one
// window; own is the addition for alternatives, and a search without a result is
// a Maybe.
type byExpression struct {
	giveBack, maybe, definite, own, toolchain *regexp.Regexp
}

func expressions() byExpression {
	const (
		list    = `(?s)` + unmetHeader + `.* Depends: `
		text    = `(?P<p>[^ ]*( \([^)]*\))?) `
		dubious = `(but it is not installed|but it is not going to be installed)`
		missing = `(but [^ ]* is to be installed|but [^ ]* is installed|but it is not installable|but it is a virtual package)`
	)
	return byExpression{
		giveBack:  regexp.MustCompile(`(?m)^` + forceYesError),
		maybe:     regexp.MustCompile(list + text + dubious + "\n"),
		definite:  regexp.MustCompile(list + text + missing + "\n"),
		own:       regexp.MustCompile(list + text + "(" + dubious + "|" + missing + ") or\n"),
		toolchain: regexp.MustCompile(`(?m)^` + toolchainStart),
	}
}

func (x byExpression) search(window []byte) (found Finding, stop bool) {
	if x.giveBack.Match(window) {
		return Finding{Kind: GiveBack}, true
	}
	_, list, _ := bytes.Cut(window, []byte(unmetHeader))
	maybe := Finding{Kind: Maybe, Depends: Strip(choices(list))}
	if x.maybe.Match(window) {
		return maybe, true
	}
	if m := x.definite.FindSubmatch(window); m != nil {
		return usable(Finding{Kind: Definite, Depends: decode(m[1])}), true
	}
	if x.own.Match(window) {
		return maybe, true
	}
	return Finding{Kind: Maybe}, x.toolchain.Match(window)
}

// FuzzAnalyse compares the search with the expressions of the spec, window by
// window, for small chunks and a reader that returns little at a time.
func FuzzAnalyse(f *testing.F) {
	seeds := []string{
		unmetHeader + " x : Depends: a (>= 1) but it is not installable\n",
		unmetHeader + " x : Depends: a but it is not going to be installed\n Depends: b but 1 is installed\n",
		unmetHeader + " Depends: Depends: (x) but it is not installable\n",
		unmetHeader + " Depends: a ( Depends: b) but it is to be installed\n",
		unmetHeader + " Depends: a but it is not installed or\n",
		unmetHeader + unmetHeader + " Depends: \n but \n is installed\n",
		"x\n" + forceYesError + "\n",
		unmetHeader + " x : Depends: a but it is not going to be installed\n 1. a Depends b\n but none of the choices are installable:\n [no choices]\n",
		toolchainStart + "\n" + unmetHeader + " Depends: a but it is a virtual package\n",
	}
	for _, s := range seeds {
		f.Add([]byte(s), uint16(len(s)))
		f.Add([]byte(strings.Repeat("\n", 100)+s), uint16(130))
	}
	x := expressions()
	f.Fuzz(func(t *testing.T, log []byte, size uint16) {
		log = bytes.ToValidUTF8(log, nil) // regexp takes other bytes for characters
		chunk := 80 + int(size)%400
		var want Finding
		for end := chunk; ; end += chunk {
			start := max(0, end-2*chunk)
			if start > 0 && log[start-1] != '\n' && bytes.HasPrefix(log[start:], []byte("E: There")) {
				t.Skip("the expression takes the start of a window for that of a line")
			}
			var stop bool
			want, stop = x.search(log[start:min(end, len(log))])
			if stop || end > len(log) {
				break
			}
			if start > 0 && log[start-1] != '\n' && bytes.HasPrefix(log[start:], []byte("Toolchain")) {
				t.Skip("the expression takes the start of a window for that of a line")
			}
		}
		got, err := analyse(iotest.OneByteReader(bytes.NewReader(log)), true, chunk)
		if err != nil || got != want {
			t.Fatalf("got %+v (%v), want %+v", got, err, want)
		}
		again, err := analyse(bytes.NewReader(log), true, chunk)
		if err != nil || again != got {
			t.Fatalf("read at once: %+v (%v), byte by byte: %+v", again, err, got)
		}
	})
}
