package repository

import (
	"context"
	"path/filepath"
	"strings"
)

// lookForLFS notes that files of a commit are in Git LFS, whose content is no part
// of the repository. Bare is the copy of it; where names the submodule, if it is one.
func (c *Copy) lookForLFS(ctx context.Context, bare, commit, where string) {
	dir := filepath.Join(c.folder, bare)
	count, err := c.countLFS(ctx, dir, commit)
	if err != nil || count == 0 {
		return // a repository that cannot be read says so elsewhere
	}
	if where != "" {
		where = " of the submodule " + where
	}
	elsewhere := ""
	if server, err := git(ctx, dir, "config", "--blob", commit+":.lfsconfig", "lfs.url"); err == nil && !isLocal(server) {
		elsewhere = ", unless it fetches them itself from " + WithoutPassword(server)
	}
	c.warn("%d files of commit %s%s are in Git LFS, which is not served: the build gets their pointers only%s",
		count, Short(commit), where, elsewhere)
}

// countLFS counts the files whose filter is LFS's, by the .gitattributes of the
// commit and not by what is configured here.
func (c *Copy) countLFS(ctx context.Context, dir, commit string) (int, error) {
	index := []string{"GIT_INDEX_FILE=" + filepath.Join(c.folder, "index"), "GIT_ATTR_NOSYSTEM=1"}
	if _, err := gitWith(ctx, dir, index, "", "read-tree", commit); err != nil {
		return 0, err
	}
	names, err := gitWith(ctx, dir, index, "", "ls-files", "-z")
	if err != nil {
		return 0, err
	}
	found, err := gitWith(ctx, dir, index, names, "-c", "core.attributesFile=/dev/null", "check-attr", "--cached", "-z", "--stdin", "filter")
	return strings.Count(found+"\x00", "\x00filter\x00lfs\x00"), err
}
