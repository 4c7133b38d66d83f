package filecache

import (
	"net/http"
	"net/url"
	"testing"
)

func TestWhereCredentialsGoAfterARedirect(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		kept     bool
	}{
		{"http://host/a", "http://host/b", true},
		{"http://host/a", "http://HOST:80/b", true},
		{"http://host/a", "https://host/a", true},
		{"http://host:80/a", "https://host:443/a", true},
		{"http://host/a", "https://other/a", false},
		{"http://host/a", "https://sub.host/a", false},
		{"http://host/a", "https://host:8443/a", false},
		{"http://host:8080/a", "https://host/a", false},
		{"http://host/a", "http://host:8080/a", false},
		{"https://host/a", "http://host/a", false},
		{"https://host/a", "https://host/b", true},
	} {
		parse := func(text string) *http.Request {
			u, err := url.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			return &http.Request{URL: u, Header: http.Header{"Authorization": {"secret"}}}
		}
		next := parse(tt.to)
		if err := checkRedirect(next, []*http.Request{parse(tt.from)}); err != nil {
			t.Fatal(err)
		}
		if kept := next.Header.Get("Authorization") != ""; kept != tt.kept {
			t.Errorf("from %s to %s: kept %v, want %v", tt.from, tt.to, kept, tt.kept)
		}
	}
}
