// Package rpc speaks the builder's protocol: XML-RPC below /rpc, files below
// /filecache/. It has the server and a Go client, and it is the only place
// that knows the names on the wire (spec: protocol.md). What happens behind
// the calls is buildd's business.
//
// Security: nobody is asked who they are. It runs commands from the network as
// root; keep the port firewalled. Pages of other sites in a browser are turned
// away, which protects a builder on loopback from its user's browser and no more.
//
// One call goes through these steps: route the path, read the body within its
// limits, decode it (package xmlrpc), find the method in the table of
// methods.go, check the parameters, ask the Reporter or the Controller, encode
// the result. Whatever goes wrong after routing is a fault in an HTTP 200
// reply. Its reason is also in the header X-Fault-Reason, because the protocol
// fixes the text of some faults.
//
// Server and Client may be used concurrently.
package rpc
