package builders_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"lpbuildd/builders"
)

func TestSecrets(t *testing.T) {
	for _, c := range []struct {
		name string
		args builders.Args
		want []string
	}{
		{"binary data under a secret key", builders.Args{"token": []byte("abcd"), "data": []byte("efgh")}, []string{"abcd"}},
		{"texts under a secret key", builders.Args{"passwords": []string{"abcd"}, "names": []string{"efgh"}}, []string{"abcd"}},
		{"auth", builders.Args{"auth": "abcd", "author": "efgh"}, []string{"abcd"}},
		{
			"keys that name a secret",
			builders.Args{"the_macaroon": "aaaa", "Credentials": "bbbb", "API_KEY": "cccc", "private_key": "dddd", "passwd": "eeee", "client_secret": "ffff", "x_auth": "gggg"},
			[]string{"aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff", "gggg"},
		},
		{
			"settings of plugins of eight bytes and more",
			builders.Args{"plugin_settings": map[string]any{"a": "12345678", "b": "1234567"}},
			[]string{"12345678"},
		},
		{"nothing", builders.Args{"series": "noble", "archives": []any{"deb http://h/ noble main"}}, nil},
		{
			"an archive's password",
			builders.Args{"archives": []any{"deb http://reader:topsecret@h/u noble main"}},
			[]string{"reader:topsecret", "topsecret"},
		},
		{
			"an empty user",
			builders.Args{"git_repository": "https://:macaroon-x@git/repo"},
			[]string{":macaroon-x", "macaroon-x"},
		},
		{
			"percent-encoding",
			builders.Args{"proxy_url": "http://u:a%2Fb%40c@proxy:3128"},
			[]string{"u:a%2Fb%40c", "a%2Fb%40c", "u:a/b@c", "a/b@c"},
		},
		{
			"a password with / in it",
			builders.Args{"x": "http://u:sec/ret@h.test/x"},
			[]string{"u:sec/ret", "sec/ret"},
		},
		{
			"a password with @ in it",
			builders.Args{"x": "http://u:sec@ret@h.test/x"},
			[]string{"u:sec@ret", "sec@ret"},
		},
		{"a port and an @ in the path", builders.Args{"x": "http://h:8080/~me@home/x"}, nil},
		{"an IPv6 address", builders.Args{"x": "http://[fe80::1]/~me@home/x"}, nil},
		{"a user alone", builders.Args{"x": "bzr+ssh://somebody@host/x"}, nil},
		{
			"a token as user",
			builders.Args{"x": "https://ghp_0123456789abcdefghij@github/x"},
			[]string{"ghp_0123456789abcdefghij"},
		},
		{
			"a short password goes with its user only",
			builders.Args{"x": "http://user:abc@h/"},
			[]string{"user:abc"},
		},
		{
			"keys that name secrets",
			builders.Args{
				"environment_variables": map[string]any{"CARGO_X_READ_AUTH": "user:token1", "PATH": "/usr/bin", "MY_TOKEN": "abcdef"},
				"secrets":               map[string]any{"anything": "goes", "deep": []any{"below"}, "no": int64(12345)},
			},
			[]string{"user:token1", "abcdef", "token1", "below", "goes"},
		},
		{
			"other words for secrets",
			builders.Args{"environment_variables": map[string]any{
				"SNAPCRAFT_STORE_CREDENTIALS": "eyJyIjoi", "GPG_PASSPHRASE": "open sesame", "NPM_APIKEY": "k-1234",
				"CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS": "cargo:token",
			}},
			[]string{"eyJyIjoi", "open sesame", "k-1234"},
		},
		{
			"a secret of several lines",
			builders.Args{"secrets": map[string]any{"k": "first line\nsecond line\n}\n"}},
			[]string{"first line\nsecond line\n}", "second line", "first line"},
		},
		{"two URLs glued together", builders.Args{"x": "a://u:pass1@h,b://v:pass2@i"}, []string{"u:pass1", "v:pass2", "pass1", "pass2"}},
		{"keys of archives are public", builders.Args{"trusted_keys": []any{"QUJDREVGR0g="}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := builders.Secrets(c.args)
			slices.Sort(got)
			want := slices.Clone(c.want)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// FuzzSecrets: the password of any URL anywhere in the arguments is found if
// it is long enough, however it is written; the list has no duplicates, the
// longest first, and nothing short.
func FuzzSecrets(f *testing.F) {
	f.Add("user", "password", "host")
	f.Add("", "p@ss/w:rd", "h:80")
	f.Add("u", "12345", "[::1]")
	f.Add("u", "#frag?", "h")
	f.Fuzz(func(t *testing.T, user, password, host string) {
		if host == "" || strings.ContainsAny(host, "@ \t\r\n\"'<>") {
			return
		}
		encoded := (&url.URL{Scheme: "https", Host: "h", User: url.UserPassword(user, password)}).String()
		encoded = strings.TrimSuffix(encoded, "h") + host + "/path"
		got := builders.Secrets(builders.Args{"a": []any{map[string]any{"b": "deb " + encoded + " noble main"}}})
		if len(password) >= 4 && !slices.Contains(got, password) {
			t.Errorf("%q is not in %q, the secrets of %s", password, got, encoded)
		}
		for i, s := range got {
			if len(s) < 4 || slices.Contains(got[i+1:], s) || i > 0 && len(s) > len(got[i-1]) {
				t.Errorf("bad list %q", got)
			}
		}
	})
}
