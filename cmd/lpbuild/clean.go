package main

import "github.com/spf13/cobra"

func (a *app) cleanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Delete the results of a build that has ended, so that the builder is idle again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Clean(cmd.Context()); err != nil {
				return err
			}
			a.out.emit(event{Event: "cleaned"})
			a.out.say("The builder is idle.")
			return nil
		},
	}
}
