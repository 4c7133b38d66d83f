package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/buildd/operator"
)

func newGCCommand() *cobra.Command {
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what the limits of the configuration do not allow",
		Long: `Remove what the limits of the configuration do not allow, and what nobody uses:

  cached files          beyond [cache] maxsize, maxage and minfree
  unpacked images       beyond [cache] roots
  imported images       beyond [backend] images and imagesage
  half-unpacked images, temporary files and the trash, which crashes have left

Nothing goes that a running or waiting build uses, and no cached file that was
fetched or used in the last 15 minutes. Imported images are those of all builders
that use the same container engine and project.

The daemon may run meanwhile. It keeps the same limits itself: those of cached files
every 10 minutes, the others with each build. Lower limits for once are given with
--set.

As the daemon's user this needs the sudo rule of 'lpbuildd stock'.`,
		Example: `  lpbuildd gc --dry-run
  lpbuildd gc --set cache.maxsize=10G --set cache.roots=0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := openBuilder(cmd, "collect garbage")
			if err != nil {
				return err
			}
			defer b.Close()
			c := b.Collect(cmd.Context(), dryRun)
			if err := printCollection(cmd.OutOrStdout(), c, dryRun, asJSON); err != nil {
				return err
			}
			return problemsOf(cmd.ErrOrStderr(), c.Problems)
		},
	}
	addOperatorFlags(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "remove nothing, and say what would be removed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// problemsOf prints problems, and is an error if there are some.
func problemsOf(w io.Writer, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	for _, p := range problems {
		fmt.Fprintln(w, "problem:", p)
	}
	return fmt.Errorf("cannot do everything: %d problem(s), see above; unpacked and imported images need root, or the sudo rule of 'lpbuildd stock'", len(problems))
}

// printCollection says what was removed, or would be.
func printCollection(w io.Writer, c operator.Collection, dryRun, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			DryRun bool `json:"dry_run"`
			operator.Collection
		}{dryRun, c})
	}
	verb, sum := "removed", "freed"
	if dryRun {
		verb, sum = "would remove", "would be freed"
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range c.Removed {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", verb, r.Kind, r.Name, sizeText(r.Bytes), usedText(r.Used))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s %s by %d removal(s)\n", sizeText(c.Bytes), sum, len(c.Removed))
	return err
}

// printJSON prints one object on one line.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// sizeText is a number of bytes for people.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/unit, "KMGTPE"
	for value >= unit && len(units) > 1 {
		value, units = value/unit, units[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, units[0])
}

// usedText is the time of the last use for people.
func usedText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return "last used " + t.Local().Format("2006-01-02 15:04")
}
