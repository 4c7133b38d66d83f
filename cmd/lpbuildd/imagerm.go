package main

import (
	"github.com/spf13/cobra"

	"lpbuildd/buildd"
)

func newImageRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm SHA1",
		Short: "Remove a base image, its unpacked root and what was imported of it",
		Long: `Remove a base image from the file cache, with its unpacked root and what container
engines have imported of it. An image that a running or waiting build uses is
refused. The next ensurepresent() of a manager fetches the image again.

As the daemon's user this needs the sudo rule of 'lpbuildd stock'.`,
		Example: "  lpbuildd image rm 3f786850e387550fdab836ed7e6dc881de23001b",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkSHA1(args[0]); err != nil {
				return err
			}
			s, err := openSite(cmd, "remove a base image")
			if err != nil {
				return err
			}
			defer s.close()
			launcher, err := newLauncher()
			if err != nil {
				return err
			}
			request := s.stock()
			request.Image = args[0]
			c, err := buildd.RemoveImage(cmd.Context(), s.cache, launcher, request)
			if err != nil {
				return err
			}
			return printCollection(cmd.OutOrStdout(), c, false, false)
		},
	}
}
