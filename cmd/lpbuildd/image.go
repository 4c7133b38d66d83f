package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lpbuildd/buildd/operator"
)

// newImageCommand returns the command `image` with its subcommands.
func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image COMMAND",
		Short: "Look after the base images in the file cache",
		Long: `Look after the base images in the file cache.

A manager has its images fetched by itself; adding one spares its first build the
download, or gives 'lpbuildd selftest' something to build in. Images are named by
their SHA-1.`,
		Args: cobra.NoArgs,
		RunE: help,
	}
	addOperatorFlags(cmd.PersistentFlags())
	cmd.AddCommand(newImageAddCommand(), newImageListCommand(), newImageVerifyCommand(), newImageRmCommand())
	return cmd
}

func newImageAddCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "add FILE|URL",
		Short: "Put a base image into the file cache and print its SHA-1",
		Long: `Put a base image into the file cache and print its SHA-1.

A base image is a tarball, of any compression, whose top folder is
chroot-autobuild, or an image of LXD or Incus in one file. It is copied, and
belongs to the daemon's user. It stays for as long as the limits of the cache
allow, like a file that a manager had fetched.`,
		Example: `  lpbuildd image add chroot-noble-amd64.tar.gz
  lpbuildd image add https://images.example/chroot-noble-amd64.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openBuilder(cmd, "add a base image")
			if err != nil {
				return err
			}
			defer b.Close()
			sha1, err := b.AddImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), sha1)
			return err
		},
	}
}

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
			b, err := openBuilder(cmd, "list the base images")
			if err != nil {
				return err
			}
			defer b.Close()
			images, problems, err := b.Images(cmd.Context())
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
func printImages(w io.Writer, images []operator.Image) error {
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

// dash stands for nothing in a table.
func dash(text string) string { return cmp.Or(text, "-") }

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
			if err := operator.CheckSHA1(args[0]); err != nil {
				return err
			}
			b, err := openBuilder(cmd, "remove a base image")
			if err != nil {
				return err
			}
			defer b.Close()
			c, err := b.RemoveImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return printCollection(cmd.OutOrStdout(), c, false, false)
		},
	}
}

func newImageVerifyCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "verify [SHA1...]",
		Short: "Read base images again, and report those that are damaged",
		Long: `Read base images again, and report those whose content does not have their SHA-1;
the exit code is 1 then. Where none is named, every file of the cache that is named
by a SHA-1 is read: a damaged image need not look like one any more.

The daemon reads a file when it is first asked for after a start, and trusts it
from then on: a disk that damages it later goes unnoticed. Once a damaged image is
removed, with --remove or 'lpbuildd image rm', the next ensurepresent() of the
manager fetches it again, and the next build unpacks and imports it anew.`,
		Example: "  lpbuildd image verify\n  lpbuildd image verify --remove 3f786850e387550fdab836ed7e6dc881de23001b",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openBuilder(cmd, "verify base images")
			if err != nil {
				return err
			}
			defer b.Close()
			names, err := b.ToVerify(args)
			if err != nil {
				return err
			}
			return verifyAll(cmd, b, names, remove)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove damaged images, so that they are fetched again")
	return cmd
}

// verifyAll verifies these images, and says what is wrong with them. It goes on
// after a damaged one.
func verifyAll(cmd *cobra.Command, b *operator.Builder, names []string, remove bool) error {
	ctx, out, bad := cmd.Context(), cmd.OutOrStdout(), 0
	for _, name := range names {
		f := b.VerifyImage(ctx, name, remove)
		switch {
		case f.Content == "":
			fmt.Fprintln(out, "unread  ", name)
		case f.Sound:
			fmt.Fprintln(out, "sound   ", name)
		default:
			fmt.Fprintf(out, "damaged  %s: its content has the SHA-1 %s\n", name, f.Content)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !f.Sound {
			bad++
		}
		if f.Err != nil {
			fmt.Fprintln(out, "        ", f.Err)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d file(s) are damaged or cannot be read", bad, len(names))
	}
	fmt.Fprintf(out, "%d file(s) are sound\n", len(names))
	return nil
}
