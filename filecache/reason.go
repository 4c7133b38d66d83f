package filecache

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// reasonError is a text that goes to the caller as it is: those of the
// reference that people know.
type reasonError string

func (e reasonError) Error() string { return string(e) }

func urlopenError(text string) error { return reasonError("<urlopen error " + text + ">") }

func statusError(resp *http.Response) error {
	return reasonError(fmt.Sprintf("HTTP Error %d: %s", resp.StatusCode, phrase(resp)))
}

// phrase is the reason phrase of the server.
func phrase(resp *http.Response) string {
	return printable(strings.TrimPrefix(strings.TrimPrefix(resp.Status, strconv.Itoa(resp.StatusCode)), " "))
}

// reason says why a download failed, in the words of the reference where it has
// some, and without secrets.
func reason(err error) string {
	// The text of a url.Error has the whole URL.
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	var (
		known reasonError
		dns   *net.DNSError
		errno syscall.Errno
		op    *net.OpError
	)
	switch {
	case errors.As(err, &known):
		return string(known)
	case errors.As(err, &dns) && dns.IsNotFound:
		return urlopenError("[Errno -2] Name or service not known").Error()
	case errors.As(err, &dns) && dns.IsTemporary:
		return urlopenError("[Errno -3] Temporary failure in name resolution").Error()
	case errors.As(err, &op) && op.Op == "dial" && errors.As(err, &errno):
		return urlopenError(errnoText(errno)).Error()
	case errors.As(err, &op) && errors.As(err, &errno):
		return errnoText(errno)
	case errors.Is(err, syscall.ENOSPC):
		return errnoText(syscall.ENOSPC) + " (" + printable(err.Error()) + ")"
	case errors.Is(err, io.EOF):
		return "Remote end closed connection without response"
	case errors.Is(err, errIdle):
		return urlopenError(err.Error()).Error()
	}
	return redact(printable(err.Error()))
}

func errnoText(errno syscall.Errno) string {
	text := errno.Error()
	return fmt.Sprintf("[Errno %d] %s%s", int(errno), strings.ToUpper(text[:1]), text[1:])
}

const maxReason = 1000

// printable makes one line of a text that may come from anywhere. What is no
// UTF-8 is taken for Latin-1, as the reference does.
func printable(s string) string {
	if !utf8.ValidString(s) {
		runes := make([]rune, 0, len(s))
		for i := range len(s) {
			runes = append(runes, rune(s[i]))
		}
		s = string(runes)
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\uFFFE' || r == '\uFFFF' {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > maxReason {
		return string(r[:maxReason]) + "..."
	}
	return s
}

// redact removes user information from the URLs in a text, for example that of
// a proxy.
func redact(text string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, "//")
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		i += len("//")
		b.WriteString(text[:i])
		text = text[i:]
		end := strings.IndexAny(text, " \"'>")
		if end < 0 {
			end = len(text)
		}
		if at := strings.LastIndexByte(text[:end], '@'); at >= 0 {
			b.WriteString("[redacted]")
			text = text[at:]
		}
	}
}
