package types

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/container"
	"lpbuildd/builders/vcs"
)

// snap builds a snap package with snapcraft (spec: builders.md section 6, 2026.md
// section 7).
type snap struct {
	name                string
	source              vcs.Source
	buildPath           string // relative to the checkout, "" for the checkout itself
	channels            map[string]string
	imageInfo           string // SNAPCRAFT_IMAGE_INFO, a JSON object
	requestID           string // "" if none was given
	requestTimestamp    string
	buildURL            string
	sourceTarball       bool
	private             bool
	targetArchitectures []string
	launchpadInstance   string
	launchpadServerURL  string
	craftPlatform       string
	proxy               builders.ProxyArgs
}

func newSnap(args builders.Args, _ []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	s := &snap{
		name:                r.Name(),
		source:              vcs.ReadSource(r),
		buildPath:           r.Optional("build_path", ""),
		channels:            container.ReadChannels(r),
		requestTimestamp:    r.Optional("build_request_timestamp", ""),
		buildURL:            r.Optional("build_url", ""),
		sourceTarball:       r.Bool("build_source_tarball"),
		private:             r.Bool("private"),
		targetArchitectures: r.Strings("target_architectures"),
		launchpadInstance:   r.Optional("launchpad_instance", ""),
		launchpadServerURL:  r.Optional("launchpad_server_url", ""),
		craftPlatform:       r.Optional("craft_platform", ""),
	}
	id, isSet, err := args.Int("build_request_id")
	r.Note(err)
	if isSet {
		s.requestID = strconv.FormatInt(id, 10)
	}
	s.proxy, err = builders.ParseProxy(args)
	r.Note(err)
	s.imageInfo = s.describeImage()
	return s, r.Err()
}

// describeImage is what snapcraft writes into the snap about its origin, spaced
// as Python's json module does it.
func (s *snap) describeImage() string {
	var members []string
	add := func(key, value string) {
		if value == "" {
			return
		}
		var text strings.Builder
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(value) // a string into memory
		members = append(members, fmt.Sprintf("%q: %s", key, strings.TrimSuffix(text.String(), "\n")))
	}
	if s.requestID != "" {
		add("build-request-id", "lp-"+s.requestID)
	}
	add("build-request-timestamp", s.requestTimestamp)
	add("build_url", s.buildURL)
	return "{" + strings.Join(members, ", ") + "}"
}

// checkoutDir is the checkout, dir the folder of it that is built.
func (s *snap) checkoutDir() string { return "/build/" + s.name }

func (s *snap) dir() string {
	if s.buildPath == "" {
		return s.checkoutDir()
	}
	return builders.JoinPath(s.checkoutDir(), s.buildPath)
}

func (s *snap) tarball() string { return s.name + ".tar.gz" }

// Build installs snapcraft, fetches the source, and builds it.
func (s *snap) Build(ctx context.Context, env builders.Env) error {
	s.announce(env)
	return container.RunPhases(ctx, env,
		container.Phase{Name: container.InstallPhase, Run: s.install},
		container.Phase{Name: "repo", Run: s.repo},
		container.Phase{Name: "pull", Run: s.pull},
		container.Phase{Name: "build", Run: s.build},
	)
}

func (s *snap) announce(env builders.Env) {
	var args []string
	option := func(name, value string) {
		if value != "" {
			args = append(args, name, value)
		}
	}
	flag := func(name string, on bool) {
		if on {
			args = append(args, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.channels)) {
		option("--channel", name+"="+s.channels[name])
	}
	option("--build-request-id", s.requestID)
	option("--build-request-timestamp", s.requestTimestamp)
	option("--build-url", s.buildURL)
	if env.Proxy != nil {
		option("--proxy-url", env.Proxy.URL)
	}
	option("--revocation-endpoint", s.proxy.RevocationEndpoint)
	flag("--disable-proxy-after-pull", s.proxy.DisableAfterPull)
	args = append(args, s.source.Options()...)
	option("--build-path", s.buildPath)
	flag("--build-source-tarball", s.sourceTarball)
	flag("--private", s.private)
	option("--snap-store-proxy-url", env.Site.SnapStore)
	for _, arch := range s.targetArchitectures {
		option("--target-arch", arch)
	}
	flag("--use-fetch-service", s.proxy.UseFetchService)
	option("--launchpad-instance", s.launchpadInstance)
	option("--launchpad-server-url", s.launchpadServerURL)
	env.AnnounceOperation("buildsnap", append(args, s.name)...)
}

func (s *snap) install(ctx context.Context, env builders.Env) error {
	if err := container.InstallGitProxy(ctx, env); err != nil {
		return err
	}
	support, err := apt.Available(ctx, env, "snapd", "fuse", "squashfuse", "udev")
	if err != nil {
		return err
	}
	tool := "snapcraft"
	if s.channels["snapcraft"] != "" {
		tool = "sudo" // which the snap needs, and the package depends on
	}
	if err := apt.Install(ctx, env, slices.Concat(container.ProxyPackages(env), support, []string{s.source.PackageName(), tool})...); err != nil {
		return err
	}
	if err := container.UseSnapStore(ctx, env); err != nil {
		return err
	}
	if err := s.installSnaps(ctx, env); err != nil {
		return err
	}
	if err := container.ConfigureSubversion(ctx, env); err != nil {
		return err
	}
	return container.UseFetchService(ctx, env, s.proxy)
}

// installSnaps installs the snaps of the channels, snapcraft last. Failed
// installations are tried again by the backend (spec: backends.md section 9).
func (s *snap) installSnaps(ctx context.Context, env builders.Env) error {
	for _, name := range slices.Sorted(maps.Keys(s.channels)) {
		if name == "snapcraft" {
			continue
		}
		channel := "--channel=" + s.channels[name]
		if err := env.InTarget(ctx, "snap", "install", channel, name); err != nil {
			return err
		}
		// The image may have it already, from another channel.
		if err := env.InTarget(ctx, "snap", "refresh", channel, name); err != nil {
			return err
		}
	}
	if channel := s.channels["snapcraft"]; channel != "" {
		return env.InTarget(ctx, "snap", "install", "--classic", "--channel="+channel, "snapcraft")
	}
	return nil
}

func (s *snap) repo(ctx context.Context, env builders.Env) error {
	return s.source.CheckOutAndReport(ctx, env, s.checkoutDir(), container.ProxyEnvironment(env, s.proxy), s.proxy.UseFetchService)
}

func (s *snap) pull(ctx context.Context, env builders.Env) error {
	if s.buildPath != "" {
		if err := builders.ResolveInside(ctx, env, s.checkoutDir(), s.dir()); err != nil {
			return err
		}
	}
	only := []string{"SNAPCRAFT_LOCAL_SOURCES=1", "SNAPCRAFT_SETUP_CORE=1"}
	if err := env.BuildCommand(ctx, s.dir(), s.environment(env, only...), "snapcraft", "pull"); err != nil {
		return err
	}
	if s.sourceTarball {
		err := env.BuildCommand(ctx, "/build", nil, "tar", "-czf", s.tarball(), "--format=gnu", "--sort=name",
			"--exclude-vcs", "--numeric-owner", "--owner=0", "--group=0", s.name)
		if err != nil {
			return err
		}
	}
	if s.proxy.DisableAfterPull {
		return container.DisableProxy(ctx, env, s.proxy)
	}
	return nil
}

func (s *snap) build(ctx context.Context, env builders.Env) error {
	var only []string
	if len(s.targetArchitectures) > 0 {
		only = []string{"SNAPCRAFT_BUILD_FOR=" + s.targetArchitectures[0]}
	}
	if err := env.BuildCommand(ctx, s.dir(), s.environment(env, only...), "snapcraft"); err != nil {
		return err
	}
	snaps, err := builders.Products(ctx, env, s.dir(), ".snap")
	if err != nil {
		return err
	}
	if len(snaps) == 0 {
		env.Say("WARNING: the build made no .snap file.")
		return nil
	}
	return env.BuildCommand(ctx, s.dir(), nil, append([]string{"sha512sum", "--"}, snaps...)...)
}

// environment is that of snapcraft, with what only one phase has.
func (s *snap) environment(env builders.Env, only ...string) []string {
	environment := container.ProxyEnvironment(env, s.proxy)
	for _, v := range []struct{ key, value string }{
		{"LAUNCHPAD_INSTANCE", s.launchpadInstance},
		{"LAUNCHPAD_SERVER_URL", s.launchpadServerURL},
		{"CRAFT_PLATFORM", s.craftPlatform},
	} {
		if v.value != "" {
			environment = append(environment, v.key+"="+v.value)
		}
	}
	environment = append(environment, "SNAPCRAFT_BUILD_INFO=1", "SNAPCRAFT_IMAGE_INFO="+s.imageInfo, "SNAPCRAFT_BUILD_ENVIRONMENT=host")
	return append(environment, only...)
}

// Gather hands over the snaps, what snapcraft put beside them, and the source
// tarball.
func (s *snap) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) error {
	names, err := builders.Products(ctx, env, s.dir(), ".snap", ".manifest", ".debug", ".dpkg.yaml", ".comp")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := builders.GatherProduct(ctx, env, s.dir(), name, add); err != nil {
			return err
		}
	}
	if !s.sourceTarball {
		return nil
	}
	err = builders.GatherProduct(ctx, env, "/build", s.tarball(), add)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the build has removed it
	}
	return err
}
