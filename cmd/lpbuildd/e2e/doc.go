// Package e2e tests the built programs from outside, as root: it starts daemons
// of its own, as root and as the user buildd, in folders below /var/tmp, and
// drives them as managers and operators do, through XML-RPC and the command line.
//
// All of it is tests and benchmarks with the build tag "integration"; TestMain
// builds the daemon that they share. What can be tested without a running daemon
// is tested beside the code.
package e2e
