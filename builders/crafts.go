package builders

import (
	"context"
	"maps"
	"slices"
)

// craftTool is what the builds of charms, rocks and crafts differ in.
type craftTool struct {
	operation string   // its name in the log
	snap      string   // the snap that builds, and its command
	channel   string   // of that snap, unless the build names one
	packages  []string // that the build needs beside those of all
	product   string   // suffix of what it makes
	extra     string   // suffix of what else is a result, or ""
	platform  bool     // the build may name a platform
	registry  bool     // it may have credentials of package registries
	scan      bool     // what it makes may be scanned for malware
}

func charmTool() craftTool {
	return craftTool{
		operation: "build-charm", snap: "charmcraft", packages: []string{"python3-pip", "python3-setuptools"},
		product: ".charm", extra: ".manifest", platform: true,
	}
}

func rockTool() craftTool {
	return craftTool{
		operation: "build-rock", snap: "rockcraft", packages: []string{"python3-pip", "python3-setuptools", "dirmngr"},
		product: ".rock",
	}
}

func sourceTool() craftTool {
	return craftTool{
		operation: "build-craft", snap: "sourcecraft", channel: "latest/edge/craftctl",
		product: ".tar.xz", registry: true, scan: true,
	}
}

// craft builds with one of the craft tools: a charm, a rock, or whatever
// sourcecraft makes (spec: builders.md sections 8 to 10).
type craft struct {
	tool               craftTool
	name               string
	source             source
	buildPath          string // relative to the checkout, "" for the checkout itself
	channels           map[string]string
	platform           string
	registries         registries
	scan               bool // for malware
	launchpadInstance  string
	launchpadServerURL string
	proxy              ProxyArgs
}

// newCharm reads the arguments of a charm.
func newCharm(args Args, _ []string) (Builder, error) { return newCraft(charmTool(), args) }

// newRock reads the arguments of a rock.
func newRock(args Args, _ []string) (Builder, error) { return newCraft(rockTool(), args) }

// newSource reads the arguments of what sourcecraft builds.
func newSource(args Args, _ []string) (Builder, error) { return newCraft(sourceTool(), args) }

func newCraft(tool craftTool, args Args) (Builder, error) {
	r := NewReader(args)
	c := &craft{
		tool:               tool,
		name:               r.name(),
		source:             readSource(r),
		buildPath:          r.optional("build_path", ""),
		channels:           readChannels(r),
		launchpadInstance:  r.optional("launchpad_instance", ""),
		launchpadServerURL: r.optional("launchpad_server_url", ""),
	}
	if tool.platform {
		c.platform = r.optional("craft_platform", "")
	}
	if tool.registry {
		c.registries = readRegistries(r, "environment_variables")
	}
	if tool.scan {
		c.scan = r.boolean("scan_malware")
	}
	var err error
	c.proxy, err = ParseProxy(args)
	r.note(err)
	return c, r.Err()
}

// checkoutDir is the checkout, dir the folder that is built.
func (c *craft) checkoutDir() string { return "/home/buildd/" + c.name }

func (c *craft) dir() string {
	if c.buildPath == "" {
		return c.checkoutDir()
	}
	return joinPath(c.checkoutDir(), c.buildPath)
}

// Build installs the tool, fetches the source, and packs it.
func (c *craft) Build(ctx context.Context, env Env) error {
	c.announce(env)
	return runPhases(ctx, env,
		phase{name: installPhase, run: c.install},
		phase{name: "repo", run: c.repo},
		phase{name: "build", run: c.build},
	)
}

func (c *craft) announce(env Env) {
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
	args = append(args, c.source.options()...)
	option("--build-path", c.buildPath)
	option("--craft-platform", c.platform)
	option("--snap-store-proxy-url", env.SnapStore)
	if c.proxy.UseFetchService {
		args = append(args, "--use-fetch-service")
	}
	if c.scan {
		args = append(args, "--scan-malware")
	}
	option("--launchpad-instance", c.launchpadInstance)
	option("--launchpad-server-url", c.launchpadServerURL)
	env.announceOperation(c.tool.operation, append(args, c.name)...)
}

func (c *craft) install(ctx context.Context, env Env) error {
	if err := installGitProxy(ctx, env); err != nil {
		return err
	}
	support, err := availablePackages(ctx, env, "snapd", "fuse", "squashfuse", "udev")
	if err != nil {
		return err
	}
	packages := slices.Concat(proxyPackages(env), support, []string{c.source.packageName()}, c.tool.packages)
	if c.scan {
		packages = append(packages, malwareScanner)
	}
	if err := installPackages(ctx, env, packages...); err != nil {
		return err
	}
	if err := useSnapStore(ctx, env); err != nil {
		return err
	}
	if err := c.installSnaps(ctx, env); err != nil {
		return err
	}
	if c.scan {
		if err := learnMalware(ctx, env, c.proxy); err != nil {
			return err
		}
	}
	if err := useFetchService(ctx, env, c.proxy); err != nil {
		return err
	}
	return env.inTarget(ctx, "mkdir", "-p", "/home/buildd")
}

// installSnaps installs the snaps of the channels, and the tool last.
func (c *craft) installSnaps(ctx context.Context, env Env) error {
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		if name == c.tool.snap {
			continue
		}
		if err := env.inTarget(ctx, "snap", "install", "--channel="+c.channels[name], name); err != nil {
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
	return env.inTarget(ctx, append(install, c.tool.snap)...)
}

func (c *craft) repo(ctx context.Context, env Env) error {
	return c.source.checkOutAndReport(ctx, env, c.checkoutDir(), proxyEnvironment(env, c.proxy), c.proxy.UseFetchService)
}

func (c *craft) build(ctx context.Context, env Env) error {
	if err := resolveInside(ctx, env, c.checkoutDir(), c.dir()); err != nil {
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
	dir := joinPath(c.checkoutDir(), pathOrDot(c.buildPath))
	environment := append(c.environment(env), registries...)
	err = env.buildCommand(ctx, dir, environment, c.tool.snap, "pack", "-v", "--destructive-mode")
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
func (c *craft) environment(env Env) []string {
	environment := proxyEnvironment(env, c.proxy)
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
