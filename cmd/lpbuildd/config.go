package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lpbuildd/buildd/config"
)

// addConfigFlags adds the flags that sources reads.
func addConfigFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "configuration `file` (default: $BUILDD_CONFIG, else buildd-example.conf)")
	fs.StringArray("set", nil, "set one key of the configuration, as `section.key=value`; may be repeated")
	fs.String("bindhost", "", "listen on this `address` (builder.bindhost)")
	fs.Int("bindport", 0, "listen on this `port` (builder.bindport)")
}

// sources are where the configuration of a command comes from.
func sources(flags *pflag.FlagSet, environ func(string) (string, bool)) config.Sources {
	s := config.Sources{File: config.DefaultFile(environ), Environ: environ}
	flags.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "config":
			s.File = f.Value.String()
		case "bindhost", "bindport":
			s.Flags = append(s.Flags, config.Flag{Name: "--" + f.Name, Key: "builder." + f.Name, Value: f.Value.String()})
		case "set":
			s.Set, _ = flags.GetStringArray(f.Name) // it is of that type
		}
	})
	return s
}

// newConfigCommand returns the command `config` with its subcommands, which
// only read. They take the same flags and environment as the daemon.
func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config COMMAND",
		Short: "Check or show the configuration of the daemon",
		Long: `Check or show the configuration that the daemon would use.

A value comes from a flag, else from an environment variable named
LPBUILDD_<SECTION>_<KEY>, else from the file, else it is the default. The file
is that of --config, else of $BUILDD_CONFIG, else buildd-example.conf in the
current folder.`,
		Args: cobra.NoArgs,
		RunE: help,
	}
	addConfigFlags(cmd.PersistentFlags())
	cmd.AddCommand(
		&cobra.Command{
			Use:           "check",
			Short:         "Report everything that is wrong; exit status 1 if the daemon would not start",
			Args:          cobra.NoArgs,
			SilenceUsage:  true,
			SilenceErrors: true,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, origins, err := config.LoadUsable(sources(cmd.Flags(), os.LookupEnv))
				return report(cmd.OutOrStdout(), origins, err)
			},
		},
		&cobra.Command{
			Use:           "show",
			Short:         "Print every key, its value and where that comes from",
			Args:          cobra.NoArgs,
			SilenceUsage:  true,
			SilenceErrors: true,
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, origins, err := config.LoadUsable(sources(cmd.Flags(), os.LookupEnv))
				return errors.Join(show(cmd.OutOrStdout(), origins), reportErrors(cmd.OutOrStdout(), err))
			},
		},
	)
	return cmd
}

// report prints warnings and errors, or OK. It returns an error if the
// configuration cannot be used.
func report(w io.Writer, origins []config.Origin, err error) error {
	for _, o := range origins {
		if o.Warning != "" {
			if _, err := fmt.Fprintf(w, "warning: %s: %s: %s\n", o.From, o.Key, o.Warning); err != nil {
				return err
			}
		}
	}
	if err != nil {
		return reportErrors(w, err)
	}
	_, err = fmt.Fprintln(w, "OK")
	return err
}

// reportErrors prints one line for each error and returns how many there are.
func reportErrors(w io.Writer, err error) error {
	if err == nil {
		return nil
	}
	problems := config.Problems(err)
	for _, p := range problems {
		if _, err := fmt.Fprintf(w, "error: %v\n", p); err != nil {
			return err
		}
	}
	return fmt.Errorf("the configuration cannot be used: %d error(s)", len(problems))
}

// show prints the keys as a table.
func show(w io.Writer, origins []config.Origin) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, o := range origins {
		from := o.From
		if o.Warning != "" {
			from += ", " + o.Warning
		}
		if _, err := fmt.Fprintf(table, "%s\t= %q\t# %s\n", o.Key, o.Value, from); err != nil {
			return err
		}
	}
	return table.Flush()
}
