package builders

import (
	"net/url"
	"slices"
	"strings"

	"lpbuildd/ordered"
)

// shortestSecret is the length in bytes below which a secret is not looked
// for: removing it everywhere would shred the log.
const shortestSecret = 4

// shortestSetting is the length from which the setting of a plugin counts as a
// secret: "true" and the like are not.
const shortestSetting = 8

// shortestToken is the length from which the user part of a URL without a
// password is taken for an access token rather than for a name.
const shortestToken = 20

// Secrets returns the exact secret values in a build's arguments, at any
// depth: passwords of URLs, with and without their user, and everything under
// a key that names a secret; each also as it reads without percent-encoding.
// The longest come first, so that none hides a longer one; nothing is shorter
// than 4 bytes. Everything else in a log is none of this function's business.
func Secrets(args Args) []string {
	found := secretSet{}
	for key, v := range args {
		found.walk(v, secretKey(key))
	}
	settings, _ := args.StringMap("plugin_settings") // checked elsewhere
	for _, m := range settings {
		if len(m.Value) >= shortestSetting {
			found.addWhole(m.Value)
		}
	}
	list := make([]string, 0, len(found))
	for s := range found {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return list
}

type secretSet map[string]struct{}

func (s secretSet) add(value string) {
	for _, form := range []string{value, unescaped(value)} {
		if len(form) >= shortestSecret {
			s[form] = struct{}{}
		}
	}
}

func unescaped(s string) string {
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return plain
}

// walk collects what is secret in a value; secret says that all of it is.
func (s secretSet) walk(v any, secret bool) {
	if members, ok := ordered.AsStruct(v); ok {
		for _, m := range members {
			s.walk(m.Value, secret || secretKey(m.Name))
		}
		return
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			s.walk(item, secret)
		}
	case []string:
		for _, item := range v {
			s.walk(item, secret)
		}
	case []byte:
		if secret {
			s.addWhole(string(v))
		}
	case string:
		s.addURLs(v)
		if secret {
			s.addWhole(v)
		}
	}
}

// addWhole takes a whole value for a secret. Its lines are secrets too,
// because a log shows it line by line, and so is the second half of
// user:token.
func (s secretSet) addWhole(value string) {
	value = strings.TrimSpace(value)
	s.add(value)
	if !strings.Contains(value, "\n") {
		if _, token, ok := strings.Cut(value, ":"); ok && !strings.HasPrefix(token, "//") {
			s.add(token)
		}
		return
	}
	for line := range strings.Lines(value) {
		if line = strings.TrimSpace(line); len(line) >= 2*shortestSecret {
			s.add(line)
		}
	}
}

func (s secretSet) addURLs(text string) {
	for {
		_, rest, ok := strings.Cut(text, "://")
		if !ok {
			return
		}
		s.addUserInfo(userInfo(rest))
		text = rest
	}
}

func (s secretSet) addUserInfo(info string) {
	user, password, ok := strings.Cut(info, ":")
	switch {
	case !ok && len(user) >= shortestToken:
		s.add(user)
	case ok && password != "":
		s.add(password)
		s.add(info)
	}
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

// secretKey reports whether a key says that its value is secret.
func secretKey(key string) bool {
	key = strings.ToLower(key)
	for _, word := range []string{
		"password", "passwd", "passphrase", "secret", "token", "macaroon", "credentials", "api_key", "apikey", "private_key",
	} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return key == "auth" || strings.HasSuffix(key, "_auth") || IsPublisher(strings.ToUpper(key))
}

// WithoutUserInfo leaves out what stands before the host of a URL.
func WithoutUserInfo(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		return u
	}
	if info := userInfo(rest); info != "" {
		rest = strings.TrimPrefix(rest, info+"@")
	}
	return scheme + "://" + rest
}

// IsPublisher tells the variables of the manager's own publisher, which may be sent,
// too: as a mirror its repository would catch every download.
func IsPublisher(variable string) bool {
	return strings.HasPrefix(variable, "CARGO_PUBLISH_") || strings.HasPrefix(variable, "MAVEN_PUBLISH_")
}
