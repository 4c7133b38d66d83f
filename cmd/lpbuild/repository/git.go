package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

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

// Short is a commit id for people.
func Short(commit string) string { return commit[:min(len(commit), 12)] }

// WithoutPassword is a folder or URL for messages.
func WithoutPassword(place string) string {
	if u, err := url.Parse(place); err == nil && u.User != nil {
		return u.Redacted()
	}
	return place
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

// isLocal tells whether a URL means something of the machine that it is used on.
func isLocal(u string) bool {
	return strings.HasPrefix(u, "file:") || !strings.Contains(u, ":")
}

// isSSH tells whether a URL is for ssh, by its scheme or in the form HOST:PATH.
func isSSH(u string) bool {
	scheme, _, ok := strings.Cut(u, "://")
	return !ok || strings.Contains(scheme, "ssh")
}
