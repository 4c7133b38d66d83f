package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"os/signal"
	"os/user"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/operator"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/supervise"
)

// newKeptCommand returns the command `kept` with its subcommands.
func newKeptCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kept",
		Short: "List or remove what is kept of failed builds",
		Long: `List what is kept of failed builds (section [keep] of the configuration), who is
inside, and until when it is kept.

The daemon removes what has expired while it runs; "kept expire" does the same
where it does not.`,
		Args: cobra.NoArgs,
		RunE: listKept,
	}
	addOperatorFlags(cmd.PersistentFlags())
	cmd.Flags().Bool("json", false, "print JSON")
	cmd.AddCommand(
		&cobra.Command{
			Use: "expire", Short: "Remove what has expired, or takes up space that the cache needs", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				folder, err := stateFolder(cmd.Flags())
				if err != nil {
					return err
				}
				return supervise.ExpireKept(cmd.Context(), folder, systemLog())
			},
		},
		&cobra.Command{
			Use: "rm BUILD-ID", Short: "Remove what is kept of a build", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				folder, err := stateFolder(cmd.Flags())
				if err != nil {
					return err
				}
				return supervise.DropKept(cmd.Context(), folder, args[0], whoAsks(), systemLog())
			},
		},
	)
	return cmd
}

// newEnterCommand returns the command `enter`.
func newEnterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enter [BUILD-ID] [-- COMMAND...]",
		Short: "Look into a failed build that was kept",
		Long: `Run a shell, or a command, as root in what is kept of a failed build (section
[keep] of the configuration), in namespaces of its own, with the file systems
that a build has. Containers are started for it, without a network, and stopped
afterwards. What is changed inside stays, until the build expires; then whoever
is inside is thrown out. The exit status is that of the command.

The BUILD-ID may be left out when only one build is kept; "lpbuildd kept" lists
them. Run this as root.`,
		RunE: enter,
	}
	addOperatorFlags(cmd.Flags())
	return cmd
}

func enter(cmd *cobra.Command, args []string) error {
	names, argv := args, []string(nil)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		names, argv = args[:dash], args[dash:]
	}
	if len(names) > 1 {
		return fmt.Errorf("expected one build, got %q; write -- before a command", names)
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can enter a build: use sudo")
	}
	folder, err := stateFolder(cmd.Flags())
	if err != nil {
		return err
	}
	if len(names) == 0 {
		only, err := onlyKept(cmd.OutOrStdout(), folder)
		if err != nil {
			return err
		}
		names = []string{only}
	}
	// A visit ends with the connection that it came by.
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
	defer stop()
	return ofVisit(supervise.Visit(ctx, folder, names[0], whoAsks(), argv, systemLog()))
}

// onlyKept is the one build that is kept. If there are several, it shows them.
func onlyKept(w io.Writer, folder state.Folder) (id string, err error) {
	builds := kept.In(folder)
	all, err := builds.List()
	switch {
	case err != nil:
		return "", err
	case len(all) == 0:
		return "", errors.New("nothing is kept; [keep] failed in the configuration says whether failed builds are")
	case len(all) == 1:
		return all[0].ID, nil
	}
	if err := printKept(w, builds, all); err != nil {
		return "", err
	}
	return "", errors.New("several builds are kept: say which one")
}

func listKept(cmd *cobra.Command, _ []string) error {
	folder, err := stateFolder(cmd.Flags())
	if err != nil {
		return err
	}
	builds := kept.In(folder)
	all, err := builds.List()
	if err != nil {
		return err
	}
	if asJSON, err := cmd.Flags().GetBool("json"); asJSON || err != nil {
		return errors.Join(err, printKeptJSON(cmd.OutOrStdout(), builds, all))
	}
	return printKept(cmd.OutOrStdout(), builds, all)
}

// printKept prints a table.
func printKept(w io.Writer, builds kept.Builds, all []kept.Record) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "Nothing is kept.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tBUILD\tTYPE\tRESULT\tSTAGE\tFAILED\tKEPT UNTIL\tINSIDE")
	for _, r := range all {
		inside := "-"
		if v, ok := builds.Visitor(r.ID); ok {
			inside = v.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.BuildID, r.Tag, r.Status, r.Stage, local(r.Failed), local(r.Expires), inside)
	}
	return table.Flush()
}

func local(t time.Time) string { return t.Local().Format(time.DateTime) }

// printKeptJSON prints a list of records, with who is inside.
func printKeptJSON(w io.Writer, builds kept.Builds, all []kept.Record) error {
	type entry struct {
		kept.Record

		Visitor *kept.Visitor `json:"visitor,omitempty"`
	}
	list := []entry{}
	for _, r := range all {
		e := entry{Record: r}
		if v, ok := builds.Visitor(r.ID); ok {
			e.Visitor = &v
		}
		list = append(list, e)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(list)
}

// stateFolder is where the daemon of the configuration keeps its state.
func stateFolder(flags *pflag.FlagSet) (state.Folder, error) {
	return operator.StateOf(sources(flags, operatorEnviron))
}

// whoAsks is the person at the terminal.
func whoAsks() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// systemLog is the machine's log, where there is one, for what people do.
func systemLog() *slog.Logger {
	w, err := syslog.New(syslog.LOG_NOTICE|syslog.LOG_AUTHPRIV, "lpbuildd")
	if err != nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w, nil))
}
