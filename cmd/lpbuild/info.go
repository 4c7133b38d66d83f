package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) infoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "info",
		Short: "Show the builder's architecture and build types",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			info, err := c.Info(cmd.Context())
			if err != nil {
				return err
			}
			if a.out.json {
				a.out.object(map[string]any{"arch": info.Arch, "types": info.Tags})
				return nil
			}
			a.out.result("architecture: %s", printable(info.Arch))
			a.out.result("build types:  %s", printable(strings.Join(info.Tags, ", ")))
			return nil
		},
	}
}

// jsonText is a value of the protocol on one line.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}
