package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
	"lpbuildd/rpc/fake"
)

func Example() {
	daemon := fake.New(buildd.Status{State: buildd.Idle, Version: "255"})
	daemon.Presence = buildd.Presence{Present: true, Info: "Cache"}
	server := httptest.NewServer(handler(daemon))
	defer server.Close()

	ctx := context.Background()
	builder, err := client.New(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer builder.Close()

	st, err := builder.Status(ctx)
	fmt.Println(st.State, st.Version, err)

	const image = "5149db891544176e8bb505f09c3f655849dba52c"
	presence, err := builder.EnsurePresent(ctx, image, buildd.Source{})
	fmt.Println(presence.Present, presence.Info, err)

	err = builder.Build(ctx, buildd.Request{
		BuildID: "PACKAGEBUILD-1", Tag: "binarypackage", Image: image, Args: map[string]any{"series": "bookworm"},
	})
	var missing *buildd.UnknownSumError
	if errors.As(err, &missing) {
		fmt.Println("offer the base image first:", err)
	}

	var fault *client.Fault
	if err := builder.Clean(ctx); errors.As(err, &fault) {
		fmt.Println(fault.Code, fault.Reason)
	}
	// Output:
	// IDLE 255 <nil>
	// true Cache <nil>
	// offer the base image first: the base image 5149db891544176e8bb505f09c3f655849dba52c is not in the file cache
	// 8002 clean() needs a builder that is WAITING, this one is IDLE: there is no build
}
