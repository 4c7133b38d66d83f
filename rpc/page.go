package rpc

import (
	"fmt"
	"html"
	"net/http"
	"strconv"
)

// servePage answers with a small HTML page about the status code.
func servePage(w http.ResponseWriter, code int, body string) {
	page := fmt.Sprintf("<!DOCTYPE html>\n<html><head><title>%d %s</title></head>\n<body>\n%s\n</body></html>\n",
		code, http.StatusText(code), body)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(code)
	_, _ = w.Write([]byte(page)) // the client may be gone
}

// introduction tells a person with a browser what this is.
func introduction(host string) string {
	if host == "" {
		host = "localhost:8221"
	}
	return fmt.Sprintf(`<h1>A Launchpad builder</h1>
<p>This is lpbuildd, a worker of a build farm. It is driven over XML-RPC with POST requests to <code>/rpc</code>.
<strong>It runs commands from the network as root; keep the port firewalled.</strong></p>
<p>To talk to it from Python:</p>
<pre>
import xmlrpc.client
builder = xmlrpc.client.ServerProxy("http://%s/rpc", allow_none=True)
print(builder.status())
for name in builder.system.listMethods():
    print(builder.system.methodHelp(name))
</pre>
<p>The log of the current build is <a href="/filecache/buildlog">/filecache/buildlog</a>.</p>`, html.EscapeString(host))
}
