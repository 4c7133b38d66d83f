package types

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/vcs"
)

// translations makes gettext templates with intltool (spec: builders.md section
// 4).
type translations struct{ source vcs.Source }

// newTranslations takes a branch under its old name, too, and a Git repository
// as well (weakness M1).
func newTranslations(args builders.Args, _ []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	if !args.IsSet("branch") {
		url := r.Word("branch_url")
		args = builders.Args{"branch": url, "git_repository": args["git_repository"], "git_path": args["git_path"]}
		r.Args = args
	}
	from := builders.NewReader(r.Args)
	t := &translations{source: vcs.ReadSource(from)}
	if from.Err() == nil && t.source.IsNone() {
		from.Note(errors.New("branch_url is required, or branch, or git_repository"))
	}
	r.Note(from.Err())
	return t, r.Err()
}

// treeOf is the checkout in the target.
func treeOf(env builders.Env) string { return env.Job.Home + "/source-tree" }

// Build installs intltool, fetches the source, and makes the templates.
func (t *translations) Build(ctx context.Context, env builders.Env) error {
	env.AnnounceIn("chroot", "generate-translation-templates", append(t.source.Options(), env.Site.TemplatesArchive)...)
	env.Say("Installing dependencies...")
	if err := apt.Install(ctx, env, "intltool", t.source.PackageName()); err != nil {
		return builders.Blame(ctx, verdict.ChrootFail, fmt.Errorf("cannot install intltool: %w", err),
			"See apt's messages above: intltool could not be installed from the archives of the build.")
	}
	env.Say("Fetching %s...", t.source)
	// Not every image has it (weakness M2).
	err := env.InTarget(ctx, "mkdir", "-p", env.Job.Home)
	if err == nil {
		err = t.source.CheckOut(ctx, env, treeOf(env), nil, false)
	}
	if err != nil {
		return builders.Blame(ctx, verdict.PackageFail, fmt.Errorf("cannot fetch the source: %w", err), "See the output above.")
	}
	env.Say("Generating templates...")
	templates, err := generate(ctx, env)
	if err == nil {
		env.Say("Generated %d templates.", len(templates))
		err = pack(ctx, env, templates)
	}
	return builders.Blame(ctx, verdict.PackageFail, err, "See the output above.")
}

// generate makes a template in every folder that can have one, and returns
// their paths relative to the tree.
func generate(ctx context.Context, env builders.Env) ([]string, error) {
	found, err := backends.Find(ctx, env.Target, treeOf(env), backends.FindOptions{NoDirs: true, Name: "POTFILES.in"})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		env.Say("There is no POTFILES.in in the source.")
	}
	var templates []string
	for _, potfiles := range found {
		template, reason, err := generateIn(ctx, env, path.Dir(potfiles))
		if err != nil {
			return nil, err
		}
		if reason != "" {
			env.Say("No template in %s: %s", path.Dir(potfiles), reason)
			continue
		}
		env.Say("Template in %s: %s", path.Dir(potfiles), path.Base(template))
		templates = append(templates, template)
	}
	return templates, nil
}

// generateIn makes the template of one folder, or says why there is none.
func generateIn(ctx context.Context, env builders.Env, dir string) (template, reason string, err error) {
	inside := treeOf(env) + "/" + dir
	intltool := func(args ...string) (failed bool, err error) {
		err = env.Target.Run(ctx, backends.Command{
			Argv: append([]string{"/usr/bin/intltool-update"}, args...), Dir: inside,
			Env: builders.BuildEnvironment(), Stdout: env.Log, Stderr: env.Log,
		})
		var exit *backends.ExitError
		if errors.As(err, &exit) {
			return true, nil
		}
		return false, err
	}
	if err := env.InTarget(ctx, "rm", "-f", inside+"/missing", inside+"/notexist"); err != nil {
		return "", "", err
	}
	failed, err := intltool("-m")
	if failed || err != nil {
		return "", "intltool-update -m fails", err
	}
	missing, err := backends.Exists(ctx, env.Target, inside+"/notexist")
	if missing || err != nil {
		return "", "POTFILES.in names files that do not exist", err
	}
	domain, err := translationDomain(func(name string) (string, bool, error) {
		text, err := builders.ReadText(ctx, env, path.Join(inside, name))
		if errors.Is(err, fs.ErrNotExist) {
			return "", false, nil
		}
		return text, true, err
	})
	if err != nil {
		return "", "", err
	}
	if domain == "" {
		domain = "messages"
	}
	if !isDomain(domain) {
		return "", fmt.Sprintf("its translation domain %q is no file name", domain), nil
	}
	failed, err = intltool("-p", "-g", domain)
	if failed || err != nil {
		return "", "intltool-update -p fails", err
	}
	return path.Join(dir, domain+".pot"), "", nil
}

// isDomain says whether a domain can be used as the name of a file (weakness
// M4).
func isDomain(s string) bool { return builders.CheckFileName(s) == nil && !strings.HasPrefix(s, "-") }

// pack makes the tarball, if there is something to put into it.
func pack(ctx context.Context, env builders.Env, templates []string) error {
	if len(templates) == 0 {
		return nil
	}
	archive := env.Job.Home + "/" + env.Site.TemplatesArchive
	env.Say("Making tarball with templates in %s...", archive)
	for _, template := range templates {
		env.Say("Adding template %s...", template)
	}
	argv := append([]string{"tar", "-C", treeOf(env), "-czf", archive, "--"}, templates...)
	if err := builders.WithoutArguments(env.InTarget(ctx, argv...)); err != nil {
		return err
	}
	env.Say("Tarball generated.")
	return nil
}

// Gather hands over the tarball, if there is one.
func (t *translations) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) error {
	err := builders.GatherProduct(ctx, env, env.Job.Home, env.Site.TemplatesArchive, add)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
