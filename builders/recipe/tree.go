package recipe

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
)

// tools are the packages one of which builds recipes, those that it uses where
// there are any, and the command.
func (c *builder) tools() (packages, helpers, command []string) {
	if c.git {
		return []string{"git-build-recipe"}, []string{"pristine-tar", "quilt"}, []string{"git-build-recipe"}
	}
	return []string{"brz-builder", "bzr-builder"}, []string{"pristine-tar", "quilt"}, []string{"bzr", "-Derror", "dailydeb"}
}

// install leaves out everything else that the tools recommend: it is no
// dependency of the package, and takes a minute.
func (c *builder) install(ctx context.Context, env builders.Env) error {
	candidates, helpers, _ := c.tools()
	known, err := apt.Available(ctx, env, slices.Concat(candidates, helpers)...)
	if err != nil {
		return err
	}
	if len(known) == 0 || !slices.Contains(candidates, known[0]) {
		return fmt.Errorf("no archive of the build has %s", strings.Join(candidates, " or "))
	}
	helpers = slices.DeleteFunc(helpers, func(name string) bool { return !slices.Contains(known, name) })
	names := slices.Concat([]string{"lsb-release", known[0]}, helpers)
	return apt.Get(ctx, env, append([]string{"install", "-y", "--no-install-recommends"}, names...)...)
}

// asUser is a command of the target as the build user; su is in every image.
func asUser(env builders.Env, dir string, environment []string, argv ...string) backends.Command {
	return backends.Command{
		Argv:   []string{"su", "-s", "/bin/sh", "-c", backends.Quote(argv...), env.User},
		Dir:    dir,
		Env:    environment,
		Stdout: env.Log,
		Stderr: env.Log,
	}
}

func (c *builder) buildTree(ctx context.Context, env builders.Env) error {
	work := workOf(env)
	release, err := backends.Output(ctx, env.Target, backends.Command{Argv: []string{"lsb_release", "-r", "-s"}, Stderr: env.Log})
	if err != nil {
		return fmt.Errorf("cannot find out the release of the target: %w", err)
	}
	if err := c.sayVersions(ctx, env); err != nil {
		return err
	}
	env.Say("Building recipe:\n%s", strings.TrimSuffix(c.text, "\n"))
	argv, err := c.command(ctx, env)
	if err != nil {
		return err
	}
	argv = append(argv, "--safe", "--no-build", "--manifest", work.tree+"/manifest",
		"--distribution", env.Common.Series, "--allow-fallback-to-native",
		"--append-version", "~ubuntu"+strings.TrimSpace(string(release))+".1", work.recipe, work.tree)
	env.Say("RUN %s", backends.PythonList(argv))
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("cannot find out the name of the builder: %w", err)
	}
	return builders.WithoutArguments(env.Target.Run(ctx, asUser(env, work.dir, c.environment(env, host), argv...)))
}

// environment is that of the program that builds recipes. A merge is a commit,
// for which Git wants a name; the build user of a base image has none.
func (c *builder) environment(env builders.Env, host string) []string {
	environment := []string{"DEBEMAIL=" + c.authorEmail, "DEBFULLNAME=" + c.authorName, "EMAIL=buildd@" + host, "LANG=C.UTF-8"}
	if c.git {
		environment = append(environment, "GIT_AUTHOR_NAME="+env.User, "GIT_COMMITTER_NAME="+env.User)
	}
	return environment
}

// command is the program that builds recipes, as it is called in the target.
func (c *builder) command(ctx context.Context, env builders.Env) ([]string, error) {
	_, _, command := c.tools()
	if c.git {
		return command, nil
	}
	there, err := backends.Exists(ctx, env.Target, "/usr/bin/brz-build-daily-recipe")
	if there {
		return []string{"brz-build-daily-recipe"}, nil
	}
	return command, err
}

func (c *builder) sayVersions(ctx context.Context, env builders.Env) error {
	if !c.git {
		env.Say("Bazaar versions:")
		if err := env.InTarget(ctx, "bzr", "version"); err != nil {
			return err
		}
		return env.InTarget(ctx, "bzr", "plugins")
	}
	env.Say("Git version:")
	if err := env.InTarget(ctx, "git", "--version"); err != nil {
		return err
	}
	version, err := backends.Output(ctx, env.Target, backends.Command{Argv: []string{"dpkg-query", "-W", "git-build-recipe"}, Stderr: env.Log})
	if err != nil {
		return err
	}
	env.Say("%s", strings.TrimSpace(strings.ReplaceAll(string(version), "\t", " ")))
	return nil
}

// sourceDir is the one folder that the recipe has made.
func sourceDir(ctx context.Context, env builders.Env) (string, error) {
	tree := workOf(env).tree
	out, err := backends.Output(ctx, env.Target, backends.Command{
		Argv: []string{"find", tree, "-mindepth", "1", "-maxdepth", "1", "-type", "d", "-printf", `%P\0`},
	})
	if err != nil {
		return "", fmt.Errorf("cannot list %s: %w", tree, err)
	}
	names := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	if len(names) != 1 {
		return "", fmt.Errorf("the recipe must make exactly one folder, and made %d: %s", len(names), backends.PythonList(names))
	}
	return tree + "/" + names[0], nil
}
