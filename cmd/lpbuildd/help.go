package main

import "github.com/spf13/cobra"

// version is set by the Makefile to that of debian/changelog.
var version = "unknown" // the linker can set nothing else

// help is what a command does that is nothing but those below it. Without it, one
// that does not exist would be no error.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
