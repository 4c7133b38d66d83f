package types

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/container"
)

// liveFS builds the images of a live file system with live-build (spec:
// builders.md section 5).
type liveFS struct {
	locale string // "" unless an image of ubuntu-defaults-image is wanted
	debug  bool
	// both are variables of "lb config" and "lb build", config those of the
	// first one alone; all in the order in which they are set.
	both, config []string
	options      []string // the arguments as the log shows them
}

// liveFSVariables are the variables that arguments become.
type liveFSVariable struct {
	name, key string
	list      bool // words, joined by blanks
	config    bool // for "lb config" only
}

func liveFSVariables() []liveFSVariable {
	return []liveFSVariable{
		{name: "SUBPROJECT", key: "subproject"},
		{name: "SUBARCH", key: "subarch"},
		{name: "CHANNEL", key: "channel"},
		{name: "IMAGE_TARGETS", key: "image_targets", list: true},
		{name: "REPO_SNAPSHOT_STAMP", key: "repo_snapshot_stamp"},
		{name: "SNAPSHOT_SERVICE_TIMESTAMP", key: "snapshot_service_timestamp"},
		{name: "COHORT_KEY", key: "cohort-key"},
		{name: "NOW", key: "datestamp", config: true},
		{name: "IMAGEFORMAT", key: "image_format", config: true},
		{name: "EXTRA_PPAS", key: "extra_ppas", list: true, config: true},
		{name: "EXTRA_SNAPS", key: "extra_snaps", list: true, config: true},
	}
}

// liveFSArgs are the arguments of a live file system.
func liveFSArgs() []string {
	keys := []string{"project", "pocket", "locale", "debug"}
	for _, v := range liveFSVariables() {
		keys = append(keys, v.key)
	}
	return keys
}

// liveFSDir is the folder of the target in which everything happens.
const liveFSDir = "/build"

// newLiveFS also gets what users have written about their image, so that every
// value may have any type.
func newLiveFS(args builders.Args, _ []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	l := &liveFS{locale: r.Word("locale"), debug: r.Bool("debug")}
	project, pocket := r.Required("project"), r.Required("pocket")
	l.both = []string{"PROJECT=" + project}
	l.options = []string{"--project", project, "--pocket", pocket}
	if pocket == "proposed" {
		l.config = append(l.config, "PROPOSED=1")
	}
	for _, v := range liveFSVariables() {
		value := ""
		if v.list {
			words := r.Strings(v.key)
			for i, word := range words {
				r.Note(builders.CheckLine(fmt.Sprintf("%s[%d]", v.key, i), word))
			}
			value = strings.Join(words, " ")
		} else {
			value = r.Optional(v.key, "")
		}
		if value != "" {
			l.options = append(l.options, "--"+strings.ReplaceAll(v.key, "_", "-"), value)
		}
		switch {
		case value == "":
		case v.config:
			l.config = append(l.config, v.name+"="+value)
		default:
			l.both = append(l.both, v.name+"="+value)
		}
	}
	return l, r.Err()
}

// Build installs live-build and what belongs to it, and builds.
func (l *liveFS) Build(ctx context.Context, env builders.Env) error {
	env.AnnounceOperation("buildlivefs", l.options...)
	return container.RunPhases(ctx, env,
		container.Phase{Name: container.InstallPhase, Run: l.install},
		container.Phase{Name: "build", Run: l.build},
	)
}

func (l *liveFS) install(ctx context.Context, env builders.Env) error {
	support, err := apt.Available(ctx, env, "snapd", "fuse", "squashfuse", "udev")
	if err != nil {
		return err
	}
	if err := apt.Install(ctx, env, append([]string{"livecd-rootfs"}, support...)...); err != nil {
		return err
	}
	if err := container.UseSnapStore(ctx, env); err != nil {
		return err
	}
	if l.locale != "" {
		if err := apt.Get(ctx, env, "-y", "--install-recommends", "install", "ubuntu-defaults-builder"); err != nil {
			return err
		}
	}
	return l.wakeSnapd(ctx, env, support)
}

// wakeSnapd installs some snap, which makes snapd ready for those of the image,
// if the series has snapd (weakness N2).
func (l *liveFS) wakeSnapd(ctx context.Context, env builders.Env, support []string) error {
	if !slices.Contains(support, "snapd") {
		return nil
	}
	err := env.InTarget(ctx, "snap", "install", "hello")
	var exit *backends.ExitError
	if errors.As(err, &exit) {
		env.Say("Unable to install the \"hello\" snap with error: %v", err)
		return nil
	}
	return err
}

func (l *liveFS) build(ctx context.Context, env builders.Env) error {
	if l.locale != "" {
		return env.BuildCommand(ctx, liveFSDir, nil, "ubuntu-defaults-image",
			"--locale", l.locale, "--arch", env.Common.ABI, "--release", env.Common.Series)
	}
	commands := [][]string{{"rm", "-rf", "auto", "local"}, {"mkdir", "-p", "auto"}}
	for _, script := range []string{"config", "build", "clean"} {
		commands = append(commands, []string{"ln", "-s", "/usr/share/livecd-rootfs/live-build/auto/" + script, "auto/"})
	}
	if l.debug {
		commands = append(commands, []string{"mkdir", "-p", "local/functions"},
			[]string{"sh", "-c", "echo 'set -x' >local/functions/debug.sh"})
	}
	commands = append(commands, []string{"lb", "clean", "--purge"})
	for _, argv := range commands {
		if err := env.BuildCommand(ctx, liveFSDir, nil, argv...); err != nil {
			return err
		}
	}
	both := []string{"ARCH=" + env.Common.ABI}
	if env.Common.Variant != "" {
		both = append(both, "ARCH_VARIANT="+env.Common.Variant)
	}
	both = append(both, l.both...)
	config := append(append(both[:len(both):len(both)], "SUITE="+env.Common.Series), l.config...)
	if err := env.BuildCommand(ctx, liveFSDir, config, "lb", "config"); err != nil {
		return err
	}
	return env.BuildCommand(ctx, liveFSDir, both, "lb", "build")
}

// Gather hands over everything called livecd.*.
func (l *liveFS) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) error {
	names, err := builders.Products(ctx, env, liveFSDir, "")
	if err != nil {
		return err
	}
	found := false
	for _, name := range names {
		if !strings.HasPrefix(name, "livecd.") {
			continue
		}
		found = true
		if err := builders.GatherProduct(ctx, env, liveFSDir, name, add); err != nil {
			return err
		}
	}
	if !found {
		env.Say("WARNING: the build made no livecd.* file in %s.", liveFSDir)
	}
	return nil
}
