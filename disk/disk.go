// Package disk is run by everybody: the daemon, root on both sides of the
// namespaces, and operators. It touches the files that its callers name, and knows
// what none of them should have to know twice: how a file is written so that a
// crash leaves the old one or the new one, how a lock is held, and how much room a
// file system has.
package disk
