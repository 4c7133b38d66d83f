package rpc

import (
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
)

// Access lets only some networks in; everyone, when there are none.
type Access struct {
	next     http.Handler
	networks atomic.Pointer[[]netip.Prefix]
}

// Restrict lets only these networks in.
func Restrict(networks []netip.Prefix, next http.Handler) *Access {
	a := &Access{next: next}
	a.Allow(networks)
	return a
}

// Allow changes who may come in, for requests from now on.
func (a *Access) Allow(networks []netip.Prefix) { a.networks.Store(&networks) }

// ServeHTTP turns strangers away.
func (a *Access) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	networks := *a.networks.Load()
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	contains := func(network netip.Prefix) bool { return err == nil && network.Contains(peer.Addr().Unmap()) }
	if len(networks) > 0 && !slices.ContainsFunc(networks, contains) {
		http.Error(w, "This address may not use this builder ([access] allow).", http.StatusForbidden)
		return
	}
	a.next.ServeHTTP(w, r)
}
