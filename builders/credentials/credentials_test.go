package credentials_test

import (
	"slices"
	"testing"

	"lpbuildd/builders/credentials"
)

func TestIn(t *testing.T) {
	for text, want := range map[string][]string{
		"no URL":                                    nil,
		"http://host.test/":                         nil,
		"http://somebody@host.test/":                nil,
		"http://somebody:@host.test/":               nil,
		"http://user:secret@host.test/":             {"secret", "user:secret"},
		"a://u:pass1@h,b://v:pass2@i":               {"pass1", "u:pass1", "pass2", "v:pass2"},
		"http://u:abc@h/":                           {"u:abc"},
		"http://u:a%2Fb%40c@h/":                     {"a%2Fb%40c", "a/b@c", "u:a%2Fb%40c", "u:a/b@c"},
		"http://u:sec/ret@h.test/x":                 {"sec/ret", "u:sec/ret"},
		"http://h:8080/~me@home/x":                  nil,
		"http://[fe80::1]/~me@home/x":               nil,
		"https://ghp_0123456789abcdefghij@github/x": {"ghp_0123456789abcdefghij"},
	} {
		if got := credentials.In(text); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestWithout(t *testing.T) {
	for in, want := range map[string]string{
		"https://git.test/repo":                 "https://git.test/repo",
		"https://user:p@ss@git.test/repo":       "https://git.test/repo",
		"https://:macaroon=/x@git.test/~a/repo": "https://git.test/~a/repo",
		"https://git.test/a@b":                  "https://git.test/a@b",
		"lp:project":                            "lp:project",
	} {
		if got := credentials.Without(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
