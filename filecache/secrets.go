package filecache

import (
	"encoding/base64"
	"html"
	"net/url"
	"strings"
)

// secrets are what no text may say that goes to people: credentials, in lower
// case.
type secrets []string

func (s *secrets) addUser(u *url.Userinfo) {
	password, _ := u.Password()
	s.add(u.Username(), password)
}

func (s *secrets) add(user, password string) {
	words := []string{user, password}
	if password != "" {
		for _, text := range []string{password, user + ":" + password} {
			words = append(words, base64.RawStdEncoding.EncodeToString([]byte(text)), base64.RawURLEncoding.EncodeToString([]byte(text)))
		}
	}
	for _, word := range words {
		if word != "" {
			*s = append(*s, strings.ToLower(word))
		}
	}
}

// without is a text of somebody else, as one short line and without the user
// information of URLs. If there is a secret in it, plain or in one of the usual
// encodings, all of it is replaced by other words: what is left of it would tell
// where the secret was.
func (s secrets) without(text, otherwise string) string {
	const longest = 4 << 10 // of what is looked through: nobody reads more
	if text == otherwise || len(text) > longest {
		return otherwise
	}
	for _, form := range forms(text) {
		for _, secret := range s {
			if strings.Contains(form, secret) {
				return otherwise
			}
		}
	}
	return printable(redact(oneLine(text)))
}

// forms are the ways to read a text, in lower case: the encodings undone in any
// order, since what looks like one may be part of a secret.
func forms(text string) []string {
	const encodings = 5 // one in the other, which is more than anybody makes by accident
	line := oneLine(text)
	found := map[string]bool{}
	fresh := []string{text, strings.ReplaceAll(text, "+", " "), line, strings.ReplaceAll(line, "+", " ")}
	var all []string
	for range encodings {
		var next []string
		for _, form := range fresh {
			if found[form] {
				continue
			}
			found[form] = true
			all = append(all, strings.ToLower(form))
			next = append(next, html.UnescapeString(form), unescaped(form), strings.ReplaceAll(form, `\`, ""))
		}
		fresh = next
	}
	return all
}

// unescaped undoes percent-encoding, where there is some.
func unescaped(s string) string {
	parts := strings.Split(s, "%")
	for i, part := range parts[1:] {
		const digits = 2
		if len(part) < digits {
			parts[i+1] = "%" + part
		} else if c, err := url.PathUnescape("%" + part[:digits]); err == nil {
			parts[i+1] = c + part[digits:]
		} else {
			parts[i+1] = "%" + part
		}
	}
	return strings.Join(parts, "")
}
