package main

import (
	"errors"
	"fmt"

	"lpbuildd/backends"
)

// switchVariable must be "yes" where it is set, as it is in the packaged unit
// (spec: packaging.md section 5).
const switchVariable = "RUN_NETWORK_REQUESTS_AS_ROOT"

// allowed says whether an operator wants this machine to do what the network
// asks for.
func allowed(environ func(string) (string, bool)) error {
	value, ok := environ(switchVariable)
	if !ok || value == "yes" {
		return nil
	}
	return &misconfiguredError{fmt.Errorf("%s is %q: this daemon does what the network asks for, as root; "+
		"if that is what you want, keep the port behind a firewall, write %s=yes to /etc/default/launchpad-buildd, and restart launchpad-buildd.service",
		switchVariable, value, switchVariable)}
}

// misconfiguredError is what only an operator can put right.
type misconfiguredError struct{ error }

// Unwrap returns what is wrong.
func (e *misconfiguredError) Unwrap() error { return e.error }

// misconfigured is EX_CONFIG of sysexits.h. The unit does not start the daemon
// again after it.
const misconfigured = 78

// visitError is the failure of the command that somebody runs in a kept build. It
// has said why itself.
type visitError struct{ *backends.ExitError }

// ofVisit marks the failure of the command of a visit.
func ofVisit(err error) error {
	if exit := (*backends.ExitError)(nil); errors.As(err, &exit) {
		return &visitError{exit}
	}
	return err
}

// exitStatus is that of the program after an error.
func exitStatus(err error) int {
	if visit := (*visitError)(nil); errors.As(err, &visit) {
		return visit.Code
	}
	if wrong := (*misconfiguredError)(nil); errors.As(err, &wrong) {
		return misconfigured
	}
	return 1
}
