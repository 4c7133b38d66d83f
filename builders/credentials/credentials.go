// Package credentials is run by whoever has a URL, the daemon, the supervisor's processes and build types, and touches
// nothing: it is given texts, and finds what is secret in the URLs of them.
package credentials

import (
	"net/url"
	"strings"
)

// Shortest is the length in bytes below which a secret is not looked for:
// removing it everywhere would shred the log.
const Shortest = 4

// shortestToken is the length from which the user part of a URL without a
// password is taken for an access token rather than for a name.
const shortestToken = 20

// In returns the secrets of all URLs in a text: passwords, with and without
// their user, and tokens that stand in place of a user, each in all its Forms.
func In(text string) []string {
	var found []string
	for {
		_, rest, ok := strings.Cut(text, "://")
		if !ok {
			return found
		}
		for _, secret := range ofUserInfo(userInfo(rest)) {
			found = append(found, Forms(secret)...)
		}
		text = rest
	}
}

// Forms are how a secret may stand in a log: as it is written, and as it reads
// without percent-encoding. None is shorter than Shortest.
func Forms(secret string) []string {
	forms := []string{secret}
	if plain, err := url.PathUnescape(secret); err == nil && plain != secret {
		forms = append(forms, plain)
	}
	var long []string
	for _, form := range forms {
		if len(form) >= Shortest {
			long = append(long, form)
		}
	}
	return long
}

// Without leaves out what stands before the host of a URL, secret or not.
func Without(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		return u
	}
	if info := userInfo(rest); info != "" {
		rest = strings.TrimPrefix(rest, info+"@")
	}
	return scheme + "://" + rest
}

// ofUserInfo is what is secret before the host of a URL.
func ofUserInfo(info string) []string {
	user, password, ok := strings.Cut(info, ":")
	switch {
	case !ok && len(user) >= shortestToken:
		return []string{user}
	case ok && password != "":
		return []string{password, info}
	}
	return nil
}

// userInfo returns what stands before the host in the rest of a URL. A
// password with an unescaped "/", "?" or "#" in it is recognised by what would
// otherwise be a port, but is no number (weakness D5).
func userInfo(rest string) string {
	if i := strings.IndexAny(rest, " \t\r\n\"'<>"); i >= 0 {
		rest = rest[:i]
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		return authority[:i]
	}
	_, port, ok := strings.Cut(authority, ":")
	last := strings.LastIndexByte(rest, '@')
	if !ok || last < 0 || strings.Trim(port, "0123456789") == "" || strings.HasPrefix(authority, "[") {
		return ""
	}
	return rest[:last]
}
