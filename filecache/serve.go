package filecache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
)

const servePath = "/filecache"

// server answers requests for files. It asks nobody else than the folder.
type server struct {
	folder *folder
	log    *slog.Logger
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	rest, ok := strings.CutPrefix(path, servePath+"/")
	switch {
	case path == servePath:
		http.Redirect(w, r, servePath+"/", http.StatusFound)
	case !ok:
		refuse(w, http.StatusNotFound, "No Such Resource")
	case rest == "":
		if methodFits(w, r) {
			page(w, http.StatusOK, "File cache", "Files are served by name; they are not listed.")
		}
	default:
		s.serve(w, r, rest)
	}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, segment string) {
	name, ok := servedName(segment)
	if !ok {
		refuse(w, http.StatusNotFound, "No Such Resource")
		return
	}
	f, info, err := s.folder.open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, http.StatusNotFound, "No Such Resource")
		return
	case errors.Is(err, fs.ErrPermission):
		refuse(w, http.StatusForbidden, "Forbidden")
		return
	case err != nil:
		s.log.ErrorContext(r.Context(), "cannot serve a cached file", "name", name, "error", err)
		refuse(w, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	defer func() { _ = f.Close() }()
	if !methodFits(w, r) {
		return
	}
	if !fixHeaders(w, r, info.Size()) {
		return
	}
	// net/http sends a plain file without copying it, but to its end.
	var content io.ReadSeeker = f
	if name == logName {
		content = io.NewSectionReader(f, 0, info.Size())
	}
	http.ServeContent(w, r, "", info.ModTime(), content)
}

// servedName is the name in a segment of a path, if it may be served at all.
func servedName(segment string) (string, bool) {
	if strings.Contains(segment, "/") {
		return "", false
	}
	name, err := url.PathUnescape(segment)
	if err != nil {
		return "", false
	}
	return name, name == logName || CheckName(name) == nil
}

func methodFits(w http.ResponseWriter, r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return true
	case http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	default:
		refuse(w, http.StatusNotImplemented, "Not Implemented")
	}
	return false
}

// fixHeaders makes net/http follow the specification: there are no entity tags, and
// ranges without sense are ignored. It is false if the request is answered.
func fixHeaders(w http.ResponseWriter, r *http.Request, size int64) bool {
	for _, name := range []string{"If-Match", "If-None-Match", "If-Unmodified-Since"} {
		r.Header.Del(name)
	}
	w.Header().Set("Content-Type", "text/html")
	given := r.Header.Get("Range")
	if given == "" {
		return true
	}
	ranges, ok := parseRanges(given, size)
	switch {
	case !ok:
		r.Header.Del("Range")
	case len(ranges) > 0:
		r.Header.Set("Range", formatRanges(ranges))
	case r.Header.Get("If-Range") != "":
		// Whether the ranges count at all is for net/http to find out.
	default:
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return false
	}
	return true
}

func refuse(w http.ResponseWriter, status int, text string) {
	page(w, status, fmt.Sprintf("%d - %s", status, text), text+".")
}

func page(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html>\n  <head><title>%s</title></head>\n  <body>\n    <h1>%s</h1>\n    <p>%s</p>\n  </body>\n</html>\n",
		title, title, text)
}
