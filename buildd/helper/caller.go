package helper

import "os"

// Variable names the socket of the helper service in the environment. The
// daemon's unit sets it; without it an unprivileged daemon uses sudo.
const Variable = "LPBUILDD_HELPER"

// RoleAsk is the role of the program that asks the helper service for the role
// that is its argument.
const RoleAsk = "ask-helper"

// installed is the socket where the package is installed.
const installed = "/run/lpbuildd/helper"

// Socket is the socket that a daemon on this machine would use, "" if it would
// use sudo.
func Socket() string {
	if socket := os.Getenv(Variable); socket != "" {
		return socket
	}
	if _, err := os.Lstat(installed); err != nil {
		return ""
	}
	return installed
}

// AsRoot is how a daemon of this user starts the privileged roles of its program:
// the words before the name of the role.
func AsRoot(program string, uid int) []string {
	switch {
	case uid == 0:
		return []string{program}
	case os.Getenv(Variable) != "":
		return []string{program, RoleAsk}
	}
	return []string{"sudo", "-n", program}
}
