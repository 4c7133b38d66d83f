package recipe

import "lpbuildd/builders"

// builder builds a source package from a recipe for Bazaar or Git (spec:
// builders.md section 3). All of it runs in the target, as the build user where
// it can: recipes run programs of the repositories that they name (weakness
// L2).
type builder struct {
	text        string
	suite       string
	component   string
	purpose     string
	authorName  string
	authorEmail string
	git         bool
}

// workFolders are the folders of a recipe build in the target.
type workFolders struct{ dir, recipe, tree, archive string }

func workOf(env builders.Env) workFolders {
	dir := env.Job.Home + "/work"
	return workFolders{dir: dir, recipe: dir + "/recipe", tree: dir + "/tree", archive: dir + "/apt"}
}
