package repository

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// submodule is a repository that a commit of another one has in a folder.
type submodule struct{ name, path, url, update, commit string }

// original is a repository of this machine: a work tree, or a folder of git's own.
type original struct {
	dir  string // where git finds it
	tree string // its work tree, "" without one
}

// A submodule whose URL begins with "../" is beside or above its parent, wherever
// that was cloned from. So that this remains below the secret name, repositories
// are served in as many folders as their submodules climb; until all are known,
// in more than anybody climbs.
const (
	upwards   = "-/"
	mostAbove = 64
)

// relativeTo finds where a relative URL leads from a place, as "git submodule" does
// it. It is not ok for a URL that is not relative, or that climbs too high.
func relativeTo(at, relative string) (string, bool) {
	if !isRelative(relative) || strings.ContainsAny(relative, "?#") {
		return "", false
	}
	plain, err := url.PathUnescape(relative)
	if err != nil {
		plain = relative
	}
	to := path.Join(at, plain)
	return to, to != "." && to != ".." && !strings.HasPrefix(to, "../")
}

func isRelative(u string) bool { return strings.HasPrefix(u, "./") || strings.HasPrefix(u, "../") }

// submodulesOf lists those of a commit, in the order of their paths.
func submodulesOf(ctx context.Context, dir, commit string) ([]submodule, error) {
	tree, err := git(ctx, dir, "ls-tree", "-r", "-z", commit)
	if err != nil {
		return nil, err
	}
	var found []submodule
	for entry := range strings.SplitSeq(tree, "\x00") {
		about, name, _ := strings.Cut(entry, "\t")
		if words := strings.Fields(about); len(words) > 2 && words[1] == "commit" {
			found = append(found, submodule{path: name, commit: words[2]})
		}
	}
	if len(found) == 0 {
		return nil, nil
	}
	settings, err := git(ctx, dir, "config", "--blob", commit+":.gitmodules", "--null", "--get-regexp", `^submodule\..*\.(path|url|update)$`)
	if err != nil {
		settings = "" // there is no such file, or nothing in it; git says so in the build
	}
	named := map[string]*submodule{}
	for setting := range strings.SplitSeq(settings, "\x00") {
		key, value, _ := strings.Cut(setting, "\n")
		name := strings.TrimPrefix(key[:max(0, strings.LastIndexByte(key, '.'))], "submodule.")
		if named[name] == nil {
			named[name] = &submodule{name: name}
		}
		switch path.Ext(key) {
		case ".path":
			named[name].path = value
		case ".url":
			named[name].url = value
		case ".update":
			named[name].update = value
		}
	}
	for i, s := range found {
		for _, known := range named {
			if known.path == s.path {
				found[i].name, found[i].url, found[i].update = known.name, known.url, known.update
			}
		}
	}
	return found, nil
}

// addSubmodules copies the submodules of a commit that clones will look for beside
// it, and theirs, and notes which of them a build will not find. Prefix is the path
// of the repository in the first one.
func (c *Copy) addSubmodules(ctx context.Context, from original, at, commit, prefix string) error {
	list, err := submodulesOf(ctx, filepath.Join(c.folder, c.copies[at]), commit)
	if err != nil {
		return err
	}
	for _, s := range list {
		shown := path.Join(prefix, s.path)
		place, ok := relativeTo(at, s.url)
		if s.update == "none" {
			continue
		}
		if !ok {
			c.warnOfElsewhere(s, shown)
			continue
		}
		module, ok := c.find(ctx, from, s)
		if !ok {
			c.warn("commit %s of the submodule %s (%s) is not here; 'git submodule update --init --recursive' gets what is checked out",
				Short(s.commit), shown, s.url)
			continue
		}
		if err := c.addSubmodule(ctx, module, place, s.commit); err != nil {
			if ctx.Err() != nil {
				return err
			}
			c.warn("the submodule %s cannot be copied: %v", shown, err)
			continue
		}
		c.lookForLFS(ctx, c.copies[place], s.commit, shown)
		if err := c.addSubmodules(ctx, module, place, s.commit, shown); err != nil {
			return err
		}
	}
	return nil
}

// warnOfElsewhere notes why a build will not find a submodule that is not served. It
// may find those that are anywhere else on the network.
func (c *Copy) warnOfElsewhere(s submodule, shown string) {
	switch u := WithoutPassword(s.url); {
	case s.url == "":
		c.warn("the submodule %s has no URL in .gitmodules", shown)
	case isRelative(s.url):
		c.warn("the submodule %s (%s) cannot be served", shown, u)
	case isLocal(s.url):
		c.warn("the submodule %s is on this machine (%s), where no build can fetch it; it would be served if its URL began with ../", shown, u)
	case isSSH(s.url):
		c.warn("the submodule %s is behind ssh (%s), for which builds have no key", shown, u)
	}
}

// find looks for the repository of a submodule that has the commit: in the work
// tree, and where git keeps those of this work tree and of all.
func (c *Copy) find(ctx context.Context, from original, s submodule) (original, bool) {
	if slices.Contains(strings.Split(s.name, "/"), "..") {
		return original{}, false // which git refuses, too
	}
	var places []original
	tree, err := workTree(ctx, filepath.Join(from.tree, s.path))
	if err != nil || from.tree == "" {
		tree = ""
	} else {
		places = append(places, original{dir: tree, tree: tree})
	}
	for _, dir := range from.gitFolders(ctx) {
		places = append(places, original{dir: filepath.Join(dir, "modules", s.name), tree: tree})
	}
	for _, place := range places {
		if _, err := os.Stat(place.dir); err == nil && place.has(ctx, s.commit) {
			return place, true
		}
	}
	return original{}, false
}

// gitFolders are the folders of git's own: that of the work tree, and that which all
// work trees share.
func (o original) gitFolders(ctx context.Context) []string {
	if o.tree == "" {
		return []string{o.dir}
	}
	own, ownErr := git(ctx, o.tree, "rev-parse", "--absolute-git-dir")
	common, commonErr := git(ctx, o.tree, "rev-parse", "--git-common-dir")
	if ownErr != nil || commonErr != nil {
		return nil
	}
	if !filepath.IsAbs(common) {
		common = filepath.Join(o.tree, common)
	}
	return []string{own, common}
}

// has tells whether there is a commit. A folder of git's own may name a work tree
// that is gone.
func (o original) has(ctx context.Context, commit string) bool {
	var environment []string
	if o.dir != o.tree {
		environment = []string{"GIT_DIR=" + o.dir, "GIT_WORK_TREE=" + o.dir}
	}
	_, err := gitWith(ctx, o.dir, environment, "", "cat-file", "-e", commit+"^{commit}")
	return err == nil
}

// addSubmodule copies the repository of a submodule. The commit is HEAD of the
// copy, so that it is part of every clone. If another submodule has the same place,
// the copy gets the commit only.
func (c *Copy) addSubmodule(ctx context.Context, from original, at, commit string) error {
	bare := c.copies[at]
	if bare == "" {
		bare = fmt.Sprintf("submodule-%d.git", len(c.copies))
		if err := c.clone(ctx, from.dir, bare); err != nil {
			return err
		}
		c.copies[at] = bare
		if _, err := git(ctx, filepath.Join(c.folder, bare), "cat-file", "-e", commit+"^{commit}"); err == nil {
			_, err = git(ctx, filepath.Join(c.folder, bare), "update-ref", "--no-deref", "HEAD", commit)
			return err
		}
	}
	_, err := git(ctx, filepath.Join(c.folder, bare), "-c", "protocol.version=2", "fetch", "--quiet", from.dir, "+"+commit+":refs/lpbuild/"+commit)
	return err
}
