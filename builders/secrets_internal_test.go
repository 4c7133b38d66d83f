package builders

import (
	"testing"
)

func TestWithoutUserInfo(t *testing.T) {
	for in, want := range map[string]string{
		"https://git.test/repo":                 "https://git.test/repo",
		"https://user:p@ss@git.test/repo":       "https://git.test/repo",
		"https://:macaroon=/x@git.test/~a/repo": "https://git.test/~a/repo",
		"https://git.test/a@b":                  "https://git.test/a@b",
		"lp:project":                            "lp:project",
	} {
		if got := WithoutUserInfo(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
