package rpc

import (
	"io"
	"log/slog"
	"math"
	"net/http"
	"time"
)

// NewHTTPServer makes a server with time limits against clients that are slow
// or silent; the caller sets BaseContext and listens. There is no limit on a
// whole request: an ensurepresent of a base image may take minutes. Bodies and
// replies have deadlines of their own, which Server sets as it goes.
func NewHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h,
		// Spec: protocol.md section 1: 60 seconds while waiting for a request.
		ReadHeaderTimeout: 60 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// pacedWriter gives the client a limited time for each part of a reply that
// may be of any length.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	step    time.Duration
	next    func() // called before each part
}

func newPacedWriter(w http.ResponseWriter, step time.Duration, next func()) *pacedWriter {
	return &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), step: step, next: next}
}

// Unwrap lets http.ResponseController find the real writer.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) extend() {
	// Not every writer has deadlines; those of tests have no slow clients either.
	_ = w.control.SetWriteDeadline(time.Now().Add(w.step))
	w.next()
}

// Write sends one part.
func (w *pacedWriter) Write(p []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(p)
}

// ReadFrom copies in parts that the kernel may send straight from the file,
// for which it must see the file itself inside of one LimitedReader.
func (w *pacedWriter) ReadFrom(src io.Reader) (int64, error) {
	const part = 1 << 20
	outer, limited := src.(*io.LimitedReader)
	if !limited {
		outer = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	var total int64
	for outer.N > 0 {
		w.extend()
		inner := &io.LimitedReader{R: outer.R, N: min(outer.N, part)}
		n, err := io.Copy(w.ResponseWriter, inner)
		total += n
		outer.N -= n
		if err != nil || inner.N > 0 {
			return total, err
		}
	}
	return total, nil
}
