package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
)

// ensureOptions are the flags of ensure.
type ensureOptions struct {
	sha1, user, address string
}

func (a *app) ensureCommand() *cobra.Command {
	var o ensureOptions
	cmd := &cobra.Command{
		Use:   "ensure FILE|URL...",
		Short: "Make sure that the builder has files, and print their SHA-1",
		Long: `Make sure that the builder has files, and print their SHA-1.

Local files are served to the builder while it fetches them. A URL is fetched
by the builder itself and needs --sha1; its password, if it needs one, is taken
from the environment variable LPBUILD_PASSWORD.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			if isURL(args[0]) {
				return a.ensureURL(cmd.Context(), c, args, o)
			}
			return a.ensureFiles(cmd.Context(), c, args, o)
		},
	}
	cmd.Flags().StringVar(&o.sha1, "sha1", "", "`SHA-1` of the file behind the URL")
	cmd.Flags().StringVar(&o.user, "user", "", "user `name` for the URL")
	addServeFlag(cmd, &o.address)
	return cmd
}

// addServeFlag adds the flag of all commands that serve files.
func addServeFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "serve-address", "",
		"`HOST[:PORT]` of this machine from which the builder fetches local files (default: the address from which it reaches the builder)")
}

// isURL tells URLs from names of files.
func isURL(text string) bool {
	return strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://")
}

// ensureURL has the builder fetch a file from anywhere.
func (a *app) ensureURL(ctx context.Context, c *client.Client, args []string, o ensureOptions) error {
	if len(args) != 1 || o.sha1 == "" {
		return errors.New("a URL must come alone and with --sha1, so that the builder can check what it gets")
	}
	u, err := url.Parse(args[0])
	if err != nil {
		return fmt.Errorf("cannot use the URL: %w", err)
	}
	presence, err := c.EnsurePresent(ctx, o.sha1, buildd.Source{URL: &args[0], Username: o.user, Password: os.Getenv("LPBUILD_PASSWORD")})
	if err != nil {
		return err
	}
	a.out.emit(event{Event: "present", Name: u.Redacted(), SHA1: o.sha1, Present: &presence.Present, Info: presence.Info})
	if !presence.Present {
		return fmt.Errorf("the builder could not fetch %s: %s", u.Redacted(), printable(presence.Info))
	}
	a.out.say("%s: the builder has it (%s)", u.Redacted(), printable(presence.Info))
	a.out.result("%s", o.sha1)
	return nil
}

// ensureFiles gives local files to the builder.
func (a *app) ensureFiles(ctx context.Context, c *client.Client, args []string, o ensureOptions) error {
	if o.sha1 != "" || o.user != "" {
		return errors.New("--sha1 and --user are for URLs only")
	}
	cache := newHashCache()
	var files []localFile
	for _, arg := range args {
		f, err := cache.hash(ctx, arg)
		if err != nil {
			return fmt.Errorf("cannot give the builder %s: %w", arg, err)
		}
		files = append(files, f)
	}
	if err := a.give(ctx, c, o.address, files); err != nil {
		return err
	}
	for _, f := range files {
		a.out.result("%s  %s", f.sha1, f.name)
	}
	return nil
}
