package filecache_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"

	"lpbuildd/filecache"
)

// Example stores a file, and fetches another one from a cache that has it.
func Example() {
	ctx := context.Background()
	open := func() *filecache.Cache {
		dir, err := os.MkdirTemp("", "filecache-")
		if err != nil {
			panic(err)
		}
		cache, err := filecache.Open(dir, filecache.Options{MaxBytes: 1 << 30})
		if err != nil {
			panic(err)
		}
		return cache
	}
	done := func(c *filecache.Cache) {
		if err := c.Close(); err != nil {
			fmt.Println(err)
		}
		_ = os.RemoveAll(c.Dir()) // a temporary folder
	}

	near, far := open(), open()
	defer done(near)
	defer done(far)
	stored, err := far.Store(ctx, strings.NewReader("hello"))
	fmt.Println(stored.SHA1, stored.Size, err)

	server := httptest.NewServer(far.Handler())
	defer server.Close()
	url := server.URL + "/filecache/" + stored.SHA1
	for range 2 {
		presence, err := near.Ensure(ctx, stored.SHA1, filecache.Source{URL: &url})
		fmt.Println(presence.Present, presence.Info, err)
	}
	presence, err := near.Ensure(ctx, strings.Repeat("0", 40), filecache.Source{})
	fmt.Println(presence.Present, presence.Info, err)
	// Output:
	// aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d 5 <nil>
	// true Download <nil>
	// true Cache <nil>
	// false No URL <nil>
}
