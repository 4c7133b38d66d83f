package main

import (
	"errors"

	"lpbuildd/backends"
)

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
