package config

import "fmt"

// switchVariable must be "yes" where it is set, as it is in the packaged unit
// (spec: packaging.md section 5).
const switchVariable = "RUN_NETWORK_REQUESTS_AS_ROOT"

// Allowed says whether an operator wants this machine to do what the network
// asks for.
func Allowed(environ func(name string) (string, bool)) error {
	value, ok := environ(switchVariable)
	if !ok || value == "yes" {
		return nil
	}
	return fmt.Errorf("%s is %q: this daemon does what the network asks for, as root; "+
		"if that is what you want, keep the port behind a firewall, write %s=yes to /etc/default/launchpad-buildd, and restart launchpad-buildd.service",
		switchVariable, value, switchVariable)
}
