package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
)

func Example() {
	daemon := &builder{
		status:   buildd.Status{State: buildd.Idle, Version: "255"},
		presence: buildd.Presence{Present: true, Info: "Cache"},
	}
	server := httptest.NewServer(rpc.NewServer(daemon, daemon, http.NotFoundHandler(), slog.New(slog.DiscardHandler)))
	defer server.Close()

	ctx := context.Background()
	client, err := rpc.New(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	st, err := client.Status(ctx)
	fmt.Println(st.State, st.Version, err)

	const image = "5149db891544176e8bb505f09c3f655849dba52c"
	presence, err := client.EnsurePresent(ctx, image, buildd.Source{})
	fmt.Println(presence.Present, presence.Info, err)

	err = client.Build(ctx, buildd.Request{
		BuildID: "PACKAGEBUILD-1", Tag: "binarypackage", Image: image, Args: map[string]any{"series": "bookworm"},
	})
	var missing *buildd.UnknownSumError
	if errors.As(err, &missing) {
		fmt.Println("offer the base image first:", err)
	}

	var fault *rpc.Fault
	if err := client.Clean(ctx); errors.As(err, &fault) {
		fmt.Println(fault.Code, fault.Reason)
	}
	// Output:
	// IDLE 255 <nil>
	// true Cache <nil>
	// offer the base image first: the base image 5149db891544176e8bb505f09c3f655849dba52c is not in the file cache
	// 8002 clean() needs a builder that is WAITING, this one is IDLE: there is no build
}
