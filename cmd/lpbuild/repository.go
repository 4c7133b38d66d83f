package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// servedName is the name of a repository below the secret folder.
const servedName = "source.git"

// repository is a copy of a local repository. What happens to the original
// while it is built does not matter.
type repository struct {
	// folder is a temporary one; the bare copy in it is called servedName.
	folder string
	// top is the folder of the original's work tree.
	top string
	// ref is a branch, a tag or a commit id; commit is the id of its commit.
	ref, commit string
	// changes is the number of files that differ from HEAD or are not in it.
	changes int
	// copies are the names, in folder, of the copies of this repository and of its
	// submodules, by the place that clones look for them.
	copies map[string]string
	// warnings are what a build will miss.
	warnings []string
}

// openRepository copies the repository of a work tree. Ref is what to build, ""
// means what is checked out. The caller must close the copy.
func openRepository(ctx context.Context, folder, ref string) (*repository, error) {
	top, err := workTree(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("cannot build %s: %w", folder, err)
	}
	r := &repository{top: top}
	if r.ref, err = resolve(ctx, top, ref); err != nil {
		return nil, fmt.Errorf("cannot build %s: %w", folder, err)
	}
	status, err := git(ctx, top, "status", "--porcelain")
	if err != nil {
		return nil, fmt.Errorf("cannot build %s: %w", folder, err)
	}
	r.changes = len(strings.Split(status, "\n"))
	if status == "" {
		r.changes = 0
	}
	if err := r.copy(ctx); err != nil {
		r.close()
		return nil, fmt.Errorf("cannot copy the repository %s: %w", top, err)
	}
	at := strings.Repeat(upwards, mostAbove) + servedName
	r.copies = map[string]string{at: servedName}
	if err := r.addSubmodules(ctx, original{dir: top, tree: top}, at, r.commit, ""); err != nil {
		r.close()
		return nil, fmt.Errorf("cannot copy the submodules of %s: %w", top, err)
	}
	r.lookForLFS(ctx, servedName, r.commit, "")
	return r, nil
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
func (r *repository) copy(ctx context.Context) error {
	var err error
	if r.folder, err = os.MkdirTemp("", "lpbuild-"); err != nil {
		return err
	}
	if err := r.clone(ctx, r.top, servedName); err != nil {
		return err
	}
	if r.commit, err = git(ctx, r.bare(), "rev-parse", "--verify", r.ref+"^{commit}"); err != nil {
		return err
	}
	branch := "refs/heads/" + r.ref
	if _, err := git(ctx, r.bare(), "show-ref", "--verify", "--quiet", branch); err == nil {
		_, err = git(ctx, r.bare(), "symbolic-ref", "HEAD", branch)
		return err
	}
	_, err = git(ctx, r.bare(), "update-ref", "--no-deref", "HEAD", r.commit)
	return err
}

// clone makes a bare copy of a repository in the folder.
func (r *repository) clone(ctx context.Context, from, name string) error {
	_, err := git(ctx, r.folder, "clone", "--quiet", "--bare", "--template=",
		"-c", "http.receivepack=false", "-c", "uploadpack.allowAnySHA1InWant=true",
		"--", from, name)
	return err
}

func (r *repository) bare() string { return filepath.Join(r.folder, servedName) }

// close deletes the copy.
func (r *repository) close() {
	if r.folder != "" {
		_ = os.RemoveAll(r.folder) // a temporary folder
	}
}

// has tells whether the commit has a file.
func (r *repository) has(ctx context.Context, path string) bool {
	_, err := git(ctx, r.bare(), "cat-file", "-e", r.commit+":"+path)
	return err == nil
}

// snapName is the name in the first snapcraft.yaml that snapcraft would use in a
// folder of the repository.
func (r *repository) snapName(ctx context.Context, folder string) (string, bool) {
	line := regexp.MustCompile(`(?m)^name:[ \t]*["']?([a-z0-9][a-z0-9-]*)["']?[ \t]*(#.*)?\r?$`)
	for _, file := range []string{"snap/snapcraft.yaml", "build-aux/snap/snapcraft.yaml", "snapcraft.yaml", ".snapcraft.yaml"} {
		text, err := git(ctx, r.bare(), "cat-file", "blob", r.commit+":"+path.Join(folder, file))
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

// short is a commit id for people.
func short(commit string) string { return commit[:min(len(commit), 12)] }

// git runs git in a folder and returns what it prints, without the last end of
// line. Its error has what git says.
func git(ctx context.Context, folder string, args ...string) (string, error) {
	return gitWith(ctx, folder, nil, "", args...)
}

// gitWith is git with more environment and with an input.
func gitWith(ctx context.Context, folder string, environment []string, input string, args ...string) (string, error) {
	const grace = 2 * time.Second
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // the arguments are checked, or ours
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
