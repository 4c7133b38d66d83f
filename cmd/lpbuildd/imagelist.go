package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func newImageListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the base images, and what is kept of them",
		Long: `List the base images in the file cache, the most recently used first: their size
and last use, what their unpacked root takes on the disk, which container engine
has imported them, and whether a build uses them. Images that are no longer in the
cache, but of which something is kept, have no type.

As the daemon's user this needs the sudo rule of 'lpbuildd stock'.`,
		Example: "  lpbuildd image list\n  lpbuildd image list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := openSite(cmd, "list the base images")
			if err != nil {
				return err
			}
			defer s.close()
			images, problems, err := s.images(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), map[string]any{"images": images, "problems": append([]string{}, problems...)})
			} else {
				err = printImages(cmd.OutOrStdout(), images)
			}
			if err != nil {
				return err
			}
			return problemsOf(cmd.ErrOrStderr(), problems)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// printImages prints a table.
func printImages(w io.Writer, images []baseImage) error {
	if len(images) == 0 {
		_, err := fmt.Fprintln(w, "There are no base images. 'lpbuildd image add FILE' adds one.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SHA-1\tTYPE\tSIZE\tLAST USE\tUNPACKED\tIMPORTED\tBUILD")
	for _, i := range images {
		size, unpacked, used, build := "", "", "", ""
		if i.Cached {
			size = sizeText(i.Bytes)
		}
		if i.Unpacked > 0 {
			unpacked = sizeText(i.Unpacked)
		}
		if !i.Used.IsZero() {
			used = i.Used.Local().Format("2006-01-02 15:04")
		}
		if i.InUse {
			build = "in use"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.SHA1, dash(i.Type), dash(size), dash(used), dash(unpacked),
			dash(strings.Join(i.Imported, ", ")), dash(build))
	}
	return table.Flush()
}
