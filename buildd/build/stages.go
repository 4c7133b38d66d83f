package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
)

// stages is the whole build, from top to bottom.
func stages() []stage {
	return []stage{
		{
			name: StagePrep, failure: verdict.BuilderFail, run: prep,
			announce: func(b *build) []string { return []string{prepProgram(b.request.Settings)} },
		},
		{
			name: StageUnpack, failure: verdict.ChrootFail, run: unpack,
			announce: func(b *build) []string {
				return b.voice.operation("unpack-chroot", "--image-type", b.common.ImageType, b.cached(b.request.Image))
			},
			says: "Creating target for build %s",
		},
		{
			name: StageStart, failure: verdict.ChrootFail, run: start,
			announce: func(b *build) []string { return b.voice.operation("mount-chroot") },
			says:     "Starting target for build %s",
		},
		{
			name: StageSources, failure: verdict.ChrootFail,
			wanted: func(b *build) bool { return b.common.HasArchives },
			announce: func(b *build) []string {
				var args []string
				if proxy := b.request.Settings.Site.AptProxy; proxy != "" {
					args = append(args, "--apt-proxy-url", proxy)
				}
				return b.voice.operation("override-sources-list", append(args, b.common.Archives...)...)
			},
			run: sources,
		},
		{
			name: StageKeys, failure: verdict.ChrootFail,
			wanted:   func(b *build) bool { return len(b.common.TrustedKeys) > 0 },
			announce: func(b *build) []string { return b.voice.operation("add-trusted-keys") },
			run:      func(ctx context.Context, b *build) error { return apt.AddTrustedKeys(ctx, b.env) },
		},
		{
			name: StageUpdate, failure: verdict.ChrootFail,
			announce: func(b *build) []string { return b.voice.operation("update-debian-chroot") },
			run:      func(ctx context.Context, b *build) error { return apt.Update(ctx, b.env) },
		},
		{
			name: StageBuild, failure: verdict.BuilderFail,
			run: compile,
		},
		{name: StageGather, failure: verdict.PackageFail, run: gather},
	}
}

// prep makes the build directory, with a link for each input file, and says
// what builds on what.
func prep(ctx context.Context, b *build) error {
	if err := b.home.create(ctx, b.books, b.account); err != nil {
		return err
	}
	s, v := b.request.Settings, b.voice
	user, root := b.runners(b.account, b.home.path, v.stray)
	b.env = builders.Env{
		Job:         builders.Job{BuildID: b.request.BuildID, Files: b.home.inputs(), Dir: b.home.path, Home: s.Home},
		Common:      b.common,
		Target:      b.target,
		TargetRoot:  b.target.Root(),
		Host:        user,
		Root:        root,
		Log:         v.log,
		LogTail:     v.log.Tail,
		OpenLog:     v.log.Open,
		SharePath:   s.SharePath,
		User:        s.User,
		CPUs:        s.Limits.MaxJobs(runtime.NumCPU()),
		AnnounceRun: v.announce,
		SetExtra:    b.books.setExtra,
		RevokeProxy: b.network.revoke,
		HasSecrets:  b.keeping.hasSecrets,

		Site:   s.Site,
		Store:  b.books.store,
		Redact: v.redacted,
		Undo:   b.books.undoLater,
	}
	return reportHost(ctx, b.env, v, s)
}

// unpack makes the target.
func unpack(ctx context.Context, b *build) error {
	err := b.target.Create(ctx, backends.Image{Path: b.cached(b.request.Image), SHA1: b.request.Image, Type: b.common.ImageType})
	return blameVanished(ctx, err, "base image", b.cached(b.request.Image))
}

func start(ctx context.Context, b *build) error { return b.target.Start(ctx) }

// sources replaces the target's package sources.
func sources(ctx context.Context, b *build) error {
	if err := apt.OverrideSources(ctx, b.env, b.request.Settings.Site.AptProxy); err != nil {
		return err
	}
	if len(b.network.credentials) == 0 {
		return nil
	}
	b.keeping.hasSecrets(archivesConf, archivesAuth, oldArchivesAuth)
	return b.network.openArchives(ctx, b.common.Archives)
}

// compile is the stage that differs between the types of build.
func compile(ctx context.Context, b *build) error {
	err := b.network.withProxy(ctx, b.env, func(env builders.Env) error { return b.builder.Build(ctx, env) })
	b.network.revoke(ctx)
	err = b.books.sync(err)
	for _, file := range b.request.Files {
		err = blameVanished(ctx, err, "input file "+file.Name, b.cached(file.Value))
	}
	return err
}

// gather stores every result in the file cache. What the build has left running
// could change them meanwhile, so it goes first.
func gather(ctx context.Context, b *build) error {
	b.reaper.endStrays(ctx)
	err := b.builder.Gather(ctx, b.env, func(name string, content io.ReadCloser) error {
		_, err := b.books.store(ctx, name, content)
		return err
	})
	err = b.books.sync(err)
	if err != nil && ctx.Err() == nil {
		b.voice.say("Failed to gather results: %v", err)
	}
	return err
}

// blameVanished makes a failure the host's when a file that was there when the
// request was accepted is no longer in the cache; then neither image nor package
// is at fault.
func blameVanished(ctx context.Context, err error, what, path string) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, statErr := os.Stat(path); !errors.Is(statErr, fs.ErrNotExist) {
		return err
	}
	return &verdict.HostFault{
		Err:    fmt.Errorf("the %s has vanished from the file cache: %w", what, err),
		Advice: "Let nothing but the builder delete files in its file cache; the build can be tried again.",
	}
}

// cached is where an entry of the cache is, whose name the daemon has checked.
func (b *build) cached(name string) string {
	return filepath.Join(b.request.Settings.FileCache, name)
}
