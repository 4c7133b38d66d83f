package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lpbuildd/buildd/operator"
)

// installedConfig is what the commands for operators read where nobody names a
// configuration.
const installedConfig = "/etc/launchpad-buildd/default"

// addOperatorFlags adds the flags that say which builder is meant.
func addOperatorFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration `file` of the builder (default: $BUILDD_CONFIG, else "+installedConfig+")")
	fs.StringArray("set", nil, "set one key of the configuration, as `section.key=value`; may be repeated")
}

// openBuilder finds the builder of a command. What says what for.
func openBuilder(cmd *cobra.Command, what string) (*operator.Builder, error) {
	launcher, err := newLauncher()
	if err != nil {
		return nil, err
	}
	b, err := operator.Open(sources(cmd.Flags(), operatorEnviron), launcher)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	return b, nil
}

// operatorEnviron is the environment, with the installed configuration where
// there is no other.
func operatorEnviron(name string) (string, bool) {
	value, ok := os.LookupEnv(name)
	if name != "BUILDD_CONFIG" || value != "" {
		return value, ok
	}
	return installedConfig, true
}

// isRoot says whether this process may do everything.
func isRoot() bool { return os.Geteuid() == 0 }
