package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/proxy"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(code int) *http.Response {
	return &http.Response{StatusCode: code, Body: http.NoBody, Header: http.Header{"Location": {"http://elsewhere.test/"}}}
}

func TestRevocationAsksTheServiceOnce(t *testing.T) {
	const secret = "http://username:pass%2Fword@proxy.example"
	for name, c := range map[string]struct {
		token proxy.Token
		want  string
	}{
		"builder proxy":     {proxy.Token{UpstreamURL: secret, Endpoint: "ENDPOINT"}, "DELETE /tokens/123 [Basic dXNlcm5hbWU6cGFzcy93b3Jk] []  "},
		"fetch service":     {proxy.Token{UpstreamURL: secret, Endpoint: "ENDPOINT", FetchService: true}, `DELETE /tokens/123 [] [application/json] {"token":"pass/word"} `},
		"nothing to revoke": {proxy.Token{UpstreamURL: secret}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				data, _ := io.ReadAll(r.Body)
				got += fmt.Sprintf("%s %s %s %s %s ", r.Method, r.URL, r.Header["Authorization"], r.Header["Content-Type"], data)
			})
			c.token.Endpoint = strings.Replace(c.token.Endpoint, "ENDPOINT", server+"/tokens/123", 1)
			if err := c.token.Revoke(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFailedRevocationIsAnErrorWithoutSecrets(t *testing.T) {
	token := proxy.Token{UpstreamURL: withUser(t, "http://proxy.test").String(), Endpoint: "http://auth.test/tokens/1"}
	status := func(code int) roundTrip {
		return func(r *http.Request) (*http.Response, error) { return answer(code), nil }
	}
	for want, f := range map[string]roundTrip{
		"auth.test answered 404 Not Found; the token may still be valid":             status(404),
		"auth.test answered 500 Internal Server Error; the token may still be valid": status(500),
		"auth.test answered 302 Found; the token may still be valid":                 status(302),
		"cannot ask auth.test: no route for [redacted]": func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("no route for " + password)
		},
	} {
		requests := 0
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			requests++
			return f(r)
		})}
		err := token.Revoke(t.Context(), client)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		if requests != 1 {
			t.Errorf("%s: %d requests", want, requests)
		}
	}
	for name, broken := range map[string]proxy.Token{
		"proxy URL":   {UpstreamURL: "http://u:s3cr3t%zz@x", Endpoint: "http://auth.test/"},
		"endpoint":    {UpstreamURL: token.UpstreamURL, Endpoint: "http://s3cr3t:%zz@x"},
		"relative":    {UpstreamURL: token.UpstreamURL, Endpoint: "/tokens/s3cr3t"},
		"credentials": {UpstreamURL: "http://proxy.test/", Endpoint: "http://auth.test/"},
	} {
		err := broken.Revoke(t.Context(), nil)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		noSecrets(t, err.Error())
	}
	noSecrets(t, fmt.Sprintf("%v %+v %#v", token, token, &token))
	if token.User() != user {
		t.Errorf("user %q", token.User())
	}
}

func TestRevocationEndsAfter15Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		token := proxy.Token{UpstreamURL: "http://u:p@proxy.test", Endpoint: "http://auth.test/"}
		begun := time.Now()
		err := token.Revoke(t.Context(), client)
		if want := "cannot ask auth.test: no answer within 15 s"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
		if took := time.Since(begun); took != 15*time.Second {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the builder stops"))
		if err := token.Revoke(ctx, client); err == nil || !strings.Contains(err.Error(), "the builder stops") {
			t.Errorf("got %v", err)
		}
	})
}
