package vcs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// Git can name the objects of a repository by SHA-1 or by SHA-256, its object
// format. A clone takes over that of the server; a repository that is made before
// the server is asked must happen to have the same.

// formatMismatch is what git says then, in versions 2 and 0 of its protocol; the
// latter does not tell which format it is, but the older one is git's default.
var formatMismatch = regexp.MustCompile(
	`mismatched algorithms: client \w+; server (sha\d+)|(Server does not support this repository's object format)`)

var (
	// unreadable is what a git says to which SHA-256 is noise.
	unreadable = regexp.MustCompile(`mismatched object format|unknown option .object-format|` +
		`(invalid ls-refs response: |protocol error: unexpected '|expected sha/ref, got ')[0-9a-f]{64}\b`)
	// silence is what it says if a server of version 2 hangs up on it, as broken
	// connections do, too.
	silence = regexp.MustCompile(`expected flush after ref listing`)
)

// fetchInto makes a repository of an object format, "" for git's default, and runs
// a command that fetches. If the server has another format than the default, it
// begins again with that.
func (c checkout) fetchInto(ctx context.Context, format string, fetch ...string) error {
	if err := c.start(ctx, format); err != nil {
		return err
	}
	err := c.inside(ctx, fetch...)
	var exit *backends.ExitError
	if format != "" || !errors.As(err, &exit) {
		return err
	}
	mismatch := c.heard.find(formatMismatch)
	if mismatch == nil {
		return err
	}
	if format = mismatch[1]; format == "" {
		format = "sha256"
	}
	c.env.Say("The object format of the repository is %s; beginning again.", format)
	if err := c.beside(ctx, "rm", "-rf", "--", path.Base(c.dir)); err != nil {
		return err
	}
	return c.fetchInto(ctx, format, fetch...)
}

// explain says so when a checkout failed because the git of the target is too old
// for the repository.
func (c checkout) explain(ctx context.Context, err error) error {
	var exit *backends.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if c.heard.find(silence) != nil {
		// In version 0 the server does not look who asks; that this fails is known.
		_ = c.beside(ctx, "git", "-c", "protocol.version=0", "ls-remote", c.source.repository, "HEAD")
	}
	if c.heard.find(unreadable) == nil {
		return err
	}
	out, versionErr := backends.Output(ctx, c.env.Target, backends.Command{Argv: []string{"git", "version"}})
	version := strings.TrimSpace(string(out))
	if versionErr != nil || knowsSHA256(version) {
		return err
	}
	return &verdict.BuildError{
		Outcome: verdict.PackageFail,
		Err:     fmt.Errorf("%s, which the base image has, cannot read a repository of the object format sha256: %w", version, err),
		Advice:  "It takes git 2.29 or newer: build for a newer series, or from a repository of the object format sha1.",
	}
}

var gitVersion = regexp.MustCompile(`^git version (\d+)\.(\d+)`)

// knowsSHA256 tells whether a git is new enough; one that says nothing of use is.
func knowsSHA256(version string) bool {
	const major, minor = 2, 29
	found := gitVersion.FindStringSubmatch(version)
	if found == nil {
		return true
	}
	x, _ := strconv.Atoi(found[1]) // digits
	y, _ := strconv.Atoi(found[2])
	return x > major || x == major && y >= minor
}
