// Package craft is run by the worker of a build, root inside the build's namespaces, and
// touches the target through builders.Env: it builds charms, rocks and crafts, the types
// charm, rock and craft.
package craft

import (
	"context"
	"maps"
	"slices"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/container"
	"lpbuildd/builders/vcs"
)

func charmTool() tool {
	return tool{
		operation: "build-charm", snap: "charmcraft", packages: []string{"python3-pip", "python3-setuptools"},
		product: ".charm", extra: ".manifest", platform: true,
	}
}

func rockTool() tool {
	return tool{
		operation: "build-rock", snap: "rockcraft", packages: []string{"python3-pip", "python3-setuptools", "dirmngr"},
		product: ".rock",
	}
}

func sourceTool() tool {
	return tool{
		operation: "build-craft", snap: "sourcecraft", channel: "latest/edge/craftctl",
		product: ".tar.xz", registry: true, scan: true,
	}
}

// NewCharm reads the arguments of a charm.
func NewCharm(args builders.Args, _ []string) (builders.Builder, error) {
	return newBuilder(charmTool(), args)
}

// NewRock reads the arguments of a rock.
func NewRock(args builders.Args, _ []string) (builders.Builder, error) {
	return newBuilder(rockTool(), args)
}

// NewSource reads the arguments of what sourcecraft builds.
func NewSource(args builders.Args, _ []string) (builders.Builder, error) {
	return newBuilder(sourceTool(), args)
}

func newBuilder(tool tool, args builders.Args) (builders.Builder, error) {
	r := builders.NewReader(args)
	c := &builder{
		tool:               tool,
		name:               r.Name(),
		source:             vcs.ReadSource(r),
		buildPath:          r.Optional("build_path", ""),
		channels:           container.ReadChannels(r),
		launchpadInstance:  r.Optional("launchpad_instance", ""),
		launchpadServerURL: r.Optional("launchpad_server_url", ""),
	}
	if tool.platform {
		c.platform = r.Optional("craft_platform", "")
	}
	if tool.registry {
		c.registries = readRegistries(r, "environment_variables")
	}
	if tool.scan {
		c.scan = r.Bool("scan_malware")
	}
	var err error
	c.proxy, err = builders.ParseProxy(args)
	r.Note(err)
	return c, r.Err()
}

// Build installs the tool, fetches the source, and packs it.
func (c *builder) Build(ctx context.Context, env builders.Env) error {
	c.announce(env)
	return container.RunPhases(ctx, env,
		container.Phase{Name: container.InstallPhase, Run: c.install},
		container.Phase{Name: "repo", Run: c.repo},
		container.Phase{Name: "build", Run: c.build},
	)
}

func (c *builder) announce(env builders.Env) {
	var args []string
	option := func(name, value string) {
		if value != "" {
			args = append(args, name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		option("--channel", name+"="+c.channels[name])
	}
	if env.Proxy != nil {
		option("--proxy-url", env.Proxy.URL)
	}
	option("--revocation-endpoint", c.proxy.RevocationEndpoint)
	args = append(args, c.source.Options()...)
	option("--build-path", c.buildPath)
	option("--craft-platform", c.platform)
	option("--snap-store-proxy-url", env.Site.SnapStore)
	if c.proxy.UseFetchService {
		args = append(args, "--use-fetch-service")
	}
	if c.scan {
		args = append(args, "--scan-malware")
	}
	option("--launchpad-instance", c.launchpadInstance)
	option("--launchpad-server-url", c.launchpadServerURL)
	env.AnnounceOperation(c.tool.operation, append(args, c.name)...)
}

func (c *builder) install(ctx context.Context, env builders.Env) error {
	if err := container.InstallGitProxy(ctx, env); err != nil {
		return err
	}
	support, err := apt.Available(ctx, env, "snapd", "fuse", "squashfuse", "udev")
	if err != nil {
		return err
	}
	packages := slices.Concat(container.ProxyPackages(env), support, []string{c.source.PackageName()}, c.tool.packages)
	if c.scan {
		packages = append(packages, container.MalwareScanner)
	}
	if err := apt.Install(ctx, env, packages...); err != nil {
		return err
	}
	if err := container.UseSnapStore(ctx, env); err != nil {
		return err
	}
	if err := c.installSnaps(ctx, env); err != nil {
		return err
	}
	if c.scan {
		if err := container.LearnMalware(ctx, env, c.proxy); err != nil {
			return err
		}
	}
	if err := container.UseFetchService(ctx, env, c.proxy); err != nil {
		return err
	}
	return env.InTarget(ctx, "mkdir", "-p", "/home/buildd")
}

// installSnaps installs the snaps of the channels, and the tool last.
func (c *builder) installSnaps(ctx context.Context, env builders.Env) error {
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		if name == c.tool.snap {
			continue
		}
		if err := env.InTarget(ctx, "snap", "install", "--channel="+c.channels[name], name); err != nil {
			return err
		}
	}
	install := []string{"snap", "install", "--classic"}
	channel := c.channels[c.tool.snap]
	if channel == "" {
		channel = c.tool.channel
	}
	if channel != "" {
		install = append(install, "--channel="+channel)
	}
	return env.InTarget(ctx, append(install, c.tool.snap)...)
}

func (c *builder) repo(ctx context.Context, env builders.Env) error {
	return c.source.CheckOutAndReport(ctx, env, c.checkoutDir(), container.ProxyEnvironment(env, c.proxy), c.proxy.UseFetchService)
}

func (c *builder) build(ctx context.Context, env builders.Env) error {
	if err := builders.ResolveInside(ctx, env, c.checkoutDir(), c.dir()); err != nil {
		return err
	}
	registries, err := c.registries.environment()
	if err != nil {
		return err
	}
	if err := c.registries.configureMaven(ctx, env, c.source, c.checkoutDir()); err != nil {
		return err
	}
	// The trailing "/." of an empty build path is what people know.
	dir := builders.JoinPath(c.checkoutDir(), pathOrDot(c.buildPath))
	environment := append(c.environment(env), registries...)
	err = env.BuildCommand(ctx, dir, environment, c.tool.snap, "pack", "-v", "--destructive-mode")
	if err != nil || !c.scan {
		return err
	}
	return c.scanProducts(ctx, env)
}

func pathOrDot(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// environment is that of the tool.
func (c *builder) environment(env builders.Env) []string {
	environment := container.ProxyEnvironment(env, c.proxy)
	for _, v := range []struct{ key, value string }{
		{"LAUNCHPAD_INSTANCE", c.launchpadInstance},
		{"LAUNCHPAD_SERVER_URL", c.launchpadServerURL},
		{"CRAFT_PLATFORM", c.platform},
	} {
		if v.value != "" {
			environment = append(environment, v.key+"="+v.value)
		}
	}
	return environment
}
