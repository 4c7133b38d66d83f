// Package repository is run by the command-line client, as the person who called it: it
// gives a local git repository to a build, as a copy, which stays as it was while the
// build goes on, and a server that clones read. It reads the repository, runs git, and
// writes into a temporary folder only.
package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// servedName is the name of a repository below the secret folder.
const servedName = "source.git"

// Copy is a copy of a local repository. What happens to the original while it is
// built does not matter.
type Copy struct {
	// Top is the folder of the original's work tree.
	Top string
	// Ref is a branch, a tag or a commit id; Commit is the id of its commit.
	Ref, Commit string
	// Changes is the number of files that differ from HEAD or are not in it.
	Changes int
	// Warnings are what a build will miss, each in a line.
	Warnings []string

	// folder is a temporary one; the bare copy in it is called servedName.
	folder string
	// copies are the names, in folder, of the copies of this repository and of its
	// submodules, by the place that clones look for them.
	copies map[string]string
}

// Open copies the repository of a work tree. Ref is what to build, ""
// means what is checked out. The caller must close the copy.
func Open(ctx context.Context, folder, ref string) (*Copy, error) {
	top, err := workTree(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("cannot build %s: %w", folder, err)
	}
	c := &Copy{Top: top}
	if c.Ref, err = resolve(ctx, top, ref); err != nil {
		return nil, fmt.Errorf("cannot build %s: %w", folder, err)
	}
	status, err := git(ctx, top, "status", "--porcelain")
	if err != nil {
		return nil, fmt.Errorf("cannot build %s: %w", folder, err)
	}
	c.Changes = len(strings.Split(status, "\n"))
	if status == "" {
		c.Changes = 0
	}
	if err := c.copy(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot copy the repository %s: %w", top, err)
	}
	at := strings.Repeat(upwards, mostAbove) + servedName
	c.copies = map[string]string{at: servedName}
	if err := c.addSubmodules(ctx, original{dir: top, tree: top}, at, c.Commit, ""); err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot copy the submodules of %s: %w", top, err)
	}
	c.lookForLFS(ctx, servedName, c.Commit, "")
	return c, nil
}

// workTree is the folder itself, made absolute, if it is the top of a work tree.
func workTree(ctx context.Context, folder string) (string, error) {
	if info, err := os.Stat(folder); err != nil {
		return "", err
	} else if !info.IsDir() {
		return "", errors.New("want the folder of a git work tree, or a URL")
	}
	top, err := git(ctx, folder, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("want the folder of a git work tree: %w", err)
	}
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if absolute, err = filepath.EvalSymlinks(absolute); err != nil {
		return "", err
	}
	if top != absolute {
		return "", fmt.Errorf("it is a part of the work tree %s; name that one, and this part with --build-path", top)
	}
	return top, nil
}

// resolve returns the branch, tag or commit id that a build can ask for.
func resolve(ctx context.Context, top, ref string) (string, error) {
	if strings.HasPrefix(ref, "-") {
		return "", fmt.Errorf("%q is no branch, tag or commit", ref)
	}
	if ref == "" {
		ref = "HEAD"
	}
	commit, err := git(ctx, top, "rev-parse", "--verify", "--quiet", ref+"^{commit}")
	switch {
	case err != nil && ctx.Err() != nil:
		return "", err
	case err != nil && ref == "HEAD":
		return "", errors.New("there is no commit yet; 'git commit' makes one")
	case err != nil:
		return "", fmt.Errorf("there is no branch, tag or commit %q", ref)
	}
	name := ref
	if ref == "HEAD" {
		if name, err = git(ctx, top, "symbolic-ref", "--quiet", "--short", "HEAD"); err != nil {
			return commit, nil //nolint:nilerr // no branch is checked out
		}
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "refs/heads/"), "refs/tags/")
	if isUnique(ctx, top, name) {
		return name, nil
	}
	return commit, nil
}

// isUnique tells whether there is either a branch or a tag of this name: what
// both are called means different things to different commands of git.
func isUnique(ctx context.Context, top, name string) bool {
	_, noBranch := git(ctx, top, "show-ref", "--verify", "--quiet", "refs/heads/"+name)
	_, noTag := git(ctx, top, "show-ref", "--verify", "--quiet", "refs/tags/"+name)
	return (noBranch == nil) != (noTag == nil)
}

// copy makes the bare copy, which shares the content of the original where the
// file system can do that. Its HEAD is what is to be built, so that a commit
// without a branch is part of every clone.
func (c *Copy) copy(ctx context.Context) error {
	var err error
	if c.folder, err = os.MkdirTemp("", "lpbuild-"); err != nil {
		return err
	}
	if err := c.clone(ctx, c.Top, servedName); err != nil {
		return err
	}
	if c.Commit, err = git(ctx, c.bare(), "rev-parse", "--verify", c.Ref+"^{commit}"); err != nil {
		return err
	}
	branch := "refs/heads/" + c.Ref
	if _, err := git(ctx, c.bare(), "show-ref", "--verify", "--quiet", branch); err == nil {
		_, err = git(ctx, c.bare(), "symbolic-ref", "HEAD", branch)
		return err
	}
	_, err = git(ctx, c.bare(), "update-ref", "--no-deref", "HEAD", c.Commit)
	return err
}

// clone makes a bare copy of a repository in the folder.
func (c *Copy) clone(ctx context.Context, from, name string) error {
	_, err := git(ctx, c.folder, "clone", "--quiet", "--bare", "--template=",
		"-c", "http.receivepack=false", "-c", "uploadpack.allowAnySHA1InWant=true",
		"--", from, name)
	return err
}

func (c *Copy) bare() string { return filepath.Join(c.folder, servedName) }

// Close deletes the copy.
func (c *Copy) Close() {
	if c.folder != "" {
		_ = os.RemoveAll(c.folder) // a temporary folder
	}
}

// Has tells whether the commit has a file.
func (c *Copy) Has(ctx context.Context, path string) bool {
	_, err := git(ctx, c.bare(), "cat-file", "-e", c.Commit+":"+path)
	return err == nil
}

// SnapName is the name in the first snapcraft.yaml that snapcraft would use in a
// folder of the repository.
func (c *Copy) SnapName(ctx context.Context, folder string) (string, bool) {
	line := regexp.MustCompile(`(?m)^name:[ \t]*["']?([a-z0-9][a-z0-9-]*)["']?[ \t]*(#.*)?\r?$`)
	for _, file := range []string{"snap/snapcraft.yaml", "build-aux/snap/snapcraft.yaml", "snapcraft.yaml", ".snapcraft.yaml"} {
		text, err := git(ctx, c.bare(), "cat-file", "blob", c.Commit+":"+path.Join(folder, file))
		if err != nil {
			continue
		}
		if found := line.FindStringSubmatch(text); found != nil {
			return found[1], true
		}
		return "", false
	}
	return "", false
}

// Short is a commit id for people.
func Short(commit string) string { return commit[:min(len(commit), 12)] }

// git runs git in a folder and returns what it prints, without the last end of
// line. Its error has what git says.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	return gitWith(ctx, folder, nil, "", args...)
}

// gitWith is git with more environment and with an input.
func gitWith(ctx context.Context, folder string, environment []string, input string, args ...string) (string, error) {
	const grace = 2 * time.Second
	cmd := exec.CommandContext(ctx, "git", args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.WaitDelay = folder, append(gitEnvironment(), environment...), grace
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", errors.New("git is not installed")
	case err != nil && stderr.Len() > 0:
		return "", errors.New(printable(stderr.String()))
	case err != nil:
		return "", fmt.Errorf("cannot run git %s: %w", args[0], err)
	}
	return strings.TrimSuffix(stdout.String(), "\n"), nil
}

// gitEnvironment leaves out what would lead git to another repository, e.g. if
// this program runs in a hook.
func gitEnvironment() []string {
	elsewhere := []string{
		"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
		"GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX",
	}
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(elsewhere, name)
	})
	return append(environment, "LC_ALL=C.UTF-8", "GIT_TERMINAL_PROMPT=0")
}

// printable is what git says, as one line for people.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
}

// WithoutPassword is a folder or URL for messages.
func WithoutPassword(place string) string {
	if u, err := url.Parse(place); err == nil && u.User != nil {
		return u.Redacted()
	}
	return place
}
