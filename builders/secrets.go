package builders

import (
	"slices"
	"strings"

	"lpbuildd/builders/credentials"
	"lpbuildd/ordered"
)

// shortestSetting is the length from which the setting of a plugin counts as a
// secret: "true" and the like are not.
const shortestSetting = 8

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

// add adds a secret in all its forms.
func (s secretSet) add(secret string) { s.addForms(credentials.Forms(secret)) }

func (s secretSet) addForms(forms []string) {
	for _, form := range forms {
		s[form] = struct{}{}
	}
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
		s.addForms(credentials.In(v))
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
		if line = strings.TrimSpace(line); len(line) >= 2*credentials.Shortest {
			s.add(line)
		}
	}
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

// IsPublisher tells the variables of the manager's own publisher, which may be sent,
// too: as a mirror its repository would catch every download.
func IsPublisher(variable string) bool {
	return strings.HasPrefix(variable, "CARGO_PUBLISH_") || strings.HasPrefix(variable, "MAVEN_PUBLISH_")
}
