package main

import (
	"context"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"lpbuildd/buildd"
	"lpbuildd/cmd/lpbuild/repository"
	"lpbuildd/rpc/client"
)

// work is a source that is ready to be built.
type work struct {
	target target
	// name is that of the log; the one of a repository is also that of what is
	// built.
	name string
	// files are those that the builder must have, apart from the image.
	files []localFile
	// indep says that a source package has no package of a single architecture.
	indep bool
	// args say where the source is. They lack the URL of repository, which is
	// known when it is served.
	args map[string]any
	// repository is a local one, or nil.
	repository *repository.Copy
	offer      *offer
}

// building is one run of the command run.
type building struct {
	*app
	client  *client.Client
	options runOptions
	target  target
}

// openWork reads the source. Given are the arguments that the user gave in
// other ways than by flags.
func (b *building) openWork(ctx context.Context, given map[string]any) (*work, error) {
	o, t := b.options, b.target
	w := &work{target: t, args: map[string]any{}}
	if t.tag == binaryPackage {
		var err error
		w.files, w.indep, err = readSource(ctx, t.place)
		w.name = strings.TrimSuffix(filepath.Base(t.place), ".dsc")
		return w, err
	}
	if !t.hasRepository() {
		w.name = t.tag
		return w, nil
	}
	ref := o.gitPath
	if ref == "" {
		ref, _ = given["git_path"].(string)
	}
	elsewhere := false
	for _, key := range []string{"git_repository", "branch"} {
		if place, ok := given[key].(string); ok && place != "" && t.place == "" {
			w.name, elsewhere = nameOf(place), true
		}
	}
	switch {
	case elsewhere:
		if o.gitPath != "" {
			w.args["git_path"] = ref
		}
		return w, nil
	case isRepositoryURL(t.place):
		w.name = nameOf(t.place)
		w.args["git_repository"] = t.place
		if ref != "" {
			w.args["git_path"] = ref
		}
		return w, nil
	}
	return w, b.openFolder(ctx, w, ref)
}

// openFolder prepares a local repository to be served.
func (b *building) openFolder(ctx context.Context, w *work, ref string) error {
	o := b.options
	folder := w.target.place
	if folder == "" {
		folder = "."
	}
	r, err := repository.Open(ctx, folder, ref)
	if err != nil {
		return err
	}
	w.repository = r
	w.args["git_path"] = r.Ref
	w.name = nameOf(r.Top)
	if r.Changes > 0 && ref == "" {
		b.out.warn("%d changed or new files of %s are not committed, and will not be built", r.Changes, r.Top)
	}
	for _, text := range r.Warnings {
		b.out.warn("%s", text)
	}
	switch w.target.tag {
	case "snap":
		if name, ok := r.SnapName(ctx, o.buildPath); ok {
			w.name = name
		} else {
			b.out.warn("commit %s has no snapcraft.yaml with a name", repository.Short(r.Commit))
		}
	case "oci":
		file := path.Join(o.buildPath, o.buildFile)
		if o.buildFile == "" {
			file = path.Join(o.buildPath, "Dockerfile")
		}
		if o.argsFile == "" && !r.Has(ctx, file) {
			b.out.warn("commit %s has no %s; --build-file and --build-path name another one", repository.Short(r.Commit), file)
		}
	}
	b.out.emit(event{Event: "source", Name: w.name, Path: r.Top, Commit: r.Commit})
	b.out.say("%s: commit %s (%s)", r.Top, repository.Short(r.Commit), r.Ref)
	return nil
}

// serve makes a local repository available for as long as the build takes, and
// tells the request where.
func (b *building) serve(ctx context.Context, w *work, r buildd.Request) error {
	if w.repository == nil || r.Args["git_repository"] != nil || r.Args["branch"] != nil {
		return nil
	}
	address := b.options.address
	if address == "" {
		var err error
		if address, err = addressForBuilds(ctx, b.url); err != nil {
			return err
		}
	}
	handler, err := w.repository.Handler()
	if err != nil {
		return err
	}
	if w.offer, err = startOffer(ctx, address, handler); err != nil {
		return err
	}
	r.Args["git_repository"] = w.offer.base + w.repository.Place()
	return nil
}

// close stops serving and forgets what was prepared. It may be called on nil.
func (w *work) close() {
	if w == nil {
		return
	}
	if w.offer != nil {
		w.offer.close()
	}
	if w.repository != nil {
		w.repository.Close()
	}
}

// nameOf makes a name from the end of a path or URL. It can be that of a folder
// and of a container image.
func nameOf(place string) string {
	if u, err := url.Parse(place); err == nil && u.Scheme != "" {
		place = u.Path
	}
	name := strings.ToLower(strings.TrimSuffix(path.Base(place), ".git"))
	name = regexp.MustCompile(`[^a-z0-9._-]`).ReplaceAllString(name, "-")
	name = strings.Trim(regexp.MustCompile(`[._-]{2,}`).ReplaceAllString(name, "-"), "._-")
	if name == "" {
		return "source"
	}
	return name
}
