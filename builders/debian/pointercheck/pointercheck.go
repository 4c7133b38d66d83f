// Package pointercheck is run by root, inside the namespaces of a build, and
// touches nothing but what passes by: it finds implicitly declared functions whose
// result a compiler turned into a pointer, in the output of a build as it passes
// by. See spec: builders.md section 2.4.
//
// It knows exactly the two warnings given there, with ASCII quotation marks, as
// compilers print them in the C locale. Compilers that print other marks or
// other words refuse such code by themselves or are judged by their exit code;
// a filter that guesses more would fail good packages.
package pointercheck

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

const (
	// maxLine is how much of a line is looked at.
	maxLine = 64 << 10
	// maxKept limits the messages kept for the end, in bytes.
	maxKept = 1 << 20
)

// Writer passes everything on at once, unchanged, and writes a message after
// each line that converts an implicitly declared function to a pointer. It is
// not safe for concurrent use, and holds at most about 1 MiB.
type Writer struct {
	dst io.Writer
	// line is the start of the unfinished last line; empty if there is none.
	line []byte
	// last is the most recent implicit declaration.
	last declaration

	messages []string
	kept     int // bytes of messages
	dropped  int // messages that were written but not kept
}

type declaration struct {
	place
	function string
}

// place is where a compiler saw something; line is the number as printed.
type place struct {
	file, line string
}

// NewWriter returns a Writer that passes on to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Write passes p on. It returns an error of dst only; n counts bytes of p.
func (w *Writer) Write(p []byte) (n int, err error) {
	pos := 0 // where the next line to look at starts
	if len(w.line) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.keep(p)
			return w.dst.Write(p)
		}
		w.keep(p[:i])
		pos = i + 1
		n, err = w.report(w.line, p, 0, pos)
		w.line = w.line[:0]
		if err != nil {
			return n, err
		}
	}
	whole := bytes.LastIndexByte(p, '\n') + 1
	for pos < whole {
		hit := bytes.Index(p[pos:whole], []byte(marker))
		if hit < 0 {
			break
		}
		start := pos + bytes.LastIndexByte(p[pos:pos+hit], '\n') + 1
		end := pos + hit + bytes.IndexByte(p[pos+hit:], '\n')
		pos = end + 1
		if n, err = w.report(p[start:end], p, n, pos); err != nil {
			return n, err
		}
	}
	w.keep(p[whole:])
	if n == len(p) {
		return n, nil
	}
	m, err := w.dst.Write(p[n:])
	return n + m, err
}

// keep remembers the start of an unfinished line.
func (w *Writer) keep(part []byte) {
	w.line = append(w.line, part[:min(len(part), maxLine-len(w.line))]...)
}

// report looks at a line without its end. If it earns a message, p from n up to
// end is passed on and the message written. It returns how much of p has been
// passed on.
func (w *Writer) report(line, p []byte, n, end int) (int, error) {
	message := w.inspect(line)
	if message == "" {
		return n, nil
	}
	m, err := w.dst.Write(p[n:end])
	if err == nil {
		_, err = io.WriteString(w.dst, message+"\n")
	}
	return n + m, err
}

// inspect returns the message that the line earns, "" for none.
func (w *Writer) inspect(line []byte) string {
	at, warning, ok := splitWarning(line[:min(len(line), maxLine)])
	if !ok {
		return ""
	}
	if function, ok := implicitDeclaration(warning); ok {
		w.last = declaration{place{string(at.file), string(at.line)}, string(function)}
		return ""
	}
	if !pointerConversion(warning) || string(at.file) != w.last.file || string(at.line) != w.last.line {
		return ""
	}
	message := fmt.Sprintf("Function `%s' implicitly converted to pointer at %s:%s",
		w.last.function, w.last.file, w.last.line)
	w.remember(message)
	return message
}

func (w *Writer) remember(message string) {
	if w.kept+len(message) > maxKept {
		w.dropped++
		return
	}
	w.kept += len(message)
	w.messages = append(w.messages, message)
}

// Finish looks at an unfinished last line and, if there were any messages,
// writes all of them again with an explanation. failed says that the build must
// fail: there were messages, and they are not only warnings. Nothing may be
// written after it.
func (w *Writer) Finish(warnOnly bool) (failed bool, err error) {
	var end strings.Builder
	message := w.inspect(w.line)
	if len(w.messages) == 0 {
		return false, nil
	}
	if len(w.line) > 0 {
		end.WriteString("\n")
	}
	if message != "" {
		end.WriteString(message + "\n")
	}
	end.WriteString(strings.Join(w.messages, "\n"))
	if w.dropped > 0 {
		fmt.Fprintf(&end, "\n... and %d more", w.dropped)
	}
	end.WriteString("\n\n" + explanation)
	_, err = io.WriteString(w.dst, end.String())
	return !warnOnly, err
}

// explanation follows the messages; its first words are fixed by the spec.
const explanation = `

Our automated build log filter found calls of functions that were never
declared and whose results are used as pointers (listed above). The compiler
takes such a result for an int, so the upper half of the address is lost where
pointers are longer than that: on every 64-bit machine the program is likely to
crash there. Include the header that declares each function, or declare it.

See http://wiki.debian.org/ImplicitPointerConversions
`
