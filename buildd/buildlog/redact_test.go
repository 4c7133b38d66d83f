package buildlog_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"lpbuildd/buildd/buildlog"
)

// redact is the output for the input as one write and a flush.
func redact(t testing.TB, private bool, secrets []string, input string) string {
	t.Helper()
	return redactChunks(t, private, secrets, input, len(input))
}

// redactChunks is the output for writes of the given sizes, repeated.
func redactChunks(t testing.TB, private bool, secrets []string, input string, sizes ...int) string {
	t.Helper()
	var out bytes.Buffer
	r := buildlog.NewRedactor(&out, private, secrets)
	for i := 0; input != ""; i++ {
		n := min(max(1, sizes[i%len(sizes)]), len(input))
		if got, err := io.WriteString(r, input[:n]); err != nil || got != n {
			t.Fatalf("Write = %d, %v, want %d", got, err, n)
		}
		input = input[n:]
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var patternCases = []struct{ name, in, want string }{
	{"user and password in a URL", "http://buildd:secret@host gutsy", "http://host gutsy"},
	{"empty user", "http://:macaroon@h/p", "http://h/p"},
	{"user only", "http://u@h/", "http://u@h/"},
	{"user only with host name", "http://name@h.test/", "http://name@h.test/"},
	{"a port", "http://h.test:8080/z", "http://h.test:8080/z"},
	{"a port at the end of the word", "http://h.test:8080 z@y", "http://h.test:8080 z@y"},
	{"a port and an @ in the path", "http://h.test:8080/z@1.2/y", "http://h.test:8080/z@1.2/y"},
	{"a user, a port and an @ in the path", "http://u@h.test:80/z@1.2", "http://u@h.test:80/z@1.2"},
	{"a mail address", "user@mail.test", "user@mail.test"},
	{"a mail address after a colon", "a:user@mail.test", "a:user@mail.test"},
	{"a path", "file:///srv/a:b@c.d", "file:///srv/a:b@c.d"},
	{"an empty password", "http://u:@h/", "http://u:@h/"},
	{"no host", "http://u:secret@ x", "http:// x"},
	{"a password of digits", "http://u:1234@h/", "http://h/"},
	{"a password and a port", "http://u:secret@h.test:80/x", "http://h.test:80/x"},
	{"a slash in the password", "http://u:sec/ret@h.test/x", "http://h.test/x"},
	{"a slash in the password, short host", "http://u:p/w@h/", "http://h/"},
	{"a colon in the password", "http://u:p:q@h/", "http://h/"},
	{"an @ in the password", "http://u:sec@ret@h.test/y", "http://h.test/y"},
	{"an @ and then a slash in the password", "http://u:p@ss/w:d@h.test/y", "http://h.test/y"},
	{"an @ and a slash, then localhost", "http://u:p@ss/w@localhost:81/y", "http://localhost:81/y"},
	{"an @ and a slash, then an address", "http://u:p@ss/w@[::1]/y", "http://[::1]/y"},
	{"a mail address as user", "https://me@mail.test:secret@h.test/", "https://h.test/"},
	{"an @ in the path after credentials", "https://u:p@npm.test/@scope/pkg", "https://npm.test/@scope/pkg"},
	{"an @ in the path, short host", "http://u:p@h/a@b", "http://h/a@b"},
	{"a version after a repository", "git+https://u:p@git.test/r.git@v1.2", "git+https://git.test/r.git@v1.2"},
	{
		"two URLs on a line", "two https://u:secret2@h.test/x and http://:secret3@h.test/y end",
		"two https://h.test/x and http://h.test/y end",
	},
	{"two URLs in a word", "http://a:b@h/,http://c:d@i/", "http://h/,http://i/"},
	{"a URL in the path of one", "http://a:b@h/http://c:d@i/", "http://h/http://i/"},
	{"credentials in the second URL only", "http://h:8080/x,ftp://c:d@i/", "http://h:8080/x,ftp://i/"},
	{"no credentials before a second mark", "http://a:b://c@d/", "http://a:b://c@d/"},
	{"quotes around it", `url="http://a:b@h/";`, `url="http://h/";`},
	{"a tab ends the word", "http://a:b\tc@d.e", "http://a:b\tc@d.e"},
	{"a carriage return ends the word", "http://a:b\rc@d.e", "http://a:b\rc@d.e"},
	{
		"a proxy's credentials", "socat PROXY:p:h.test:443,proxyport=3128,proxyauth=user:secret-4,x=1",
		"socat PROXY:p:h.test:443,proxyport=3128,x=1",
	},
	{"a proxy's credentials at the end", "a,proxyport=3128,proxyauth=user:blah", "a,proxyport=3128"},
	{"odd characters in a proxy's secret", "a,proxyauth=u:ab_cd/e:f@g", "a"},
	{"a proxy's user only", "a,proxyauth=user,x=1:2", "a,proxyauth=user,x=1:2"},
	{"no proxy user", "a,proxyauth=:x y", "a,proxyauth=:x y"},
	{"no comma before proxyauth", "proxyauth=u:ab", "proxyauth=u:ab"},
	{"twice the same", ",proxyauth=a:b,proxyauth=c:d,e", ",e"},
	{"a URL with a port before proxyauth", "PROXY://h.test:x,proxyauth=u:a@b.c", "PROXY://h.test:x"},
	{"a URL after proxyauth", ",proxyauth=u:p,http://a:b@h/", ",http://h/"},
	{"beginnings of marks at the end", "a: b:/ c, d,proxyauth=", "a: b:/ c, d,proxyauth="},
	{"bytes that are no text", "\xff\x00\x1b[0m\rhttp://u:\xfe\x00@h\xff", "\xff\x00\x1b[0m\rhttp://h\xff"},
	{"nothing", "", ""},
}

func TestCredentialsAreRemovedByPattern(t *testing.T) {
	for _, c := range patternCases {
		t.Run(c.name, func(t *testing.T) {
			for _, end := range []string{"", "\n", " more\n"} {
				for size := 1; size <= len(c.in)+1; size++ {
					got := redactChunks(t, true, nil, c.in+end, size)
					if got != c.want+end {
						t.Fatalf("in writes of %d bytes\n got %q\nwant %q", size, got, c.want+end)
					}
				}
			}
			if got := redact(t, false, nil, c.in); got != c.in {
				t.Errorf("a public log was changed to %q", got)
			}
		})
	}
}

func TestSecretsAreRemovedByValue(t *testing.T) {
	const token = "tök/en+1 '2'\"<3>"
	b64 := base64.StdEncoding.EncodeToString
	cases := []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"as it is", []string{"hunter22"}, "a hunter22 b", "a [redacted] b"},
		{"twice", []string{"hunter22"}, "hunter22hunter22", "[redacted][redacted]"},
		{"almost", []string{"hunter22"}, "hunterhunter2 unter22", "hunterhunter2 unter22"},
		{"the longer of two", []string{"abcd", "abcdef"}, "abcdefg abcdeg", "[redacted]g [redacted]eg"},
		{"two that overlap", []string{"abcd", "cdef"}, "xabcdefx", "x[redacted]x"},
		{"overlapping itself", []string{"abab"}, "xabababx", "x[redacted]x"},
		{"one in another", []string{"bcde", "abcdefgh"}, "abcdefgh abcdef", "[redacted] a[redacted]f"},
		{"over a line end", []string{"one\ntwo"}, "one\ntwo\n", "[redacted]\n"},
		{"blanks around it do not count", []string{" hunter22\n"}, "hunter22", "[redacted]"},
		{"too short", []string{"abc", ""}, "abc", "abc"},
		{"none", nil, "abc", "abc"},
		{"with bytes that are no text", []string{"\xff\x00\xfe\x01"}, "a\xff\x00\xfe\x01b", "a[redacted]b"},
		{"URL-quoted in a query", []string{token}, url.QueryEscape(token), "[redacted]"},
		{"URL-quoted in a path", []string{token}, url.PathEscape(token), "[redacted]"},
		{"URL-quoted in small letters", []string{"a/b/c/d"}, "x=a%2fb%2fc%2fd", "x=[redacted]"},
		{"in base64", []string{"hunter22"}, b64([]byte("hunter22")), "[redacted]"},
		{"in base64 for URLs", []string{"\xff\xfe\xfd\xfc"}, "__79_A==", "[redacted]"},
		{"in JSON", []string{token}, `{"t": "tök/en+1 '2'\"<3>"}`, `{"t": "[redacted]"}`},
		{"quoted for a shell", []string{"it's me"}, `'it'"'"'s me'`, `'[redacted]'`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for size := 1; size <= len(c.in)+1; size++ {
				for _, private := range []bool{false, true} {
					got := redactChunks(t, private, c.secrets, c.in, size)
					if got != c.want {
						t.Fatalf("in writes of %d bytes, private %v\n got %q\nwant %q", size, private, got, c.want)
					}
				}
			}
		})
	}
}

func TestSecretInsideOtherBase64IsRemoved(t *testing.T) {
	const secret = "correct horse battery"
	for before := range 5 {
		text := base64.StdEncoding.EncodeToString([]byte("user:"[:before] + secret + "!"))
		got := redact(t, false, []string{secret}, text)
		if !strings.Contains(got, "[redacted]") || len(got) > len("[redacted]")+12 {
			t.Errorf("%d bytes before: got %q from %q", before, got, text)
		}
	}
}

func TestPatternsComeBeforeValues(t *testing.T) {
	for _, c := range []struct{ name, secret, in, want string }{
		{"the whole password", "secret", "http://u:secret@h/", "http://h/"},
		{"user and password", "u:secret", "http://u:secret@h/", "http://h/"},
		{"a password that the pattern cannot tell", "pa.ss@wo.rd/x", "http://u:pa.ss@wo.rd/x@h.test/", "http://h.test/"},
		{"a token as user", "token", "http://token@h/", "http://[redacted]@h/"},
		{"a password that looks like a port", "12/34", "http://u:12/34@h/", "http://u:[redacted]@h/"},
		{"a password that looks like a mark", "a://b", "http://u:a://b@h/", "http://u:[redacted]@h/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				if got := redactChunks(t, true, []string{c.secret}, c.in, size); got != c.want {
					t.Fatalf("in writes of %d bytes: got %q, want %q", size, got, c.want)
				}
			}
		})
	}
}

func TestPartialLinesAreNotHeldBack(t *testing.T) {
	for _, in := range []string{
		"Continue? [Y/n] ", "Password:", "....", "10% http://h.test/path", "http://h.test:80/p", "see http://",
		"a:/", "http", "http://u:p@h.test rest",
	} {
		var out bytes.Buffer
		r := buildlog.NewRedactor(&out, true, []string{"#hunter22"})
		if _, err := io.WriteString(r, in); err != nil {
			t.Fatal(err)
		}
		if want := strings.Replace(in, "u:p@", "", 1); out.String() != want {
			t.Errorf("of %q only %q is written", in, out.String())
		}
	}
}

func TestLongWordsNeedBoundedMemory(t *testing.T) {
	const secret = "hunter22"
	long := strings.Repeat("abcdefgh", 1<<17)
	for _, c := range []struct{ name, in, want string }{
		{"without a mark", long + secret + long, long + "[redacted]" + long},
		{"as a user", "http://" + long + secret + ":p@h", "http://" + long + "[redacted]:p@h"},
		{"as a password", "http://u:" + long + secret + "@h", "http://u:" + long + "[redacted]@h"},
		{"many marks", strings.Repeat("://", 1<<18) + secret, strings.Repeat("://", 1<<18) + "[redacted]"},
		{"many proxies", strings.Repeat(",proxyauth=", 1<<16), strings.Repeat(",proxyauth=", 1<<16)},
		{"many credentials", strings.Repeat("://a:b@c", 1<<16), strings.Repeat("://c", 1<<16)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1000, 70_001, len(c.in)} {
				var out bytes.Buffer
				r := buildlog.NewRedactor(&out, true, []string{secret})
				for rest, given := c.in, 0; rest != ""; {
					n := min(size, len(rest))
					if _, err := io.WriteString(r, rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest, given = rest[n:], given+n
					if held := given - out.Len(); c.in == c.want && held > 66<<10 {
						t.Fatalf("%d bytes are held back", held)
					}
				}
				if err := r.Flush(); err != nil || out.String() != c.want {
					t.Fatalf("in writes of %d bytes: wrong output of %d bytes, want %d; %v", size, out.Len(), len(c.want), err)
				}
			}
		})
	}
}

func TestRedactorReportsErrors(t *testing.T) {
	full := errors.New("full")
	r := buildlog.NewRedactor(failing{full}, true, nil)
	if n, err := io.WriteString(r, "text"); n != 0 || !errors.Is(err, full) {
		t.Errorf("Write = %d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestRedactingDoesNotAllocate(t *testing.T) {
	line := []byte("Get:1 http://user:secret1@host.test/a InRelease [hunter22]\n")
	r := buildlog.NewRedactor(io.Discard, true, []string{"hunter22"})
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := r.Write(line); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per write", allocs)
	}
}
