// Package oci is run by the worker of a build, root inside the build's namespaces: it
// builds container images, the type oci. It touches the target through builders.Env,
// and unpacks the image, which nobody trusts, below the build directory.
package oci

import (
	"context"
	"slices"
	"strings"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/container"
	"lpbuildd/builders/vcs"
	"lpbuildd/ordered"
)

// builder builds a container image with Docker (spec: builders.md section 7).
type builder struct {
	name      string
	source    vcs.Source
	buildFile string // relative to buildPath, "" for Docker's default
	buildPath string // relative to the checkout
	buildArgs ordered.Map[string]
	// revocationEndpoint is for the log; a fetch service cannot be used here.
	revocationEndpoint string
}

// New reads the arguments of a container image.
func New(args builders.Args, _ []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	o := &builder{
		name:      r.Name(),
		source:    vcs.ReadSource(r),
		buildFile: r.Optional("build_file", ""),
		buildPath: r.Optional("build_path", "."),
		buildArgs: r.StringMap("build_args"),
	}
	proxy, err := builders.ParseProxy(args)
	r.Note(err)
	o.revocationEndpoint = proxy.RevocationEndpoint
	return o, r.Err()
}

func (o *builder) dir() string { return "/home/buildd/" + o.name }

// Build installs Docker, fetches the source, and builds the image.
func (o *builder) Build(ctx context.Context, env builders.Env) error {
	o.announce(env)
	return container.RunPhases(ctx, env,
		container.Phase{Name: container.InstallPhase, Run: o.install},
		container.Phase{Name: "repo", Run: o.repo},
		container.Phase{Name: "build", Run: o.build},
	)
}

// announce leaves the values of the build arguments out: they may be secret.
func (o *builder) announce(env builders.Env) {
	var args []string
	if env.Proxy != nil {
		args = append(args, "--proxy-url", env.Proxy.URL)
	}
	if o.revocationEndpoint != "" {
		args = append(args, "--revocation-endpoint", o.revocationEndpoint)
	}
	args = append(args, o.source.Options()...)
	if o.buildFile != "" {
		args = append(args, "--build-file", o.buildFile)
	}
	args = append(args, "--build-path", o.buildPath)
	for _, key := range o.buildArgs.Names() {
		args = append(args, "--build-arg", key)
	}
	if env.Site.SnapStore != "" {
		args = append(args, "--snap-store-proxy-url", env.Site.SnapStore)
	}
	env.AnnounceOperation("build-oci", append(args, o.name)...)
}

func (o *builder) install(ctx context.Context, env builders.Env) error {
	if err := container.InstallGitProxy(ctx, env); err != nil {
		return err
	}
	if err := configureDocker(ctx, env); err != nil {
		return err
	}
	// Debian has the client in a package of its own, which it only recommends.
	client, err := apt.Available(ctx, env, "docker-cli")
	if err != nil {
		return err
	}
	packages := slices.Concat(container.ProxyPackages(env), []string{o.source.PackageName(), "docker.io"}, client)
	if err := apt.Install(ctx, env, packages...); err != nil {
		return err
	}
	if err := container.UseSnapStore(ctx, env); err != nil {
		return err
	}
	if err := env.InTarget(ctx, "systemctl", "restart", "docker"); err != nil {
		return err
	}
	return env.InTarget(ctx, "mkdir", "-p", "/home/buildd")
}

// configureDocker makes the Docker daemon pull through the proxy, with a proxy.
func configureDocker(ctx context.Context, env builders.Env) error {
	if env.Proxy == nil {
		return nil
	}
	const folder = "/etc/systemd/system/docker.service.d"
	if err := env.InTarget(ctx, "mkdir", "-p", folder); err != nil {
		return err
	}
	for _, protocol := range []string{"http", "https"} {
		setting := "[Service]\nEnvironment=\"" + strings.ToUpper(protocol) + "_PROXY=" + env.Proxy.URL + "\"\n"
		if err := builders.WriteText(ctx, env, folder+"/"+protocol+"_proxy.conf", setting); err != nil {
			return err
		}
	}
	return nil
}

// repo fetches the source. It becomes part of the image, so that credentials
// must not stay in it.
func (o *builder) repo(ctx context.Context, env builders.Env) error {
	if err := o.source.CheckOut(ctx, env, o.dir(), container.ProxyEnvironment(env, builders.ProxyArgs{}), true); err != nil {
		return err
	}
	return o.source.HideCredentials(ctx, env, o.dir())
}

func (o *builder) build(ctx context.Context, env builders.Env) error {
	build := []string{"docker", "build", "--no-cache"}
	if env.Proxy != nil {
		for _, v := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"} {
			build = append(build, "--build-arg", v+"="+env.Proxy.URL)
		}
	}
	build = append(build, "--tag", o.name)
	buildContext := builders.JoinPath(o.dir(), o.buildPath)
	checked := []string{buildContext}
	if o.buildFile != "" {
		file := builders.JoinPath(o.buildPath, o.buildFile)
		build = append(build, "--file", file)
		checked = append(checked, builders.JoinPath(o.dir(), file))
	}
	for _, arg := range o.buildArgs {
		build = append(build, "--build-arg="+arg.Name+"="+arg.Value)
	}
	if err := builders.ResolveInside(ctx, env, o.dir(), checked...); err != nil {
		return err
	}
	return env.BuildCommand(ctx, o.dir(), nil, append(build, buildContext)...)
}
