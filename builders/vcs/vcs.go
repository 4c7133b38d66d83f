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

// Source is where a build's source comes from: a Bazaar branch or a Git
// repository (spec: lifecycle.md section 15).
type Source struct {
	branch     string // of Bazaar
	repository string // of Git
	ref        string // a branch, tag, full ref name or commit id of Git; HEAD unless given
}

// ReadSource reads the arguments. None may be taken for an option by the programs
// that get it (weakness G12).
func ReadSource(r *builders.Reader) Source {
	words := builders.NewReader(r.Args)
	s := Source{
		branch:     words.Word("branch"),
		repository: words.Word("git_repository"),
		ref:        words.Word("git_path"),
	}
	switch {
	case words.Err() != nil:
	case s.branch != "" && s.repository != "":
		words.Note(errNotOneSource)
	case s.ref != "" && s.repository == "":
		words.Note(errors.New("git_path: expected nothing without git_repository"))
	}
	r.Note(words.Err())
	if s.ref == "" {
		s.ref = "HEAD"
	}
	return s
}

// errNotOneSource reports a build with no source, or with two. Managers always
// send one; a build without one is accepted and fails, as it always has.
var errNotOneSource = errors.New("branch, git_repository: exactly one of them is required")

// IsNone tells that there is no source, which a build cannot do without.
func (s Source) IsNone() bool { return s.branch == "" && s.repository == "" }

// IsGit tells a Git repository from a branch of Bazaar.
func (s Source) IsGit() bool { return s.repository != "" }

// PackageName is the package that the checkout needs.
func (s Source) PackageName() string {
	if s.branch != "" {
		return "bzr"
	}
	return "git"
}

// String describes the source in the log.
func (s Source) String() string {
	if s.branch != "" {
		return "bzr branch " + credentials.Without(s.branch)
	}
	if s.ref == "HEAD" {
		return "git repository " + credentials.Without(s.repository)
	}
	return fmt.Sprintf("git repository %s %s", credentials.Without(s.repository), s.ref)
}

// Options are the source as the operation's line in the log shows it.
func (s Source) Options() []string {
	if s.branch != "" {
		return []string{"--branch", credentials.Without(s.branch)}
	}
	options := []string{"--git-repository", credentials.Without(s.repository)}
	if s.ref != "HEAD" {
		options = append(options, "--git-path", s.ref)
	}
	return options
}

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

// isPrivate tells whether the URL of the source has credentials in it.
func (s Source) isPrivate() bool {
	return len(builders.Secrets(builders.Args{"git_repository": s.repository, "branch": s.branch})) > 0
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

// checkout is one checkout in the making.
type checkout struct {
	source      Source
	env         builders.Env
	heard       *listener // what went into its log
	dir         string
	environment []string
}

// beside runs a command in the parent folder, inside in the checkout itself.
func (c checkout) beside(ctx context.Context, argv ...string) error {
	return c.env.BuildCommand(ctx, path.Dir(c.dir), c.environment, argv...)
}

func (c checkout) inside(ctx context.Context, argv ...string) error {
	return c.env.BuildCommand(ctx, c.dir, c.environment, argv...)
}

func (c checkout) commands(ctx context.Context, run func(context.Context, ...string) error, commands ...[]string) error {
	for _, argv := range commands {
		if err := run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

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

// start makes an empty repository that knows where the source is, of an object
// format or, without one, of git's default.
func (c checkout) start(ctx context.Context, format string) error {
	argv := []string{"git", "init", "-q"}
	if format != "" {
		argv = append(argv, "--object-format="+format)
	}
	if err := c.beside(ctx, append(argv, path.Base(c.dir))...); err != nil {
		return err
	}
	return c.inside(ctx, "git", "remote", "add", "origin", c.source.repository)
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
