package container

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/builders"
)

const (
	// storeTimeout limits the one request to the snap store proxy.
	storeTimeout = time.Minute
	// maxAssertions limits its answer; real ones have a few kilobytes.
	maxAssertions = 1 << 20
)

// UseSnapStore makes snapd in the target use the snap store proxy of the site,
// if there is one (spec: proxy.md section 6).
func UseSnapStore(ctx context.Context, env builders.Env) error {
	if env.Site.SnapStore == "" {
		return nil
	}
	assertions, store, err := fetchAssertions(ctx, env.Site.SnapStore)
	if err != nil {
		return fmt.Errorf("cannot get the assertions of the snap store proxy: %w", err)
	}
	err = env.Target.Run(ctx, backends.Command{
		Argv:   []string{"snap", "ack", "/dev/stdin"},
		Stdin:  strings.NewReader(assertions),
		Stdout: env.Log,
		Stderr: env.Log,
	})
	if err != nil || store == "" {
		return err
	}
	return env.InTarget(ctx, "snap", "set", "core", "proxy.store="+store)
}

// fetchAssertions asks the snap store proxy, from the host, for its assertions
// and for the id of its store, which may be "".
func fetchAssertions(ctx context.Context, base string) (assertions, store string, err error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", "", err
	}
	u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/v2/auth/store/assertions"}
	ctx, cancel := context.WithTimeoutCause(ctx, storeTimeout, fmt.Errorf("no answer from %s within %v", u.Host, storeTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", "", err
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode >= http.StatusBadRequest {
		return "", "", fmt.Errorf("%s answers %s", u, response.Status)
	}
	data, err := backends.ReadAll(response.Body, maxAssertions)
	return string(data), response.Header.Get("X-Assertion-Store-Id"), err
}
