package filecache

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// errIdle is the end of a connection on which nothing comes.
var errIdle = errors.New("timed out")

// reasonError is a text that goes to the caller as it is: those of the
// reference that people know. Nothing of it comes from a server.
type reasonError string

func (e reasonError) Error() string { return string(e) }

func urlopenError(text string) error { return reasonError("<urlopen error " + text + ">") }

// tooManyRedirects is the text of the reference, in one line.
const tooManyRedirects = "The HTTP server returned a redirect error that would lead to an infinite loop. " +
	"The last 30x error message was: "

// answerError is an answer of a server that is no content. Its words, and the
// place that it leads to, are the server's.
type answerError struct {
	code          int
	words, target string
	loops         bool
}

// refusal is the error for an answer.
func refusal(resp *http.Response) *answerError {
	words := strings.TrimPrefix(strings.TrimPrefix(resp.Status, strconv.Itoa(resp.StatusCode)), " ")
	return &answerError{code: resp.StatusCode, words: words}
}

func (e *answerError) Error() string { return e.reason(nil) }

func (e *answerError) reason(s secrets) string {
	words := s.without(e.words, http.StatusText(e.code))
	switch text := fmt.Sprintf("HTTP Error %d: ", e.code); {
	case e.loops:
		return text + tooManyRedirects + words
	case e.target != "":
		return text + words + " - Redirection to url '" + s.without(e.target, "[redacted]") + "' is not allowed"
	default:
		return text + words
	}
}

// reason says in one short line why a download failed, in the words of the
// reference where it has some. People see it who must not see credentials, and
// servers may repeat those (spec: 2026.md section 9).
func reason(err error, s secrets) string {
	// The text of a url.Error has the whole URL.
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	var (
		known  reasonError
		answer *answerError
		dns    *net.DNSError
		errno  syscall.Errno
		op     *net.OpError
	)
	switch {
	case errors.As(err, &known):
		return printable(string(known))
	case errors.As(err, &answer):
		return answer.reason(s)
	case errors.As(err, &dns) && dns.IsNotFound:
		return urlopenError("[Errno -2] Name or service not known").Error()
	case errors.As(err, &dns): // whose text has the name, which may be part of a password
		return urlopenError("[Errno -3] Temporary failure in name resolution").Error()
	case errors.As(err, &op) && op.Op == "dial" && errors.As(err, &errno):
		return urlopenError(errnoText(errno)).Error()
	case errors.As(err, &op) && errors.As(err, &errno):
		return errnoText(errno)
	case errors.As(err, &op) && op.Timeout():
		return urlopenError("timed out").Error()
	case errors.Is(err, syscall.ENOSPC):
		return errnoText(syscall.ENOSPC) + " (" + printable(err.Error()) + ")"
	case errors.Is(err, io.EOF):
		return "Remote end closed connection without response"
	case errors.Is(err, errIdle):
		return urlopenError(err.Error()).Error()
	case isTLS(err):
		return urlopenError(s.without(unquoted(err), "no secure connection")).Error()
	}
	return s.without(unquoted(err), "the download failed")
}

// isTLS tells whether a connection failed for want of trust.
func isTLS(err error) bool {
	var (
		record       tls.RecordHeaderError
		alert        tls.AlertError
		verification *tls.CertificateVerificationError
		host         x509.HostnameError
	)
	return errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &verification) || errors.As(err, &host)
}

func errnoText(errno syscall.Errno) string {
	text := errno.Error()
	return fmt.Sprintf("[Errno %d] %s%s", int(errno), strings.ToUpper(text[:1]), text[1:])
}

// quoted is where net/http and net/url repeat what they cannot read.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// unquoted takes out of the text of an error what a server has sent.
func unquoted(err error) string {
	if protocol := textproto.ProtocolError(""); errors.As(err, &protocol) {
		text, _, _ := strings.Cut(string(protocol), ":")
		return text
	}
	return quoted.ReplaceAllString(err.Error(), `"..."`)
}
