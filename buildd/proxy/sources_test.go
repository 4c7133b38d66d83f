package proxy_test

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd/proxy"
)

func TestSplitTakesCredentialsOutOfSources(t *testing.T) {
	for name, c := range map[string]struct{ line, clean, creds string }{
		"a public archive": {
			"deb http://archive.test/ubuntu noble main", "deb http://archive.test/ubuntu noble main", "",
		},
		"a private one": {
			"deb http://buildd:abc@ppa.test/team/ppa/ubuntu noble main", "deb http://ppa.test/team/ppa/ubuntu noble main",
			`http://ppa.test/team/ppa/ubuntu "buildd" "abc"`,
		},
		"options": {
			"deb [trusted=yes arch=amd64] https://u:p@h.test:8443/x/ ./", "deb [trusted=yes arch=amd64] https://h.test:8443/x/ ./",
			`https://h.test:8443/x/ "u" "p"`,
		},
		"options without a space": {"deb [trusted=yes]http://u:p@h/x ./", "deb [trusted=yes]http://h/x ./", `http://h/x "u" "p"`},
		"odd characters": {
			"deb-src\thttp://a%40b:p%2Fw%3A%25%C3%A4+%20x@h/ s", "deb-src\thttp://h/ s", `http://h/ "a@b" "p/w:%ä+ x"`,
		},
		"what apt takes as it is":   {"deb http://u:100%zz#\"'é@h/ s", "deb http://h/ s", `http://h/ "u" "100%zz#\"'é"`},
		"only a user":               {"deb http://token@h/ s", "deb http://h/ s", `http://h/ "token" ""`},
		"only a password":           {"deb http://:pw@h/ s", "deb http://h/ s", `http://h/ "" "pw"`},
		"neither":                   {"deb http://@h/ s", "deb http://h/ s", ""},
		"an @ in the password":      {"deb http://u:p@ss@h/ s", "deb http://h/ s", `http://h/ "u" "p@ss"`},
		"a slash in the password":   {"deb http://u:p/ss@h/x s", "deb http://h/x s", `http://h/x "u" "p/ss"`},
		"an @ in the path":          {"deb http://h:80/a@b s", "deb http://h:80/a@b s", ""},
		"an IPv6 address":           {"deb http://u:p@[2001:db8::1]:81/ s", "deb http://[2001:db8::1]:81/ s", `http://[2001:db8::1]:81/ "u" "p"`},
		"other schemes":             {"deb mirror+HTTP://u:p@h/m s", "deb mirror+HTTP://h/m s", `mirror+http://h/m "u" "p"`},
		"a comment":                 {"# deb http://u:p@h/ s", "# deb http://h/ s", `http://h/ "u" "p"`},
		"two URLs":                  {"deb [x=http://a:b@i/] http://u:p@h/ s", "deb [x=http://i/] http://h/ s", `http://i/] "a" "b"` + "\n" + `http://h/ "u" "p"`},
		"credentials in a row":      {"deb http://u:p@http://v:q@h/ s", "deb http://http://h/ s", `http://h/ "v" "q"`},
		"a host that nobody parses": {"deb http://u:p@h:port/ s", "deb http://h:port/ s", ""},
		"nothing":                   {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			clean, creds := proxy.Split([]string{c.line})
			var got []string
			for _, cred := range creds {
				got = append(got, fmt.Sprintf("%s %q %q", cred.URL, cred.Username, cred.Password))
			}
			if !slices.Equal(clean, []string{c.clean}) {
				t.Errorf("clean line %q, want %q", clean, c.clean)
			}
			if strings.Join(got, "\n") != strings.ReplaceAll(c.creds, "/]", "/%5D") && strings.Join(got, "\n") != c.creds {
				t.Errorf("credentials %q, want %q", got, c.creds)
			}
		})
	}
}

func TestSplitNamesACredentialOnce(t *testing.T) {
	_, creds := proxy.Split([]string{
		"deb http://u:p@h/a s main", "deb-src http://u:p@h/a s main", "deb http://u:q@h/a s main", "deb http://u:p@h/b s main",
	})
	if len(creds) != 3 {
		t.Errorf("%d credentials: %v", len(creds), creds)
	}
	if text := fmt.Sprintf("%v %+v %#v", creds, creds, creds); strings.Contains(text, `"p"`) || strings.Contains(text, "u:") {
		t.Errorf("credentials show themselves: %s", text)
	}
}

// The law: as many lines as before, none with a credential, whatever it is made
// of; and what is taken out is what was put in.
func FuzzSplit(f *testing.F) {
	f.Add("deb ", "user", "pw", "archive.test/ubuntu noble main")
	f.Add("deb [trusted=yes]", "", "%zz@/", "[::1]:80/x s")
	f.Add("# deb [a=b@c] x://y:z/@", "a@b:c/d", "é \n\x00", "h")
	f.Fuzz(func(t *testing.T, before, name, tail, after string) {
		const mark = "Xq7wZ"
		if strings.Contains(before+name+after, mark) {
			t.Skip("the mark is elsewhere, too")
		}
		pw := mark + tail + mark
		line := before + "http://" + url.UserPassword(name, pw).String() + "@" + after
		clean, creds := proxy.Split([]string{"first", line, ""})
		if len(clean) != 3 || clean[0] != "first" || clean[2] != "" || strings.Contains(clean[1], mark) {
			t.Fatalf("%q became %q", line, clean)
		}
		again, more := proxy.Split(clean)
		if !slices.Equal(again, clean) || len(more) > 0 {
			t.Errorf("%q became %q, and then %q with %d more", line, clean, again, len(more))
		}
		for _, c := range creds {
			if strings.Contains(c.Password, mark) && !strings.Contains(c.Password, pw) {
				t.Errorf("password %q of %q", c.Password, line)
			}
		}
		if _, err := url.Parse("http://" + after); err == nil && before == "deb " && after == "h/ s" {
			want := proxy.Credential{URL: &url.URL{Scheme: "http", Host: "h", Path: "/"}, Username: name, Password: pw}
			if len(creds) != 1 || !reflect.DeepEqual(creds[0], want) {
				t.Errorf("%q has %q", line, creds)
			}
		}
	})
}

func TestAuthConfIsWhatAptReads(t *testing.T) {
	_, creds := proxy.Split([]string{
		"deb https://u:outer@h.test/ s", "deb https://u:p%40%23s@h.test:8443/team/ppa+x s", "deb http://v:q@g.test/x/ s",
	})
	got, err := proxy.AuthConf(creds)
	want := `machine h.test:8443/team/ppa+x/ login u password p@#s
machine h.test:8443/team/ppa%2bx/ login u password p@#s
machine http://g.test/x/ login v password q
machine h.test/ login u password outer
`
	if err != nil || got != want {
		t.Errorf("got %v:\n%s\nwant:\n%s", err, got, want)
	}
	for _, unfit := range []string{"u:a%20b", "u:a%0Amachine", "token", ":pw", "u%09:p"} {
		_, creds := proxy.Split([]string{"deb https://" + unfit + "@h/ s"})
		if got, err := proxy.AuthConf(creds); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %q, %v", unfit, got, err)
		}
	}
	if got, err := proxy.AuthConf(nil); got != "" || err != nil {
		t.Errorf("of nothing: %q, %v", got, err)
	}
}

func TestInjectableAreHTTPArchivesWithPlainNames(t *testing.T) {
	for line, want := range map[string]bool{
		"deb http://u:p@h.test/ s": true, "deb HTTP://u:p@10.0.0.1:81/ s": true, "deb https://u:p@h.test/ s": false,
		"deb http://u:p@[::1]/ s": false, `deb http://u:p@h";x/ s`: false, "deb mirror+http://u:p@h/ s": false,
	} {
		_, creds := proxy.Split([]string{line})
		if len(creds) != 1 || creds[0].Injectable() != want {
			t.Errorf("%s: %v, want %v", line, creds, want)
		}
	}
}
