package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
)

func (a *app) fetchCommand() *cobra.Command {
	var folder string
	cmd := &cobra.Command{
		Use:   "fetch",
		Short: "Download the log and the results of a build that has ended, and check their SHA-1",
		Long: `Download the log and the results of a build that has ended, and check their
SHA-1. The log is saved as "buildlog". The builder keeps its copy until
"lpbuild clean".`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			st, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if st.State != buildd.Waiting {
				return fmt.Errorf("the builder is %s: there are results only after a build; 'lpbuild watch' waits for its end", st.State)
			}
			o, err := openOutput(folder)
			if err != nil {
				return err
			}
			defer o.close()
			a.out.startProgress()
			files, err := a.fetchAll(cmd.Context(), c, o, st, "buildlog")
			if err != nil {
				return err
			}
			a.out.ended(st, files, 0)
			return nil
		},
	}
	cmd.Flags().StringVarP(&folder, "output", "o", ".", "`folder` for the files")
	return cmd
}
