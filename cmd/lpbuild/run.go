package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/client"
)

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run --image IMAGE {SOURCE.dsc | TYPE [FOLDER|URL]}",
		Short: "Build a Debian source package, or a repository, and download the results",
		Long: `Build a Debian source package, or a repository, and download the results.

A .dsc, the files that it names (beside it) and the base image are served to the
builder, the log is shown live, the results and the log are downloaded, and the
builder is cleaned. The exit code tells the outcome, see "lpbuild --help".
Interrupting it aborts the build and cleans the builder; a second time kills
lpbuild.

TYPE is snap or oci, or what else the builder knows, see "lpbuild info". It
builds from a git repository: one behind a URL, or that of a folder (default:
the working folder), which must be the top of a work tree. What is checked out
is built, but only what is committed. The repository is served, read-only and
under a name that nobody can guess, until the build has ended; with it submodules
whose URLs begin with ../ or ./, as far as they are here. What else a build will
miss, such as files in Git LFS, is said before it begins. The build itself
fetches it, so that its container, and its proxy if it has one, must be able to
reach --serve-address; where the builder is on this machine, the default is an
address that is not of the loopback interface. A sourcepackagerecipe and a livefs
have no repository; --args says what to build.

Arguments of the build come from the file of --args, then from flags, then from
--arg; the last one wins.`,
		Example: `  lpbuild run --image base.tar.gz --series bookworm \
    --archive 'deb http://archive.example/debian bookworm main' hello_2.10-3.dsc
  lpbuild run --image base.tar.gz --series noble snap . --channel snapcraft=latest/stable
  lpbuild run --image base.tar.gz --series noble oci . --build-arg VERSION=2`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseTarget(args)
			if err != nil {
				return err
			}
			if err := t.check(o.changed); err != nil {
				return err
			}
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			b := building{app: a, client: c, options: o, target: t}
			return b.run(cmd.Context())
		},
	}
	o.addFlags(cmd)
	return cmd
}

// run does everything, one step after the other.
func (b *building) run(ctx context.Context) error {
	w, r, err := b.prepare(ctx)
	defer w.close()
	if err != nil {
		return interrupted(ctx, err)
	}
	out, err := openOutput(b.options.folder)
	if err != nil {
		return err
	}
	defer out.close()
	if err := start(ctx, b.client, r); err != nil {
		return interrupted(ctx, err)
	}
	b.out.emit(event{Event: "accepted", BuildID: r.BuildID})
	b.out.say("Building %s as %s", b.target, r.BuildID)

	st, err := b.follow(ctx, b.client)
	if ctx.Err() != nil {
		b.out.say("Aborting the build")
		st, err = b.abort(context.WithoutCancel(ctx), b.client)
	}
	if err != nil {
		return fmt.Errorf("%w\nThe build may still be there: see 'lpbuild status' and 'lpbuild watch'.", err)
	}
	if st.State != buildd.Waiting {
		return errLost
	}
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx) // the log of an aborted build is wanted, too
	}
	logName := fmt.Sprintf("%s_%v.build", w.name, r.Args["arch_tag"])
	return b.finish(ctx, out, st, logName)
}

// prepare checks the builder, reads the source, gives all files to the builder
// and makes the request. The work must be closed, even after an error.
func (b *building) prepare(ctx context.Context) (*work, buildd.Request, error) {
	r := buildd.Request{BuildID: b.options.id, Tag: b.target.tag}
	info, err := b.ready(ctx)
	if err != nil {
		return nil, r, err
	}
	if b.options.arch == "" {
		b.options.arch = info.Arch
	}
	file, single, err := b.options.given()
	if err != nil {
		return nil, r, err
	}
	w, err := b.openWork(ctx, both(file, single))
	if err != nil {
		return w, r, err
	}
	if r.Args, err = b.options.requestArgs(w, file, single); err != nil {
		return w, r, err
	}
	if name, ok := r.Args["name"].(string); ok && b.target.tag != binaryPackage {
		w.name = filepath.Base(name)
	}
	for _, f := range w.files {
		r.Files = append(r.Files, ordered.Member[string]{Name: f.name, Value: f.sha1})
	}
	image, err := b.readImage(ctx, r)
	if err != nil {
		return w, r, fmt.Errorf("cannot use the base image: %w", err)
	}
	r.Image = image.sha1
	if err := b.give(ctx, b.client, b.options.address, append([]localFile{image}, w.files...)); err != nil {
		return w, r, err
	}
	return w, r, b.serve(ctx, w, r)
}

// ready makes sure that the builder is idle and can build the type.
func (b *building) ready(ctx context.Context) (buildd.Info, error) {
	st, err := b.client.Status(ctx)
	if err != nil {
		return buildd.Info{}, err
	}
	if st.State != buildd.Idle {
		return buildd.Info{}, busy(st)
	}
	if st.Drained != "" {
		return buildd.Info{}, fmt.Errorf("cannot build now: %s", printable(st.Drained))
	}
	info, err := b.client.Info(ctx)
	if err != nil {
		return info, err
	}
	if !slices.Contains(info.Tags, b.target.tag) {
		return info, fmt.Errorf("the builder cannot build the type %s, only %s", b.target.tag, printable(strings.Join(info.Tags, ", ")))
	}
	return info, nil
}

// both are the arguments of the file, and the single ones, which win.
func both(file, single map[string]any) map[string]any {
	all := maps.Clone(file)
	maps.Copy(all, single)
	return all
}

// readImage hashes the image, and tells its type unless the user did.
func (b *building) readImage(ctx context.Context, r buildd.Request) (localFile, error) {
	b.out.say("Hashing %s", b.options.image)
	image, err := newHashCache().hash(ctx, b.options.image)
	if err != nil {
		return image, err
	}
	if r.Args["image_type"] == nil {
		r.Args["image_type"], err = imageTypeOf(b.options.image)
	}
	return image, err
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
func start(ctx context.Context, c *client.Client, r buildd.Request) error {
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
func (b *building) finish(ctx context.Context, out *output, st buildd.Status, logName string) error {
	files, err := b.fetchAll(ctx, b.client, out, st, logName)
	if err != nil {
		return fmt.Errorf("%w\nThe results are still at the builder: see 'lpbuild fetch' and 'lpbuild clean'.", err)
	}
	if !b.options.keep {
		if err := b.client.Clean(ctx); err != nil {
			return err
		}
	}
	b.out.ended(st, files, exitCodeOf(st.Outcome))
	return asError(st.Outcome)
}
