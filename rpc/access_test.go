package rpc_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"lpbuildd/rpc"
)

func TestRestrict(t *testing.T) {
	tests := []struct {
		name, allow, peer string
		want              int
	}{
		{"everyone, when nothing is configured", "", "192.0.2.1:1", http.StatusNotFound},
		{"an address of a network", "192.0.2.0/24", "192.0.2.1:1", http.StatusNotFound},
		{"the same address in IPv6 form", "192.0.2.0/24", "[::ffff:192.0.2.1]:1", http.StatusNotFound},
		{"a stranger", "192.0.2.0/24", "198.51.100.1:1", http.StatusForbidden},
		{"no address at all", "192.0.2.0/24", "@", http.StatusForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var networks []netip.Prefix
			if tt.allow != "" {
				networks = append(networks, netip.MustParsePrefix(tt.allow))
			}
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			rpc.Restrict(networks, http.NotFoundHandler()).ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("got %d, want %d", w.Code, tt.want)
			}
		})
	}
}
