package proxy

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	redacted = "[redacted]"
	// minSecret is the length below which a secret would hide half of the log.
	minSecret = 4
	// maxField bounds what a build can put into one field of a line.
	maxField = 4096
	// maxNotes bounds the lines of one kind that are not about a single request.
	maxNotes = 8
)

// accessLog writes to the build log, without secrets.
type accessLog struct {
	name    string
	secrets *strings.Replacer

	mu   sync.Mutex
	w    io.Writer           // guarded by mu
	said map[string][]string // lines by kind; guarded by mu
}

func newAccessLog(name string, w io.Writer, secrets []string) *accessLog {
	if w == nil {
		w = io.Discard
	}
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, redacted)
	}
	return &accessLog{name: name, w: w, secrets: strings.NewReplacer(pairs...), said: map[string][]string{}}
}

func (l *accessLog) write(line string) {
	line = l.secrets.Replace(line) + "\n"
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = io.WriteString(l.w, line)
}

// once writes a line of its own, unless it has been written already. The format
// is the kind of the line, of which there are not many.
func (l *accessLog) once(format string, args ...any) {
	line := l.name + ": " + fmt.Sprintf(format, args...)
	l.mu.Lock()
	said := l.said[format]
	news := len(said) < maxNotes && !slices.Contains(said, line)
	if news {
		l.said[format] = append(said, line)
	}
	l.mu.Unlock()
	if news {
		l.write(line)
	}
}

// request writes the line of a finished request (spec: proxy.md section 2).
func (l *accessLog) request(x *exchange, r *http.Request) {
	l.write(fmt.Sprintf(`[%s] "%s %s %s" %s %s "%s" "%s"`,
		time.Now().UTC().Format("02/Jan/2006:15:04:05 +0000"),
		field(r.Method), field(publicURI(r.RequestURI)), field(r.Proto),
		number(int64(x.status)), number(x.sent),
		field(publicURI(r.Referer())), field(r.UserAgent())))
}

func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// field is s so that it can neither end the field nor the line.
func field(s string) string {
	if s == "" {
		return "-"
	}
	end := ""
	if len(s) > maxField {
		s, end = s[:maxField], "..."
	}
	quoted := strconv.QuoteToASCII(s)
	return quoted[1:len(quoted)-1] + end
}

// telling are names of query parameters whose values let one in.
var telling = regexp.MustCompile(`(?i)token|secret|passw|pwd|sig|cred|key|auth|macaroon|session|jwt|code`)

// publicURI is uri without its userinfo, and without the values of parameters
// that are secrets by their name.
func publicURI(uri string) string {
	uri = withoutUserinfo(uri)
	path, query, ok := strings.Cut(uri, "?")
	if !ok {
		return uri
	}
	query, fragment, _ := strings.Cut(query, "#")
	var b strings.Builder
	b.WriteString(path)
	separator := byte('?')
	for query != "" || separator == '?' {
		end := strings.IndexAny(query, "&;")
		if end < 0 {
			end = len(query)
		}
		b.WriteByte(separator)
		b.WriteString(publicParameter(query[:end]))
		if end == len(query) {
			break
		}
		separator, query = query[end], query[end+1:]
	}
	if fragment != "" {
		b.WriteString("#" + fragment)
	}
	return b.String()
}

func publicParameter(parameter string) string {
	name, value, _ := strings.Cut(parameter, "=")
	plain, err := url.QueryUnescape(name)
	if value != "" && (err != nil || telling.MatchString(plain)) {
		return name + "=" + redacted
	}
	return parameter
}

// withoutUserinfo removes what stands before an @ in the authority of a URI, or
// of the bare authority that CONNECT has.
func withoutUserinfo(uri string) string {
	start := 0
	if i := strings.Index(uri, "://"); i >= 0 {
		start = i + 3
	}
	end := len(uri)
	if i := strings.IndexAny(uri[start:], "/?#"); i >= 0 {
		end = start + i
	}
	at := strings.LastIndexByte(uri[start:end], '@')
	return uri[:start] + uri[start+at+1:]
}

// secretForms are the ways in which a password can appear in a text. The longest
// come first, as they contain the others.
func secretForms(user, password string) []string {
	pair := user + ":" + password
	forms := []string{
		base64.StdEncoding.EncodeToString([]byte(pair)), pair,
		url.UserPassword("", password).String()[1:], url.QueryEscape(password), password,
	}
	if len(password) < minSecret {
		return nil
	}
	return forms
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// noteWriter is for what net/http wants to say.
type noteWriter struct{ log *accessLog }

// Write writes a whole line.
func (w noteWriter) Write(p []byte) (int, error) {
	w.log.once("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}
