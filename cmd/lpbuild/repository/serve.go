package repository

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"strings"
)

// largestQuestion is the size in bytes of the longest request of a clone. One
// for a million branches is shorter.
const largestQuestion = 64 << 20

// Handler serves the copies to clones, shallow ones too. Nobody can change them.
func (c *Copy) Handler() (http.Handler, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("cannot serve the repository: %w", err)
	}
	backend := func(w http.ResponseWriter, q *http.Request) {
		if err := withLength(w, q); err != nil {
			http.Error(w, "the request is too long", http.StatusRequestEntityTooLarge)
			return
		}
		h := cgi.Handler{
			Path: program, Args: []string{"http-backend"}, Dir: c.folder,
			Env: []string{
				"GIT_PROJECT_ROOT=" + c.folder, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
				"GIT_PROTOCOL=" + q.Header.Get("Git-Protocol"),
			},
			Logger: log.New(io.Discard, "", 0), Stderr: io.Discard, // the client says what went wrong
		}
		h.ServeHTTP(w, q)
	}
	served := c.served()
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		for method, question := range map[string]string{http.MethodGet: "/info/refs", http.MethodPost: "/git-upload-pack"} {
			at, ok := strings.CutSuffix(q.URL.Path, question)
			if bare := served[strings.TrimPrefix(at, "/")]; ok && bare != "" && q.Method == method {
				q.URL.Path = "/" + bare + question
				backend(w, q)
				return
			}
		}
		http.NotFound(w, q)
	}), nil
}

// served tells which copy is served where, below the secret name: in as few folders
// as their submodules allow.
func (c *Copy) served() map[string]string {
	above := mostAbove
	for at := range c.copies {
		climbs := 0
		for strings.HasPrefix(at[climbs*len(upwards):], upwards) {
			climbs++
		}
		above = min(above, climbs)
	}
	served := map[string]string{}
	for at, bare := range c.copies {
		served[at[above*len(upwards):]] = bare
	}
	return served
}

// Place is where the repository itself is served.
func (c *Copy) Place() string {
	for at, bare := range c.served() {
		if bare == servedName {
			return at
		}
	}
	return ""
}

// withLength reads a request that comes in pieces: CGI must be told its length.
func withLength(w http.ResponseWriter, q *http.Request) error {
	if q.ContentLength >= 0 {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, q.Body, largestQuestion))
	if err != nil {
		return err
	}
	q.Body, q.ContentLength, q.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return nil
}
