package vcs

import (
	"errors"
	"fmt"

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

// isPrivate tells whether the URL of the source has credentials in it.
func (s Source) isPrivate() bool {
	return len(builders.Secrets(builders.Args{"git_repository": s.repository, "branch": s.branch})) > 0
}
