package builders_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/builders"
)

// contract is what every build type promises about its arguments and about how
// it fails (spec: builders.md section 1).
type contract struct {
	args     builders.Args // the least that can be built
	files    []string
	required []string // without these there is no build
	// other arguments, by their types
	texts, booleans, lists, structs []string
	// Prefixes of commands that fail while the type installs what it needs, and
	// while it builds, and the outcomes.
	install, build           string
	installFails, buildFails builders.Outcome
	killed                   builders.Outcome // if the build's death is not like its failure
	prepare                  func(l *lab)
}

func contracts() map[string]contract {
	sources := []string{"git_repository", "git_path", "branch"}
	network := []string{"proxy_url", "revocation_endpoint"}
	git := func(args builders.Args) builders.Args {
		return withArgs(builders.Args{"git_repository": "https://git.test/repo"}, args)
	}
	craft := func(tag string) contract {
		tool := craftTypes()[tag]
		return contract{
			args: git(builders.Args{"name": "test-craft"}), required: []string{"name"},
			texts:    slices.Concat(sources, network, []string{"build_path", "launchpad_instance", "launchpad_server_url"}),
			booleans: []string{"use_fetch_service"}, structs: []string{"channels"},
			install: "apt-get", build: tool[0] + " pack", installFails: builders.PackageFail, buildFails: builders.PackageFail,
			prepare: func(l *lab) { packs(l, tool[0], "/home/buildd/test-craft", "a"+tool[1]) },
		}
	}
	return map[string]contract{
		"binarypackage": {
			args:  builders.Args{"suite": "noble", "ogrecomponent": "main"},
			files: []string{"foo_1.dsc"}, required: []string{"suite", "ogrecomponent"},
			texts: []string{"archive_purpose"}, booleans: []string{"arch_indep", "build_debug_symbols"},
			// Nothing is installed but by sbuild.
			build: "host: linux64 sbuild", buildFails: builders.PackageFail, killed: builders.BuilderFail,
		},
		"sourcepackagerecipe": {
			args:     recipeArgs(),
			required: []string{"recipe_text", "suite", "ogrecomponent", "author_name", "author_email", "archive_purpose"},
			booleans: []string{"git"},
			install:  "apt-get install", build: "su", installFails: builders.PackageFail, buildFails: builders.PackageFail,
		},
		"translation-templates": {
			args: builders.Args{"branch_url": "lp:project"}, required: []string{"branch_url"},
			texts:   []string{"branch", "git_repository", "git_path"},
			install: "apt-get", build: "bzr", installFails: builders.ChrootFail, buildFails: builders.PackageFail,
			prepare: func(l *lab) { l.target.AddFile(l.tmp+"/source-tree/README", "", 0o644) },
		},
		"livefs": {
			args: liveFSArgs(), required: []string{"project", "pocket"},
			texts: []string{
				"subarch", "subproject", "datestamp", "image_format", "locale", "channel",
				"repo_snapshot_stamp", "snapshot_service_timestamp", "cohort-key",
			},
			booleans: []string{"debug"}, lists: []string{"extra_ppas", "extra_snaps", "image_targets"},
			install: "apt-get", build: "lb build", installFails: builders.PackageFail, buildFails: builders.PackageFail,
		},
		"snap": {
			args: snapArgs(), required: []string{"name"},
			texts: slices.Concat(sources, network, []string{
				"build_request_timestamp", "build_url", "launchpad_instance",
				"launchpad_server_url", "craft_platform",
			}),
			booleans: []string{"build_source_tarball", "private", "use_fetch_service", "disable_proxy_after_pull"},
			lists:    []string{"target_architectures"}, structs: []string{"channels"},
			install: "apt-get", build: "snapcraft", installFails: builders.PackageFail, buildFails: builders.PackageFail,
			prepare: func(l *lab) { snapcraftMakes(l, "a.snap") },
		},
		"oci": {
			args: ociArgs(), required: []string{"name"},
			texts: slices.Concat(sources, network, []string{"build_file", "build_path"}), structs: []string{"build_args"},
			install: "apt-get", build: "docker build", installFails: builders.PackageFail, buildFails: builders.PackageFail,
		},
		"charm": craft("charm"), "rock": craft("rock"), "craft": craft("craft"),
		"ci": {
			args: ciArgs(), required: []string{"jobs"},
			texts: slices.Concat(sources, network), booleans: []string{"scan_malware"}, lists: []string{"package_repositories"},
			structs: []string{"channels", "environment_variables", "plugin_settings", "secrets"},
			install: "apt-get", build: "runuser", installFails: builders.PackageFail, buildFails: builders.PackageFail,
		},
	}
}

func TestTheTableOfTypes(t *testing.T) {
	var tags []string
	for _, typ := range builders.Types() {
		tags = append(tags, typ.Tag)
	}
	want := []string{"binarypackage", "sourcepackagerecipe", "translation-templates", "livefs", "snap", "oci", "charm", "ci", "rock", "craft"}
	if !slices.Equal(tags, want) {
		t.Errorf("the types are %q, want %q", tags, want)
	}
	if known := slices.Sorted(maps.Keys(contracts())); len(known) != len(tags) {
		t.Errorf("the contracts are those of %q", known)
	}
}

func eachType(t *testing.T, f func(t *testing.T, typ builders.Type, c contract)) {
	t.Helper()
	for _, typ := range builders.Types() {
		t.Run(typ.Tag, func(t *testing.T) { f(t, typ, contracts()[typ.Tag]) })
	}
}

func TestWrongArgumentsOfEveryType(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		if _, err := typ.New(c.args, c.files); err != nil {
			t.Errorf("the least that can be built is refused: %v", err)
		}
		refused := func(key string, value any) {
			t.Helper()
			_, err := typ.New(withArgs(c.args, builders.Args{key: value}), c.files)
			if err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s=%v: got %v", key, value, err)
			}
		}
		for _, key := range c.required {
			refused(key, nil)
			refused(key, int64(7))
			refused(key, map[string]any{"a": "b"})
		}
		for _, key := range c.texts {
			refused(key, int64(7))
			refused(key, []any{"a"})
		}
		for _, key := range c.booleans {
			refused(key, "yes")
			refused(key, int64(7))
		}
		for _, key := range c.lists {
			refused(key, "a")
			refused(key, []any{int64(7)})
		}
		for _, key := range c.structs {
			refused(key, "a")
			refused(key, []any{"a"})
		}
		for _, key := range slices.Concat(c.texts, c.booleans, c.lists, c.structs) {
			if _, err := typ.New(withArgs(c.args, builders.Args{key: nil}), c.files); err != nil && key != "git_repository" {
				t.Errorf("nil for %s is refused: %v", key, err)
			}
		}
	})
}

func TestWhatManagersSendIsAccepted(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		args := sampleArgs(t, typ.Tag)
		if _, err := typ.New(args, c.files); err != nil {
			t.Error(err)
		}
		if _, err := builders.ParseCommon(args, "amd64"); err != nil {
			t.Error(err)
		}
	})
}

// labOf is a lab in which builds of the type succeed.
func labOf(t *testing.T, tag string, c contract) *lab {
	t.Helper()
	var l *lab
	switch tag {
	case "sourcepackagerecipe":
		l = newRecipeLab(t)
	case "binarypackage", "translation-templates":
		l = newLab(t)
	default:
		l = newContainerLab(t)
	}
	if c.prepare != nil {
		c.prepare(l)
	}
	return l
}

// mortal is a target that may be gone, and then fails at everything.
type mortal struct {
	*fake.Target
	gone bool
}

var errGone = errors.New("the target is gone")

func (m *mortal) Run(ctx context.Context, cmd backends.Command) error {
	if m.gone {
		return errGone
	}
	return m.Target.Run(ctx, cmd)
}

func (m *mortal) CopyOut(ctx context.Context, name string) (io.ReadCloser, error) {
	if m.gone {
		return nil, errGone
	}
	return m.Target.CopyOut(ctx, name)
}

// attempt builds in a lab that is prepared, and gathers what a success made.
func attempt(ctx context.Context, t *testing.T, l *lab, typ builders.Type, c contract) (buildErr, gatherErr error) {
	t.Helper()
	target := &mortal{Target: l.target}
	l.env.Target = target
	b, err := typ.New(c.args, c.files)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(ctx, l.env); err != nil {
		return err, nil
	}
	target.gone = true
	_, err = l.results(ctx, b)
	return nil, err
}

func TestHowEveryTypeFails(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		fault := &backends.HostFault{Err: errors.New("the disk is broken"), Advice: "Replace it."}
		killed := c.killed
		if killed == "" {
			killed = c.buildFails
		}
		for _, tt := range []struct {
			what    string
			command string
			answer  fake.Answer
			want    builders.Outcome
		}{
			{"nothing fails", "nothing", fake.Answer{}, builders.OK},
			{"the installation fails", c.install, fake.Answer{Code: 100}, c.installFails},
			{"the build fails", c.build, fake.Answer{Code: 1}, c.buildFails},
			{"the build is killed", c.build, fake.Answer{Code: 137}, killed},
			{"the host fails during the installation", c.install, fake.Answer{Err: fault}, builders.BuilderFail},
			{"the host fails during the build", c.build, fake.Answer{Err: fault}, builders.BuilderFail},
		} {
			if tt.command == "" {
				continue
			}
			t.Run(tt.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := labOf(t, typ.Tag, c)
					l.target.Script(tt.command, tt.answer)
					err, _ := attempt(t.Context(), t, l, typ, c)
					if got := outcome(err); got != tt.want {
						t.Errorf("got %s: %v", got, err)
					}
				})
			})
		}
		for _, command := range []string{c.install, c.build} {
			if command == "" {
				continue
			}
			t.Run("an abort in "+command, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					aborted := errors.New("aborted")
					ctx, cancel := context.WithCancelCause(t.Context())
					l := labOf(t, typ.Tag, c)
					l.target.Script(command, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
						cancel(aborted)
						return nil
					}})
					err, _ := attempt(ctx, t, l, typ, c)
					if !errors.Is(err, aborted) {
						t.Errorf("got %v", err)
					}
				})
			})
		}
	})
}

// TestHowGatheringFails also holds that nobody calls it the builder's fault: the
// supervisor then makes it PACKAGEFAIL.
func TestHowGatheringFails(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		synctest.Test(t, func(t *testing.T) {
			l := labOf(t, typ.Tag, c)
			if typ.Tag == "ci" { // which gathers after each job
				l.target.Script("runuser", fake.Answer{Do: func(context.Context, *fake.Target, backends.Command) error {
					l.env.Target.(*mortal).gone = true
					return nil
				}})
			}
			err, gatherErr := attempt(t.Context(), t, l, typ, c)
			if typ.Tag == "ci" {
				if !strings.Contains(l.log.String(), "\nFailed to gather results: cannot gather the results of the job build:0: ") {
					t.Errorf("the log is\n%s", l.log.String())
				}
				err, gatherErr = nil, err
			}
			var host *backends.HostFault
			var judged *builders.BuildError
			if err != nil || gatherErr == nil || errors.As(gatherErr, &host) {
				t.Errorf("built: %v, gathered: %v", err, gatherErr)
			}
			if errors.As(gatherErr, &judged) && judged.Outcome != builders.PackageFail {
				t.Errorf("gathered: %v, which is %s", gatherErr, judged.Outcome)
			}
		})
	})
}
