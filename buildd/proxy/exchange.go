package proxy

import "net/http"

// exchange is the answer to one request, and what the log says of it.
type exchange struct {
	http.ResponseWriter
	status int   // 0 until there is one
	sent   int64 // bytes of the body
}

// WriteHeader passes interim responses on and remembers the final one.
func (x *exchange) WriteHeader(code int) {
	if code == http.StatusContinue {
		return // net/http says it itself, once, when the body is first read
	}
	if code >= 200 || code == http.StatusSwitchingProtocols {
		x.status = code
		for _, name := range []string{"Content-Type", "Date"} {
			// net/http makes up what the origin did not say, unless it is told no.
			if h := x.Header(); h[name] == nil {
				h[name] = nil
			}
		}
	}
	x.ResponseWriter.WriteHeader(code)
}

func (x *exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.ResponseWriter.Write(p)
	x.sent += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController flush and hijack.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
