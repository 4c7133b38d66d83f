package filecache

import (
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// The law: what parseRanges accepts lies inside the file, and net/http reads
// what formatRanges writes.
func FuzzRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-9", "bytes=-5", "bytes=5-", "bytes=9-1", "bytes=-0", "bytes=0-0,-1, 7-99999999999999999999", "x=1-2", "bytes="} {
		f.Add(s, int64(1000))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		size = max(size, -size, 0) % (1 << 40)
		ranges, ok := parseRanges(header, size)
		if !ok && len(ranges) > 0 {
			t.Fatalf("%q is ignored but gives %v", header, ranges)
		}
		for _, r := range ranges {
			if r.first < 0 || r.last >= size || r.first > r.last {
				t.Fatalf("%q for %d bytes gives %v", header, size, r)
			}
		}
		if again, ok := parseRanges(formatRanges(ranges), size); len(ranges) > 0 && (!ok || fmt.Sprint(again) != fmt.Sprint(ranges)) {
			t.Fatalf("%q gives %v, and then %v", header, ranges, again)
		}
	})
}

// The law: no reason holds a password, in whatever encoding and between whatever
// words a server repeats it, unless the words are not the server's.
func FuzzReasons(f *testing.F) {
	f.Add("reader", "macaroon/1", "No ", " here", uint8(0))
	f.Add("", "p%2Fw\"<&>", "", "%", uint8(1))
	f.Add("u", "ä b+c\\", "&amp;", "\x00", uint8(2))
	f.Add("u", "Forbidden", "", "", uint8(3))
	encodings := []func(string) string{
		func(s string) string { return s }, url.QueryEscape, url.PathEscape, html.EscapeString, strings.ToUpper,
		func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		func(s string) string { return url.PathEscape(url.PathEscape(s)) },
		func(s string) string { return "http://user:" + url.QueryEscape(s) + "@host/" },
	}
	f.Fuzz(func(t *testing.T, user, password, before, after string, how uint8) {
		if !utf8.ValidString(password) || len(strings.TrimSpace(password)) < 3 {
			return // XML has no other text
		}
		repeated := encodings[int(how)%len(encodings)](password)
		before, after = before+" ", " "+after // so that they are no part of an encoding
		var s secrets
		s.add(user, password)
		for ours, err := range map[string]error{
			"HTTP Error 403: Forbidden": &answerError{code: 403, words: before + repeated + after},
			"HTTP Error 302: Found - Redirection to url '[redacted]' is not allowed": &answerError{code: 302, words: "Found", target: before + repeated + after},
			"the download failed": errors.New(before + repeated + after),
		} {
			got := reason(err, s)
			if got != ours && (strings.Contains(got, repeated) || strings.Contains(got, password)) && !strings.Contains(ours, password) {
				t.Errorf("%q: got %q", repeated, got)
			}
			if strings.ContainsAny(got, "\r\n") || len([]rune(got)) > 3*maxReason {
				t.Errorf("%q is no short line", got)
			}
		}
	})
}
