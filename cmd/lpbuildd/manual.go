package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"lpbuildd/cmd/manpages"
)

// book is the manual of this program: a page for each command, and that of the
// configuration.
func book() manpages.Book {
	return manpages.Book{
		Section: 8, SeeAlso: []string{"lpbuildd.conf(5)", "lpbuild(1)"},
		Extra: func(p *manpages.Page) {
			for _, s := range extraSections() {
				p.Section(s.title)
				for _, i := range s.items {
					p.Item(i.words, i.text)
				}
			}
		},
	}
}

type (
	manualItem struct {
		words []string
		text  string
	}
	manualSection struct {
		title string
		items []manualItem
	}
)

// extraSections are what lpbuildd(8) tells about the package.
func extraSections() []manualSection {
	return []manualSection{
		{"Files", []manualItem{
			{
				[]string{"/etc/launchpad-buildd/NAME"},
				"The configuration of a builder, see lpbuildd.conf(5). Each file there is a builder; names that begin with a dash or a dot, that have " +
					".dpkg- in them, or anything but ASCII letters, digits, and :_.-, are left alone. After a new one: systemctl daemon-reload; systemctl restart launchpad-buildd.",
			},
			{
				[]string{"/etc/default/launchpad-buildd"},
				"The environment of all builders. None runs before it says RUN_NETWORK_REQUESTS_AS_ROOT=yes.",
			},
			{[]string{"/usr/share/launchpad-buildd/buildd-genconfig"}, "Writes a configuration to standard output; --help lists its options."},
			{
				[]string{"/home/buildd/filecache-NAME"},
				"Files by their SHA-1, and in the folder .lpbuildd the state of the builder and the unpacked base images.",
			},
			{[]string{"/home/buildd/build-ID"}, "A build, while it runs."},
			{[]string{"/var/log/launchpad-buildd/NAME.log"}, "What the journal has of a builder, too."},
			{[]string{"/run/launchpad-buildd/NAME.pid"}, "The number of the process of a builder."},
		}},
		{"Units", []manualItem{
			{
				[]string{"lpbuildd@NAME.service", "launchpad-buildd@NAME.service"},
				"One builder, as the user buildd. A reload reads the configuration again and opens the log file anew. Builds go on when it is stopped.",
			},
			{[]string{"lpbuildd.service", "launchpad-buildd.service"}, "All builders of the machine."},
			{
				[]string{"lpbuildd-helper.socket", "lpbuildd-helper@N.service"},
				"What root does for builders: one instance for each build that runs, or for the removal of what one left.",
			},
			{[]string{"lpbuildd.slice"}, "The processes of all builds."},
			{[]string{"lpbuildd-expire@NAME.timer"}, "The removal of what is kept of failed builds, also while the builder is stopped."},
		}},
		{"Environment", []manualItem{
			{[]string{"BUILDD_CONFIG"}, "The path of the configuration, for commands without --config."},
			{[]string{"LPBUILDD_SECTION_KEY"}, "A key of the configuration. It wins over the file."},
			{[]string{"LPBUILDD_HELPER"}, "The socket of lpbuildd-helper.socket. Without it, a daemon that is not root uses sudo."},
			{[]string{"RUN_NETWORK_REQUESTS_AS_ROOT"}, "If it is set, the daemon only runs when it is yes."},
			{[]string{"LOGS_DIRECTORY"}, "The folder of the log file, unless the configuration names a file."},
		}},
		{"Exit status", []manualItem{
			{[]string{"0"}, "All is well."},
			{[]string{"1"}, "Something went wrong; the last line of standard error says what."},
			{[]string{"78"}, "The daemon cannot run before an operator changes its configuration."},
		}},
	}
}

// newManualCommands returns what the build of the package needs.
func newManualCommands() []*cobra.Command {
	return []*cobra.Command{
		book().NewCommand(),
		{
			Use: "manpage-config EXAMPLE", Short: "Print the manual page of the configuration, made of the example", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				example, err := os.ReadFile(args[0])
				if err != nil {
					return err
				}
				fmt.Fprint(cmd.OutOrStdout(), configPage(string(example), manpages.Date()))
				return nil
			},
		},
	}
}
