package repository

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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

// warn notes what a build will miss.
func (c *Copy) warn(format string, a ...any) {
	c.Warnings = append(c.Warnings, printable(fmt.Sprintf(format, a...)))
}
