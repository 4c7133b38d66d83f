package wire

import (
	"testing"

	"lpbuildd/buildd"
)

// TestTheDaemonIsToldWhatItGoesBy: the number one is true, as for the builders
// (builders.Args.Bool).
func TestTheDaemonIsToldWhatItGoesBy(t *testing.T) {
	for name, c := range map[string]struct {
		value     any
		true, set bool
	}{
		"true":           {true, true, true},
		"false":          {false, false, true},
		"the number 1":   {int64(1), true, true},
		"the number 0":   {int64(0), false, true},
		"another number": {int64(2), false, false},
		"a text":         {"1", false, false},
		"nothing":        {nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := buildd.Request{Args: map[string]any{"archive_private": c.value, "fast_cleanup": false, "use_fetch_service": c.value, "revocation_endpoint": "http://proxy.test/1"}}
			ReadAcceptance(&r)
			if r.Private != c.true || r.EndsWithReset {
				t.Errorf("private: %v, ends with a reset: %v", r.Private, r.EndsWithReset)
			}
			if use := r.Proxy.UseFetchService; (use != nil) != c.set || use != nil && *use != c.true {
				t.Errorf("use_fetch_service: %v", use)
			}
			if e := r.Proxy.RevocationEndpoint; e == nil || *e != "http://proxy.test/1" {
				t.Errorf("revocation_endpoint: %v", e)
			}
			r = buildd.Request{Args: map[string]any{"fast_cleanup": c.value, "revocation_endpoint": 7}}
			ReadAcceptance(&r)
			if r.Private || r.EndsWithReset != c.true || r.Proxy != (buildd.ProxyInfo{}) {
				t.Errorf("with fast_cleanup alone: %+v", r)
			}
		})
	}
}
