// Package recipe is run by the worker of a build, root inside the build's namespaces: it
// builds source packages from recipes, the type sourcepackagerecipe. It touches the
// target through builders.Env, and what a recipe names runs there as the build user.
package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/debian"
	"lpbuildd/builders/debian/depwait"
)

// New reads the arguments of a recipe.
func New(args builders.Args, _ []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	c := &builder{
		suite:       r.Required("suite"),
		component:   r.Required("ogrecomponent"),
		purpose:     r.Required("archive_purpose"),
		authorName:  r.Required("author_name"),
		authorEmail: r.Required("author_email"),
		git:         r.Bool("git"),
	}
	var err error
	c.text, err = args.String("recipe_text")
	r.Note(err)
	return c, r.Err()
}

// Build makes the source tree, installs its build dependencies, and packs it.
// Each part has a verdict of its own (spec: builders.md section 3.3).
func (c *builder) Build(ctx context.Context, env builders.Env) error {
	for _, part := range []struct {
		run    func(context.Context, builders.Env) error
		advice string
	}{
		{c.prepare, "Check the base image: it needs the build user, and space for its home folder."},
		{c.install, "See apt's messages above: the programs that build recipes could not be installed from the archives of the build."},
		{c.buildTree, "See the output above: the recipe, or a repository that it names, cannot be used."},
		{c.installDependencies, "See apt's messages above: the build dependencies of the package cannot be installed."},
		{c.buildSource, "See the output of dpkg-buildpackage above."},
	} {
		if err := part.run(ctx, env); err != nil {
			return builders.Blame(ctx, verdict.PackageFail, err, part.advice)
		}
	}
	return nil
}

// prepare makes the work folder, with the recipe in it.
func (c *builder) prepare(ctx context.Context, env builders.Env) error {
	work := workOf(env)
	err := env.InTarget(ctx, "mkdir", "-p", work.dir)
	if err == nil {
		err = env.InTarget(ctx, "chown", "-R", env.User+":", work.dir)
	}
	if err == nil {
		err = builders.WriteText(ctx, env, work.recipe, c.text)
	}
	if err != nil {
		return builders.Blame(ctx, verdict.ChrootFail, fmt.Errorf("cannot make %s in the target: %w", work.dir, err),
			"Check the base image: it needs the user "+env.User+".")
	}
	args := []string{filepath.Join(env.SharePath, "bin", "buildrecipe")}
	if c.git {
		args = append(args, "--git")
	}
	env.AnnounceRun(append(args, env.Job.BuildID, c.authorName, c.authorEmail, c.suite, env.Common.Series, c.component, c.purpose)...)
	return nil
}

// sourceName is what Debian allows as the name of a source package.
var sourceName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*$`)

// packageName is the first word of the changelog.
func (c *builder) packageName(ctx context.Context, env builders.Env, dir string) (string, error) {
	changelog, err := builders.ReadText(ctx, env, dir+"/debian/changelog")
	if err != nil {
		return "", fmt.Errorf("the recipe's tree has no usable debian/changelog: %w", err)
	}
	line, _, _ := strings.Cut(changelog, "\n")
	name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !sourceName.MatchString(name) {
		return "", fmt.Errorf("debian/changelog names the package %q, which is no name of a source package", name)
	}
	return name, nil
}

func (c *builder) installDependencies(ctx context.Context, env builders.Env) error {
	dir, err := sourceDir(ctx, env)
	if err != nil {
		return err
	}
	name, err := c.packageName(ctx, env, dir)
	if err != nil {
		return err
	}
	building := fmt.Sprintf("Package: %s\nSuite: %s\nComponent: %s\nPurpose: %s\nBuild-Debug-Symbols: no\n",
		name, c.suite, c.component, c.purpose)
	if err := builders.WriteText(ctx, env, "/CurrentlyBuilding", building); err != nil {
		return err
	}
	control, err := builders.ReadText(ctx, env, dir+"/debian/control")
	if err != nil {
		return fmt.Errorf("the recipe's tree has no usable debian/control: %w", err)
	}
	if err := offerSource(ctx, env, name, control); err != nil {
		return fmt.Errorf("cannot offer the build dependencies to apt: %w", err)
	}
	err = apt.Get(ctx, env, "build-dep", "-y", "--only-source", name)
	var exit *backends.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	depends, analysis := waitsFor(ctx, env, control)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if analysis != nil {
		env.Say("Failed to analyse dep-wait: %v", analysis)
	}
	if depends == "" {
		return fmt.Errorf("cannot install the build dependencies: %w", err)
	}
	return debian.DependencyWait(depends)
}

// waitsFor is what the build dependencies in a control file wait for, "" if
// nothing.
func waitsFor(ctx context.Context, env builders.Env, control string) (string, error) {
	named, err := unmetDependency(env)
	if err != nil {
		return "", err
	}
	dsc := strings.NewReader("Format: 1.0\n" + dependencies(control))
	return debian.WaitsFor(ctx, env, debian.Wanted{DSC: dsc, ArchIndep: true}, depwait.Finding{Kind: depwait.Definite, Depends: named})
}

func (c *builder) buildSource(ctx context.Context, env builders.Env) error {
	dir, err := sourceDir(ctx, env)
	if err != nil {
		return err
	}
	return builders.WithoutArguments(env.Target.Run(ctx, asUser(env, dir, nil,
		"/usr/bin/dpkg-buildpackage", "-i", "-I.bzr", "-I.git", "-us", "-uc", "-S", "-sa")))
}

// Gather hands over the source package, and the manifest of the recipe.
func (c *builder) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) error {
	tree := workOf(env).tree
	names, err := builders.Products(ctx, env, tree, "_source.changes")
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("cannot gather the source package: the build succeeded without making a _source.changes file in %s", tree)
	}
	changes, err := env.Target.CopyOut(ctx, tree+"/"+names[0])
	if err != nil {
		return err
	}
	listed, err := debian.ParseChanges(changes)
	if err = errors.Join(err, changes.Close()); err != nil {
		return fmt.Errorf("cannot read %s: %w", names[0], err)
	}
	for _, name := range slices.Concat([]string{names[0]}, listed, []string{"manifest"}) {
		if err := builders.GatherProduct(ctx, env, tree, name, add); err != nil {
			return err
		}
	}
	return nil
}
