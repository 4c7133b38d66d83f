package main

import (
	"fmt"
	"time"

	"lpbuildd/rpc/client"
)

// app is what all subcommands share.
type app struct {
	url string
	out *printer
	// poll is how often the builder is asked while a build runs.
	poll time.Duration
}

// builder makes a client for the builder. It does not connect yet.
func (a *app) builder() (*client.Client, error) {
	c, err := client.New(a.url, client.WithPoll(a.poll))
	if err != nil {
		return nil, fmt.Errorf("%w\nName the builder with --url or LPBUILD_URL.", err)
	}
	return c, nil
}
