package wire

import (
	"fmt"

	"lpbuildd/buildd"
)

// Arguments that the daemon itself goes by, beside those of proxy_info.
const (
	argPrivate     = "archive_private"
	argFastCleanup = "fast_cleanup"
)

// ReadAcceptance tells the daemon what it needs to know of the arguments.
func ReadAcceptance(r *buildd.Request) {
	r.Private, _ = truth(r.Args[argPrivate])
	r.EndsWithReset, _ = truth(r.Args[argFastCleanup])
	if use, ok := truth(r.Args[keyFetchService]); ok {
		r.Proxy.UseFetchService = &use
	}
	if endpoint, ok := r.Args[keyRevocation].(string); ok {
		r.Proxy.RevocationEndpoint = &endpoint
	}
}

// truth returns the value of an argument that is a boolean, or one of the numbers
// 0 and 1, which builders take for booleans too.
func truth(v any) (value, ok bool) {
	if b, isBool := v.(bool); isBool {
		return b, true
	}
	if _, isText := v.(string); isText {
		return false, false
	}
	text := fmt.Sprint(v)
	return text == "1", text == "0" || text == "1"
}
