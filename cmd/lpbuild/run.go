package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
)

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run --image IMAGE SOURCE.dsc",
		Short: "Build a Debian source package from local files and download the results",
		Long: `Build a Debian source package from local files and download the results.

The .dsc, the files that it names (beside it) and the base image are served to
the builder, the log is shown live, the results and the log are downloaded, and
the builder is cleaned. The exit code tells the outcome, see "lpbuild --help".
Interrupting it aborts the build and cleans the builder; a second time kills
lpbuild.`,
		Example: `  lpbuild run --image base.tar.gz --series bookworm \
    --archive 'deb http://archive.example/debian bookworm main' hello_2.10-3.dsc`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			defer c.Close()
			return a.runBuild(cmd.Context(), c, o, args[0])
		},
	}
	o.addFlags(cmd)
	return cmd
}

// runBuild does everything, one step after the other.
func (a *app) runBuild(ctx context.Context, c *rpc.Client, o runOptions, dsc string) error {
	r, err := a.prepare(ctx, c, o, dsc)
	if err != nil {
		return interrupted(ctx, err)
	}
	out, err := openOutput(o.folder)
	if err != nil {
		return err
	}
	defer out.close()
	if err := start(ctx, c, r); err != nil {
		return interrupted(ctx, err)
	}
	a.out.emit(event{Event: "accepted", BuildID: r.BuildID})
	a.out.say("Building %s as %s", dsc, r.BuildID)

	st, err := a.follow(ctx, c)
	if ctx.Err() != nil {
		a.out.say("Aborting the build")
		st, err = a.abort(context.WithoutCancel(ctx), c)
	}
	if err != nil {
		return fmt.Errorf("%w\nThe build may still be there: see 'lpbuild status' and 'lpbuild watch'.", err) //nolint:revive,staticcheck // a sentence for people
	}
	if st.State != buildd.Waiting {
		return errLost
	}
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx) // the log of an aborted build is wanted, too
	}
	logName := fmt.Sprintf("%s_%v.build", strings.TrimSuffix(filepath.Base(dsc), ".dsc"), r.Args["arch_tag"])
	return a.finish(ctx, c, out, st, logName, o.keep)
}

// prepare checks the builder, hashes the files, gives them to the builder and
// makes the request.
func (a *app) prepare(ctx context.Context, c *rpc.Client, o runOptions, dsc string) (buildd.Request, error) {
	r := buildd.Request{BuildID: o.id, Tag: "binarypackage", Files: map[string]string{}}
	st, err := c.Status(ctx)
	if err != nil {
		return r, err
	}
	if st.State != buildd.Idle {
		return r, busy(st)
	}
	if o.arch == "" {
		info, err := c.Info(ctx)
		if err != nil {
			return r, err
		}
		o.arch = info.Arch
	}
	if r.Args, err = o.buildArgs(); err != nil {
		return r, err
	}
	files, err := readSource(ctx, dsc)
	if err != nil {
		return r, err
	}
	for _, f := range files {
		r.Files[f.name] = f.sha1
	}
	a.out.say("Hashing %s", o.image)
	image, err := newHashCache().hash(ctx, o.image)
	if err != nil {
		return r, fmt.Errorf("cannot use the base image: %w", err)
	}
	r.Image = image.sha1
	return r, a.give(ctx, c, o.address, append([]localFile{image}, files...))
}

// busy says what to do with a builder that is not idle.
func busy(st buildd.Status) error {
	if st.State == buildd.Waiting {
		return fmt.Errorf("the builder still has the results of %s: 'lpbuild fetch' downloads and 'lpbuild clean' deletes them", printable(st.BuildID))
	}
	return fmt.Errorf("the builder is busy with %s: wait for its end with 'lpbuild watch', or abort it with 'lpbuild abort'", printable(st.BuildID))
}

// start sends the request. It is not interrupted, so that nobody is in doubt
// whether there is a build.
func start(ctx context.Context, c *rpc.Client, r buildd.Request) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return refusal(c.Build(ctx, r))
}

// interrupted replaces an error that came from Ctrl-C.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted before the build began")
	}
	return err
}

// finish downloads what there is, cleans the builder and reports the outcome.
func (a *app) finish(ctx context.Context, c *rpc.Client, out *output, st buildd.Status, logName string, keep bool) error {
	files, err := a.fetchAll(ctx, c, out, st, logName)
	if err != nil {
		return fmt.Errorf("%w\nThe results are still at the builder: see 'lpbuild fetch' and 'lpbuild clean'.", err) //nolint:revive,staticcheck // a sentence for people
	}
	if !keep {
		if err := c.Clean(ctx); err != nil {
			return err
		}
	}
	a.ended(st, files)
	return asError(st.Outcome)
}
