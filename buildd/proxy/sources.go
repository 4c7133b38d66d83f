package proxy

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Credential is what an archive wants to see. It prints without its password.
type Credential struct {
	// URL has scheme, host and the path below which the credential counts.
	URL *url.URL
	// Username and Password are decoded; one of them can be empty.
	Username, Password string
}

// String shows nothing secret: a name alone can be a token.
func (c Credential) String() string { return "credential for " + c.URL.String() }

// GoString shows nothing secret.
func (c Credential) GoString() string { return c.String() }

// userinfo finds URLs with something before an @ in their authority, which for
// apt ends at the first slash.
var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s/]*)@(\S*)`)

// brokenUserinfo finds what looks like a name and a password with a slash that
// should have been encoded; or like a port and a path with an @, which hostPort
// tells.
var brokenUserinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s/@:\[\]]*:[^\s/@]*/\S*)@(\S*)`)

var hostPort = regexp.MustCompile(`^[^:]*:[0-9]*/`)

// Split takes lines for apt's sources apart: the same lines without credentials,
// and the credentials, each once. Credentials that nobody can use, as those of a
// URL that is none, are only removed.
func Split(lines []string) (clean []string, creds []Credential) {
	clean = make([]string, len(lines))
	for i, line := range lines {
		for found := true; found; {
			var c *Credential
			line, c, found = cut(line)
			same := func(old Credential) bool { return c.equal(old) }
			if c != nil && !slices.ContainsFunc(creds, same) {
				creds = append(creds, *c)
			}
		}
		clean[i] = line
	}
	return clean, creds
}

// cut removes the first credential of line. c is nil if it cannot be used.
func cut(line string) (rest string, c *Credential, found bool) {
	m := userinfo.FindStringSubmatchIndex(line)
	if m == nil {
		m = brokenUserinfo.FindStringSubmatchIndex(line)
		if m == nil || hostPort.MatchString(line[m[4]:m[5]]) {
			return line, nil, false
		}
	}
	secret := line[m[4]:m[5]]
	rest = line[:m[4]] + line[m[6]:]
	word := line[m[6]:m[7]]
	u, err := url.Parse(line[m[2]:m[3]] + word)
	// A path with another URL in it, and maybe another password, is no archive's.
	if err != nil || u.Host == "" || secret == "" || secret == ":" || strings.Contains(word, "://") {
		return rest, nil, true
	}
	u.RawQuery, u.Fragment, u.RawFragment, u.ForceQuery = "", "", "", false
	name, password, _ := strings.Cut(secret, ":")
	return rest, &Credential{URL: u, Username: decode(name), Password: decode(password)}, true
}

func (c *Credential) equal(o Credential) bool {
	return c.URL.String() == o.URL.String() && c.Username == o.Username && c.Password == o.Password
}

var escape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// decode undoes percent-encoding as apt does: what is not an escape stays.
func decode(s string) string {
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		plain, err := url.PathUnescape(e)
		if err != nil {
			return e
		}
		return plain
	})
}

// plainHost are hosts that can be written into apt's configuration.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$`)

// Injectable says whether Archives can add the credential. It cannot for https,
// where apt wants a tunnel that nobody looks into, nor for hosts that apt's
// configuration has no words for, as IPv6 addresses. These need AuthConf.
func (c Credential) Injectable() bool {
	return c.URL.Scheme == "http" && plainHost.MatchString(c.URL.Hostname())
}

// AuthConf is the content of a file for /etc/apt/auth.conf.d in the target, with
// mode 0600, owned by root: the way for credentials that are not Injectable. For
// the others Archives is better, as there the target never has them.
//
// The file can be read by root in the target, so by maintainer scripts of the
// packages that are installed, but not by the user who runs the build. It has to
// be removed before anything makes an image of the target. apt has no way to write
// white space in it; a credential with some is an error, as is one whose name or
// password is empty.
func AuthConf(creds []Credential) (string, error) {
	creds = slices.Clone(creds)
	// The first machine that matches counts.
	slices.SortStableFunc(creds, func(a, b Credential) int { return len(b.URL.Path) - len(a.URL.Path) })
	var b strings.Builder
	for _, c := range creds {
		for _, machine := range machines(c.URL) {
			if unfit(machine) || unfit(c.Username) || unfit(c.Password) {
				return "", fmt.Errorf("cannot write the %s in apt's form: a part is empty or has white space", c)
			}
			fmt.Fprintf(&b, "machine %s login %s password %s\n", machine, c.Username, c.Password)
		}
	}
	return b.String(), nil
}

func unfit(word string) bool {
	blank := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
	return word == "" || strings.ContainsFunc(word, blank)
}

// aptEscapes are what apt escapes in a path beyond what is usual.
var aptEscapes = strings.NewReplacer("+", "%2b", "~", "%7e")

// machines are the names under which apt may look for what is below u.
func machines(u *url.URL) []string {
	path := strings.TrimSuffix(u.EscapedPath(), "/") + "/"
	host := u.Host
	if u.Scheme != "https" {
		// Old versions of apt know only machines without a scheme, which are https.
		host = u.Scheme + "://" + host
	}
	return slices.Compact([]string{host + path, host + aptEscapes.Replace(path)})
}
