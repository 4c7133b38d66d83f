package build

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"lpbuildd/backends"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/disk"
)

// machine is what a build takes from this machine; tests take others.
type machine struct {
	// find looks a build type up.
	find func(tag string) (builders.Type, error)
	// newTarget makes the target of the build's backend, without touching
	// anything yet.
	newTarget func(place) (target, error)
	// runners run commands on the host, as the build user and as root.
	runners func(a account, dir string, stray func(backends.Stray)) (user, root backends.Runner)
	// killAll kills everything that the build has started, in the target or
	// not.
	killAll func(ctx context.Context) error
	// memory tells what happened to the memory of the build.
	memory func(context.Context, target) (cgroup.Memory, error)
	// refusals tells how many processes the kernel has refused to the build.
	refusals func(context.Context, target) (int, error)
	// noGroup is why the limits of the build are not kept, "" if they are.
	noGroup string
	// stages are the table of the same name.
	stages []stage
}

// stage is how a step of a build is done.
type stage struct {
	name Stage
	// failure is how the build ends when the stage fails and nobody knows
	// better (spec: lifecycle.md section 13).
	failure verdict.Outcome
	// announce is the command line that the log shows for the stage, says the
	// line after it; %s is the build id.
	announce func(*build) []string
	says     string
	// wanted says whether the build needs the stage; always, when nil.
	wanted func(*build) bool
	run    func(context.Context, *build) error
}

// build is one build while it runs. All of it is used by the goroutine of run, and by
// that of the current stage, or of the current part of the end, while run waits for
// it; what others use, too, its parts guard.
type build struct {
	machine
	request job.Request
	tell    func(func(*job.Event))

	voice    *voice
	books    *books
	network  *network
	progress *progress
	home     *home
	keeping  *keeping

	typ     builders.Type
	common  builders.Common
	builder builders.Builder
	account account
	env     builders.Env

	// target is there when the request was understood, and so are those who look
	// after it.
	target  target
	watch   *watch
	inquest *inquest
	reaper  *reaper

	// leftForReset says that fast clean-up left the target.
	leftForReset bool
}

func newBuild(dir state.Build, r job.Request, m machine, tell func(func(*job.Event)), daemon *slog.Logger) *build {
	s := r.Settings
	v := newVoice(r, daemon)
	k := &books{dir: dir, settings: s, voice: v, tell: tell, remove: disk.Remove, results: map[string]string{}}
	p := newProgress()
	h := &home{path: filepath.Join(s.Home, leftovers.HomePrefix+r.BuildID), dir: dir, files: r.Files}
	return &build{
		machine: m, request: r, tell: tell, voice: v, books: k, progress: p, home: h,
		network: &network{settings: s, voice: v, books: k, progress: p},
		keeping: &keeping{builds: kept.In(dir.State()), settings: s.Keep, voice: v, books: k},
		watch: &watch{
			settings: s, started: p.started, voice: v, least: newLowWater(),
			disks: []string{s.Home, dir.Path()}, places: []string{h.path, s.FileCache},
		},
	}
}

// owe notes what the build owes, whatever becomes of it.
func (b *build) owe() {
	if typ, err := b.find(b.request.Tag); err == nil {
		b.network.owe(typ, builders.Args(b.request.Args))
	}
}

// open makes what every stage needs: the log first, so that everything else
// that fails has one.
func (b *build) open(ctx context.Context) error {
	openLedger := func() error { return b.books.openLedger(context.WithoutCancel(ctx)) }
	for _, step := range []func() error{
		b.openLog, b.checkGroup, b.parse, b.books.openCache, openLedger, b.network.recordToken, b.openAccount, b.openTarget,
	} {
		if err := protect(step); err != nil {
			return &stageError{stage: StageRequest, failure: verdict.BuilderFail, err: err}
		}
	}
	return nil
}

// openLog makes the build log. An unknown build type has one too.
func (b *build) openLog() error {
	typ, findErr := b.find(b.request.Tag)
	b.typ = typ
	private, _ := builders.Args(b.request.Args).Bool("archive_private") // checked in parse
	if err := b.voice.open(b.request.Settings, private || typ.Sanitize || findErr != nil); err != nil {
		return err
	}
	return findErr
}

// checkGroup refuses to build without the limits that the operator wants.
func (b *build) checkGroup() error {
	if b.noGroup == "" {
		return nil
	}
	return &verdict.HostFault{
		Err:    fmt.Errorf("cannot keep the limits of the build ([limits] cpus, memory): %s", b.noGroup),
		Advice: "Run 'lpbuildd config check' on the builder; without these two keys it builds without limits.",
	}
}

// parse reads the arguments.
func (b *build) parse() error {
	args := builders.Args(b.request.Args)
	var err error
	if b.common, err = builders.ParseCommon(args, b.request.Arch); err != nil {
		return err
	}
	b.network.hideArchives(&b.common)
	b.voice.targets(b.common, b.typ.Backend)
	if b.common.BuildURL != "" {
		b.voice.say("%s", b.common.BuildURL)
	}
	if b.common.Variant != "" {
		b.voice.say("Building for %s, a variant of %s.", b.common.Variant, b.common.ABI)
	}
	if names := b.typ.Unknown(args); names != "" {
		b.voice.say("Ignoring arguments that this builder does not know: %s", names)
	}
	files := b.request.Files.Names()
	if err = builders.CheckFiles(files); err != nil {
		return err
	}
	if b.builder, err = b.typ.New(args, files); err != nil {
		return err
	}
	if b.typ.Proxy {
		if b.network.args, err = builders.ParseProxy(args); err != nil {
			return err
		}
	}
	return nil
}

// openAccount finds the build user.
func (b *build) openAccount() (err error) {
	b.account, err = lookup(b.request.Settings.User, b.request.Settings.Home)
	return err
}

// openTarget makes the target, and those who look after it.
func (b *build) openTarget() (err error) {
	s := b.request.Settings
	b.target, err = b.newTarget(place{backend: b.typ.Backend, settings: s, common: b.common, home: b.home, books: b.books, voice: b.voice})
	if err != nil {
		return err
	}
	b.network.target = b.target
	b.watch.places = append(b.watch.places, b.target.Root())
	b.inquest = &inquest{settings: s, voice: b.voice, watch: b.watch, target: b.target, memory: b.memory, refusals: b.refusals}
	b.reaper = &reaper{voice: b.voice, progress: b.progress, target: b.target, killAll: b.killAll, limit: s.AbortLimit}
	return nil
}
