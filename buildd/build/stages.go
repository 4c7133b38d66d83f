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
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// stage is one step of a build.
type stage struct {
	// name is what the summary calls it, wire what the log calls it where the
	// reference does (spec: lifecycle.md section 1).
	name, wire string
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

// stages is the whole build, from top to bottom.
func stages() []stage {
	return []stage{
		{
			name: "prep", wire: "INIT", failure: verdict.BuilderFail, run: prep,
			announce: func(b *build) []string { return []string{b.prepProgram()} },
		},
		{
			name: "unpack", wire: "UNPACK", failure: verdict.ChrootFail, run: unpack,
			announce: func(b *build) []string {
				return b.operation("unpack-chroot", "--image-type", b.common.ImageType, b.imagePath())
			},
			says: "Creating target for build %s",
		},
		{
			name: "start", wire: "MOUNT", failure: verdict.ChrootFail, run: start,
			announce: func(b *build) []string { return b.operation("mount-chroot") },
			says:     "Starting target for build %s",
		},
		{
			name: "sources", wire: "SOURCES", failure: verdict.ChrootFail,
			wanted: func(b *build) bool { return b.common.HasArchives },
			announce: func(b *build) []string {
				var args []string
				if proxy := b.request.Settings.Site.AptProxy; proxy != "" {
					args = append(args, "--apt-proxy-url", proxy)
				}
				return b.operation("override-sources-list", append(args, b.common.Archives...)...)
			},
			run: sources,
		},
		{
			name: "keys", wire: "KEYS", failure: verdict.ChrootFail,
			wanted:   func(b *build) bool { return len(b.common.TrustedKeys) > 0 },
			announce: func(b *build) []string { return b.operation("add-trusted-keys") },
			run:      func(ctx context.Context, b *build) error { return builders.AddTrustedKeys(ctx, b.env) },
		},
		{
			name: "update", wire: "UPDATE", failure: verdict.ChrootFail,
			announce: func(b *build) []string { return b.operation("update-debian-chroot") },
			run:      func(ctx context.Context, b *build) error { return builders.Update(ctx, b.env) },
		},
		{
			name: "build", wire: "BUILD", failure: verdict.BuilderFail,
			run: compile,
		},
		{name: "gather", wire: "GATHER", failure: verdict.PackageFail, run: gather},
	}
}

// prep makes the build directory, with a link for each input file, and says
// what builds on what.
func prep(ctx context.Context, b *build) error {
	if err := b.makeHome(ctx); err != nil {
		return err
	}
	user, root := b.runners(b)
	b.env = builders.Env{
		Job:         builders.Job{BuildID: b.request.BuildID, Files: b.inputPaths(), Dir: b.home, Home: b.request.Settings.Home},
		Common:      b.common,
		Target:      b.target,
		TargetRoot:  b.target.Root(),
		Host:        user,
		Root:        root,
		Log:         b.log,
		LogTail:     b.log.Tail,
		OpenLog:     b.log.Open,
		SharePath:   b.request.Settings.SharePath,
		User:        b.request.Settings.User,
		CPUs:        b.request.Settings.Limits.MaxJobs(runtime.NumCPU()),
		AnnounceRun: b.announce,
		SetExtra:    b.setExtra,
		RevokeProxy: b.revoke,
		HasSecrets:  b.hasSecrets,

		Site:   b.request.Settings.Site,
		Store:  b.store,
		Redact: func(text io.ReadCloser) io.ReadCloser { return redacted(text, b.secrets) },
		Undo:   func(path string) error { return b.ledger.Add(ledger.Entry{Kind: ledger.File, Name: path}) },
	}
	return b.reportHost(ctx)
}

// unpack makes the target.
func unpack(ctx context.Context, b *build) error {
	err := b.target.Create(ctx, backends.Image{Path: b.imagePath(), SHA1: b.request.Image, Type: b.common.ImageType})
	return blameVanished(ctx, err, "base image", b.imagePath())
}

func start(ctx context.Context, b *build) error { return b.target.Start(ctx) }

// compile is the stage that differs between the types of build.
func compile(ctx context.Context, b *build) error {
	err := b.withProxy(ctx, func(env builders.Env) error { return b.builder.Build(ctx, env) })
	b.revoke(ctx)
	err = b.settled(err)
	for _, file := range b.request.Files {
		err = blameVanished(ctx, err, "input file "+file.Name, b.cached(file.Value))
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

// imagePath is where the base image is in the cache.
func (b *build) imagePath() string { return b.cached(b.request.Image) }

// cached is where an entry of the cache is, whose name the daemon has checked.
func (b *build) cached(name string) string {
	return filepath.Join(b.request.Settings.FileCache, name)
}

// inputPaths maps the names of the input files to the links to them.
func (b *build) inputPaths() map[string]string {
	paths := map[string]string{}
	for _, name := range b.request.Files.Names() {
		paths[name] = filepath.Join(b.home, name)
	}
	return paths
}

// makeHome makes the build directory. One that is there already is the rest of
// a build whose clean-up was left to a reset of the machine.
func (b *build) makeHome(ctx context.Context) error {
	all, err := b.claimHome(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = all.Close() }()
	if err := b.discardOldHome(ctx); err != nil {
		return fmt.Errorf("cannot remove the rest of an earlier build: %w", err)
	}
	if err := b.ledger.Add(ledger.Entry{Kind: ledger.Directory, Name: b.home}); err != nil {
		return err
	}
	if err := os.Mkdir(b.home, 0o755); err != nil { // sbuild's user must get through
		return err
	}
	if b.claimed, err = leftovers.Claim(b.home); err != nil {
		return err
	}
	if err := leftovers.Mark(b.home, b.dir); err != nil {
		return err
	}
	// Links are checked names in a folder that nobody else can write to yet.
	for _, file := range b.request.Files {
		source, err := b.cache.Path(file.Value)
		if err == nil {
			err = os.Symlink(source, filepath.Join(b.home, file.Name))
		}
		if err != nil {
			return err
		}
	}
	// HOME is the build user's, who must not be given what a link points at.
	return os.Lchown(b.home, int(b.account.uid), int(b.account.gid))
}

// cleanupStage is the teardown, as far as it is a stage.
func cleanupStage() stage { return stage{name: "cleanup", failure: verdict.BuilderFail} }

// stageError is the failure of a stage.
type stageError struct {
	stage stage
	err   error
}

func (e *stageError) Error() string { return e.err.Error() }

func (e *stageError) Unwrap() error { return e.err }

// errUnkillable ends a build whose processes did not die.
var errUnkillable = errors.New("processes of the build cannot be killed")
