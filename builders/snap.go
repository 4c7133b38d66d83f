package builders

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
)

// snap builds a snap package with snapcraft (spec: builders.md section 6, 2026.md
// section 7).
type snap struct {
	name                string
	source              source
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
	proxy               ProxyArgs
}

func newSnap(args Args, _ []string) (Builder, error) {
	r := NewReader(args)
	s := &snap{
		name:                r.name(),
		source:              readSource(r),
		buildPath:           r.optional("build_path", ""),
		channels:            readChannels(r),
		requestTimestamp:    r.optional("build_request_timestamp", ""),
		buildURL:            r.optional("build_url", ""),
		sourceTarball:       r.boolean("build_source_tarball"),
		private:             r.boolean("private"),
		targetArchitectures: r.strings("target_architectures"),
		launchpadInstance:   r.optional("launchpad_instance", ""),
		launchpadServerURL:  r.optional("launchpad_server_url", ""),
		craftPlatform:       r.optional("craft_platform", ""),
	}
	id, isSet, err := args.Int("build_request_id")
	r.note(err)
	if isSet {
		s.requestID = strconv.FormatInt(id, 10)
	}
	s.proxy, err = ParseProxy(args)
	r.note(err)
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
	return joinPath(s.checkoutDir(), s.buildPath)
}

func (s *snap) tarball() string { return s.name + ".tar.gz" }

// Build installs snapcraft, fetches the source, and builds it.
func (s *snap) Build(ctx context.Context, env Env) error {
	s.announce(env)
	return runPhases(ctx, env,
		phase{name: installPhase, run: s.install},
		phase{name: "repo", run: s.repo},
		phase{name: "pull", run: s.pull},
		phase{name: "build", run: s.build},
	)
}

func (s *snap) announce(env Env) {
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
	args = append(args, s.source.options()...)
	option("--build-path", s.buildPath)
	flag("--build-source-tarball", s.sourceTarball)
	flag("--private", s.private)
	option("--snap-store-proxy-url", env.SnapStore)
	for _, arch := range s.targetArchitectures {
		option("--target-arch", arch)
	}
	flag("--use-fetch-service", s.proxy.UseFetchService)
	option("--launchpad-instance", s.launchpadInstance)
	option("--launchpad-server-url", s.launchpadServerURL)
	env.announceOperation("buildsnap", append(args, s.name)...)
}

func (s *snap) install(ctx context.Context, env Env) error {
	if err := installGitProxy(ctx, env); err != nil {
		return err
	}
	support, err := availablePackages(ctx, env, "snapd", "fuse", "squashfuse", "udev")
	if err != nil {
		return err
	}
	tool := "snapcraft"
	if s.channels["snapcraft"] != "" {
		tool = "sudo" // which the snap needs, and the package depends on
	}
	if err := installPackages(ctx, env, slices.Concat(proxyPackages(env), support, []string{s.source.packageName(), tool})...); err != nil {
		return err
	}
	if err := useSnapStore(ctx, env); err != nil {
		return err
	}
	if err := s.installSnaps(ctx, env); err != nil {
		return err
	}
	if err := configureSubversion(ctx, env); err != nil {
		return err
	}
	return useFetchService(ctx, env, s.proxy)
}

// installSnaps installs the snaps of the channels, snapcraft last. Failed
// installations are tried again by the backend (spec: backends.md section 9).
func (s *snap) installSnaps(ctx context.Context, env Env) error {
	for _, name := range slices.Sorted(maps.Keys(s.channels)) {
		if name == "snapcraft" {
			continue
		}
		channel := "--channel=" + s.channels[name]
		if err := env.inTarget(ctx, "snap", "install", channel, name); err != nil {
			return err
		}
		// The image may have it already, from another channel.
		if err := env.inTarget(ctx, "snap", "refresh", channel, name); err != nil {
			return err
		}
	}
	if channel := s.channels["snapcraft"]; channel != "" {
		return env.inTarget(ctx, "snap", "install", "--classic", "--channel="+channel, "snapcraft")
	}
	return nil
}

func (s *snap) repo(ctx context.Context, env Env) error {
	return s.source.checkOutAndReport(ctx, env, s.checkoutDir(), proxyEnvironment(env, s.proxy), s.proxy.UseFetchService)
}

func (s *snap) pull(ctx context.Context, env Env) error {
	if s.buildPath != "" {
		if err := resolveInside(ctx, env, s.checkoutDir(), s.dir()); err != nil {
			return err
		}
	}
	only := []string{"SNAPCRAFT_LOCAL_SOURCES=1", "SNAPCRAFT_SETUP_CORE=1"}
	if err := env.buildCommand(ctx, s.dir(), s.environment(env, only...), "snapcraft", "pull"); err != nil {
		return err
	}
	if s.sourceTarball {
		err := env.buildCommand(ctx, "/build", nil, "tar", "-czf", s.tarball(), "--format=gnu", "--sort=name",
			"--exclude-vcs", "--numeric-owner", "--owner=0", "--group=0", s.name)
		if err != nil {
			return err
		}
	}
	if s.proxy.DisableAfterPull {
		return disableProxy(ctx, env, s.proxy)
	}
	return nil
}

func (s *snap) build(ctx context.Context, env Env) error {
	var only []string
	if len(s.targetArchitectures) > 0 {
		only = []string{"SNAPCRAFT_BUILD_FOR=" + s.targetArchitectures[0]}
	}
	if err := env.buildCommand(ctx, s.dir(), s.environment(env, only...), "snapcraft"); err != nil {
		return err
	}
	snaps, err := products(ctx, env, s.dir(), ".snap")
	if err != nil {
		return err
	}
	if len(snaps) == 0 {
		env.say("WARNING: the build made no .snap file.")
		return nil
	}
	return env.buildCommand(ctx, s.dir(), nil, append([]string{"sha512sum", "--"}, snaps...)...)
}

// environment is that of snapcraft, with what only one phase has.
func (s *snap) environment(env Env, only ...string) []string {
	environment := proxyEnvironment(env, s.proxy)
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
func (s *snap) Gather(ctx context.Context, env Env, add func(name string, content io.ReadCloser) error) error {
	names, err := products(ctx, env, s.dir(), ".snap", ".manifest", ".debug", ".dpkg.yaml", ".comp")
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := gatherProduct(ctx, env, s.dir(), name, add); err != nil {
			return err
		}
	}
	if !s.sourceTarball {
		return nil
	}
	err = gatherProduct(ctx, env, "/build", s.tarball(), add)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the build has removed it
	}
	return err
}
