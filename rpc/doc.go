// Package rpc is run by the unprivileged daemon, and touches its connections, and
// everything else through Reporter, Controller and the handler of files: it is the
// server of the builder's protocol, XML-RPC below /rpc and files below /filecache/
// (spec: protocol.md). Its clients are in rpc/client, the words that both use in
// rpc/wire.
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
// A Server may be used concurrently.
package rpc
