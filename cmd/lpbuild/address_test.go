package main

import (
	"net"
	"testing"
)

func TestBuildsGetAnAddressThatIsNotLoopback(t *testing.T) {
	for _, builder := range []string{"http://127.0.0.1:8221", "http://[::1]:8221", "http://192.0.2.99:8221", "http://none.invalid"} {
		address, err := addressForBuilds(t.Context(), builder)
		if err != nil {
			t.Skipf("needs a network interface besides the loopback one: %v", err)
		}
		if ip := net.ParseIP(address); ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
			t.Errorf("%s: got %q", builder, address)
		}
	}
	if got := addressForBuilder(t.Context(), "http://localhost:8221"); got != "127.0.0.1" {
		t.Errorf("got %q", got)
	}
	if got := addressForBuilder(t.Context(), "http://none.invalid"); got != "" {
		t.Errorf("got %q", got)
	}
}
