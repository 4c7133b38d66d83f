// Package vcs is run by the worker of a build, root inside the build's namespaces, and
// touches the target through builders.Env: it fetches the source of a build from Git or
// Bazaar into the target (spec: lifecycle.md section 15).
package vcs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/builders"
	"lpbuildd/builders/credentials"
)

// CheckOut makes the folder dir of the target a checkout. A shallow one has no
// history.
func (s Source) CheckOut(ctx context.Context, env builders.Env, dir string, environment []string, shallow bool) error {
	if s.IsNone() {
		return errNotOneSource
	}
	if s.isPrivate() {
		// Where Git and Bazaar write down where they got it from.
		env.SecretsIn(dir+"/.git/config", dir+"/.git/modules", dir+"/.bzr/branch/branch.conf")
	}
	s.ref = strings.TrimSuffix(s.ref, "^{}") // which a checkout does anyway
	heard := &listener{log: env.Log}
	env.Log = heard
	c := checkout{source: s, env: env, heard: heard, dir: dir, environment: environment}
	if s.branch != "" {
		return c.beside(ctx, "bzr", "branch", s.branch, path.Base(dir))
	}
	fetch := c.full
	if shallow {
		fetch = c.shallow
	}
	if err := fetch(ctx); err != nil {
		return c.explain(ctx, err)
	}
	return c.submodules(ctx)
}

// revision asks a checkout for its revision id.
func (s Source) revision(ctx context.Context, env builders.Env, dir string) (string, error) {
	argv := []string{"git", "rev-parse", "HEAD^{}"}
	if s.branch != "" {
		argv = []string{"bzr", "revno"}
	}
	out, err := backends.Output(ctx, env.Target, backends.Command{Argv: argv, Dir: dir, Env: builders.BuildEnvironment(), Stderr: env.Log})
	if err != nil {
		return "", fmt.Errorf("cannot find out the revision: %w", err)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// CheckOutAndReport is CheckOut, and publishes the revision id.
func (s Source) CheckOutAndReport(ctx context.Context, env builders.Env, dir string, environment []string, shallow bool) error {
	if err := s.CheckOut(ctx, env, dir, environment, shallow); err != nil {
		return err
	}
	revision, err := s.revision(ctx, env, dir)
	if err != nil {
		return err
	}
	env.SetExtra("revision_id", revision)
	return nil
}

// HideCredentials takes the credentials out of a Git checkout that becomes part
// of a result.
func (s Source) HideCredentials(ctx context.Context, env builders.Env, dir string) error {
	if s.repository == "" || len(builders.Secrets(builders.Args{"git_repository": s.repository})) == 0 {
		return nil
	}
	err := env.BuildCommand(ctx, dir, nil, "git", "remote", "set-url", "origin", credentials.Without(s.repository))
	if err != nil {
		return err
	}
	return env.BuildCommand(ctx, dir, nil, "git", "submodule", "sync", "--quiet", "--recursive")
}

// sha1Digits is the length of a commit id of SHA-1.
const sha1Digits = 40

var (
	commitID      = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	abbreviatedID = regexp.MustCompile(`^[0-9a-f]{7,63}$`)
)

// full clones the whole repository.
func (c checkout) full(ctx context.Context) error {
	if err := c.beside(ctx, "git", "clone", "-n", c.source.repository, path.Base(c.dir)); err != nil {
		return err
	}
	ref := c.source.ref
	switch branch, isBranch := strings.CutPrefix(ref, "refs/heads/"); {
	case isBranch: // a clone has no local branch but the default one
		return c.inside(ctx, "git", "checkout", "-q", "-B", branch, "refs/remotes/origin/"+branch)
	case strings.HasPrefix(ref, "refs/") && !strings.HasPrefix(ref, "refs/tags/"): // and nothing at all of these
		return c.commands(ctx, c.inside, []string{"git", "fetch", "origin", ref}, []string{"git", "checkout", "-q", "FETCH_HEAD"})
	}
	return c.inside(ctx, "git", "checkout", "-q", ref)
}

// shallow fetches a single commit. "git clone" knows only short names, so that
// everything else is fetched by its own name (weakness O2).
func (c checkout) shallow(ctx context.Context) error {
	ref := c.source.ref
	clone := []string{"git", "clone", "-n", "--depth", "1", "--single-branch", c.source.repository, path.Base(c.dir)}
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	switch {
	case ref == "HEAD":
		if err := c.beside(ctx, clone...); err != nil {
			return err
		}
		return c.inside(ctx, "git", "checkout", "-q", "HEAD")
	case isBranch:
		return c.fetch(ctx, "+"+ref+":refs/remotes/origin/"+branch, "-B", branch, "refs/remotes/origin/"+branch)
	case strings.HasPrefix(ref, "refs/tags/"):
		return c.fetch(ctx, "+"+ref+":"+ref, ref)
	case strings.HasPrefix(ref, "refs/"):
		return c.fetch(ctx, ref, "FETCH_HEAD")
	case commitID.MatchString(ref):
		return c.fetchCommit(ctx)
	}
	clone = []string{"git", "clone", "-n", "--depth", "1", "-b", ref, "--single-branch", c.source.repository, path.Base(c.dir)}
	err := c.beside(ctx, clone...)
	var exit *backends.ExitError
	if errors.As(err, &exit) && abbreviatedID.MatchString(ref) {
		c.env.Say("No branch or tag is called %s, which may be the beginning of a commit id; fetching everything.", ref)
		return c.full(ctx)
	}
	if err != nil {
		return err
	}
	return c.inside(ctx, "git", "checkout", "-q", ref)
}

// fetch fetches one ref, and checks out what the words after it say.
func (c checkout) fetch(ctx context.Context, refspec string, what ...string) error {
	if err := c.fetchInto(ctx, "", "git", "fetch", "--depth", "1", "origin", refspec); err != nil {
		return err
	}
	return c.inside(ctx, append([]string{"git", "checkout", "-q"}, what...)...)
}

// fetchCommit fetches a commit by its id, as servers allow it under version 2
// of the protocol. If this one does not, or if the id is the beginning of one of
// SHA-256, it fetches everything.
func (c checkout) fetchCommit(ctx context.Context) error {
	format := ""
	if len(c.source.ref) > sha1Digits {
		format = "sha256"
	}
	err := c.fetchInto(ctx, format, "git", "-c", "protocol.version=2", "fetch", "--depth", "1", "origin", c.source.ref)
	var exit *backends.ExitError
	if errors.As(err, &exit) {
		c.env.Say("The repository gives no single commits; fetching all of it.")
		err = c.inside(ctx, "git", "fetch", "--tags", "origin")
	}
	if err != nil {
		return err
	}
	return c.inside(ctx, "git", "checkout", "-q", c.source.ref)
}

// submodules fetches the submodules. Not all builds need them.
func (c checkout) submodules(ctx context.Context) error {
	err := c.inside(ctx, "git", "submodule", "update", "--init", "--recursive")
	var exit *backends.ExitError
	if errors.As(err, &exit) {
		c.env.Say("'git submodule update --init --recursive failed with exit code %d (build may fail later)", exit.Code)
		return nil
	}
	return err
}
