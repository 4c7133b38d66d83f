// Package repository is run by the command-line client, as the person who called it: it
// gives a local git repository to a build, as a copy, which stays as it was while the
// build goes on, and a server that clones read. It reads the repository, runs git, and
// writes into a temporary folder only.
package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
)

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
