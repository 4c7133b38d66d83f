package builders

import (
	"context"
	"slices"
	"strings"

	"lpbuildd/ordered"
)

// oci builds a container image with Docker (spec: builders.md section 7).
type oci struct {
	name      string
	source    source
	buildFile string // relative to buildPath, "" for Docker's default
	buildPath string // relative to the checkout
	buildArgs ordered.Map[string]
	// revocationEndpoint is for the log; a fetch service cannot be used here.
	revocationEndpoint string
}

func newOCI(args Args, _ []string) (Builder, error) {
	r := NewReader(args)
	o := &oci{
		name:      r.name(),
		source:    readSource(r),
		buildFile: r.optional("build_file", ""),
		buildPath: r.optional("build_path", "."),
		buildArgs: r.stringMap("build_args"),
	}
	proxy, err := ParseProxy(args)
	r.note(err)
	o.revocationEndpoint = proxy.RevocationEndpoint
	return o, r.Err()
}

func (o *oci) dir() string { return "/home/buildd/" + o.name }

// Build installs Docker, fetches the source, and builds the image.
func (o *oci) Build(ctx context.Context, env Env) error {
	o.announce(env)
	return runPhases(ctx, env,
		phase{name: installPhase, run: o.install},
		phase{name: "repo", run: o.repo},
		phase{name: "build", run: o.build},
	)
}

// announce leaves the values of the build arguments out: they may be secret.
func (o *oci) announce(env Env) {
	var args []string
	if env.Proxy != nil {
		args = append(args, "--proxy-url", env.Proxy.URL)
	}
	if o.revocationEndpoint != "" {
		args = append(args, "--revocation-endpoint", o.revocationEndpoint)
	}
	args = append(args, o.source.options()...)
	if o.buildFile != "" {
		args = append(args, "--build-file", o.buildFile)
	}
	args = append(args, "--build-path", o.buildPath)
	for _, key := range o.buildArgs.Names() {
		args = append(args, "--build-arg", key)
	}
	if env.SnapStore != "" {
		args = append(args, "--snap-store-proxy-url", env.SnapStore)
	}
	env.announceOperation("build-oci", append(args, o.name)...)
}

func (o *oci) install(ctx context.Context, env Env) error {
	if err := installGitProxy(ctx, env); err != nil {
		return err
	}
	if err := configureDocker(ctx, env); err != nil {
		return err
	}
	// Debian has the client in a package of its own, which it only recommends.
	client, err := availablePackages(ctx, env, "docker-cli")
	if err != nil {
		return err
	}
	packages := slices.Concat(proxyPackages(env), []string{o.source.packageName(), "docker.io"}, client)
	if err := installPackages(ctx, env, packages...); err != nil {
		return err
	}
	if err := useSnapStore(ctx, env); err != nil {
		return err
	}
	if err := env.inTarget(ctx, "systemctl", "restart", "docker"); err != nil {
		return err
	}
	return env.inTarget(ctx, "mkdir", "-p", "/home/buildd")
}

// configureDocker makes the Docker daemon pull through the proxy, with a proxy.
func configureDocker(ctx context.Context, env Env) error {
	if env.Proxy == nil {
		return nil
	}
	const folder = "/etc/systemd/system/docker.service.d"
	if err := env.inTarget(ctx, "mkdir", "-p", folder); err != nil {
		return err
	}
	for _, protocol := range []string{"http", "https"} {
		setting := "[Service]\nEnvironment=\"" + strings.ToUpper(protocol) + "_PROXY=" + env.Proxy.URL + "\"\n"
		if err := writeText(ctx, env, folder+"/"+protocol+"_proxy.conf", setting); err != nil {
			return err
		}
	}
	return nil
}

// repo fetches the source. It becomes part of the image, so that credentials
// must not stay in it.
func (o *oci) repo(ctx context.Context, env Env) error {
	if err := o.source.checkOut(ctx, env, o.dir(), proxyEnvironment(env, ProxyArgs{}), true); err != nil {
		return err
	}
	return o.source.hideCredentials(ctx, env, o.dir())
}

func (o *oci) build(ctx context.Context, env Env) error {
	build := []string{"docker", "build", "--no-cache"}
	if env.Proxy != nil {
		for _, v := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"} {
			build = append(build, "--build-arg", v+"="+env.Proxy.URL)
		}
	}
	build = append(build, "--tag", o.name)
	buildContext := joinPath(o.dir(), o.buildPath)
	checked := []string{buildContext}
	if o.buildFile != "" {
		file := joinPath(o.buildPath, o.buildFile)
		build = append(build, "--file", file)
		checked = append(checked, joinPath(o.dir(), file))
	}
	for _, arg := range o.buildArgs {
		build = append(build, "--build-arg="+arg.Name+"="+arg.Value)
	}
	if err := resolveInside(ctx, env, o.dir(), checked...); err != nil {
		return err
	}
	return env.buildCommand(ctx, o.dir(), nil, append(build, buildContext)...)
}
