package main

import (
	"net"
	"testing"
)

func TestBuildsGetAnAddressThatIsNotLoopback(t *testing.T) {
	for _, builder := range []string{"http://127.0.0.1:8221", "http://[::1]:8221", "http://192.0.2.99:8221", "http://none.invalid"} {
		address, err := (&app{url: builder}).addressForBuilds(t.Context())
		if err != nil {
			t.Skipf("needs a network interface besides the loopback one: %v", err)
		}
		if ip := net.ParseIP(address); ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
			t.Errorf("%s: got %q", builder, address)
		}
	}
	if got := (&app{url: "http://localhost:8221"}).addressForBuilder(t.Context()); got != "127.0.0.1" {
		t.Errorf("got %q", got)
	}
	if got := (&app{url: "http://none.invalid"}).addressForBuilder(t.Context()); got != "" {
		t.Errorf("got %q", got)
	}
}
