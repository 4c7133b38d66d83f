package types_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/types"
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
	installFails, buildFails verdict.Outcome
	killed                   verdict.Outcome // if the build's death is not like its failure
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
		booleans, structs := []string{"use_fetch_service"}, []string{"channels", "secrets"}
		if tag == "craft" {
			booleans, structs = append(booleans, "scan_malware"), append(structs, "environment_variables")
		}
		return contract{
			args: git(builders.Args{"name": "test-craft"}), required: []string{"name"},
			texts:    slices.Concat(sources, network, []string{"build_path", "launchpad_instance", "launchpad_server_url"}),
			booleans: booleans, structs: structs,
			install: "apt-get", build: tool[0] + " pack", installFails: verdict.PackageFail, buildFails: verdict.PackageFail,
			prepare: func(l *lab) { packs(l, tool[0], "/home/buildd/test-craft", "a"+tool[1]) },
		}
	}
	return map[string]contract{
		"binarypackage": {
			args:  builders.Args{"suite": "noble", "ogrecomponent": "main"},
			files: []string{"foo_1.dsc"}, required: []string{"suite", "ogrecomponent"},
			texts: []string{"archive_purpose"}, booleans: []string{"arch_indep", "build_debug_symbols"},
			// Nothing is installed but by sbuild.
			build: "host: linux64 sbuild", buildFails: verdict.PackageFail, killed: verdict.BuilderFail,
		},
		"sourcepackagerecipe": {
			args:     recipeArgs(),
			required: []string{"recipe_text", "suite", "ogrecomponent", "author_name", "author_email", "archive_purpose"},
			booleans: []string{"git"},
			install:  "apt-get install", build: "su", installFails: verdict.PackageFail, buildFails: verdict.PackageFail,
		},
		"translation-templates": {
			args: builders.Args{"branch_url": "lp:project"}, required: []string{"branch_url"},
			texts:   []string{"branch", "git_repository", "git_path"},
			install: "apt-get", build: "bzr", installFails: verdict.ChrootFail, buildFails: verdict.PackageFail,
			prepare: func(l *lab) { l.target.AddFile(l.tmp+"/source-tree/README", "", 0o644) },
		},
		"livefs": {
			args: liveFSArgs(), required: []string{"project", "pocket"},
			texts: []string{
				"subarch", "subproject", "datestamp", "image_format", "locale", "channel",
				"repo_snapshot_stamp", "snapshot_service_timestamp", "cohort-key",
			},
			booleans: []string{"debug"}, lists: []string{"extra_ppas", "extra_snaps", "image_targets"},
			install: "apt-get", build: "lb build", installFails: verdict.PackageFail, buildFails: verdict.PackageFail,
		},
		"snap": {
			args: snapArgs(), required: []string{"name"},
			texts: slices.Concat(sources, network, []string{
				"build_request_timestamp", "build_url", "launchpad_instance",
				"launchpad_server_url", "craft_platform", "build_path",
			}),
			booleans: []string{"build_source_tarball", "private", "use_fetch_service", "disable_proxy_after_pull"},
			lists:    []string{"target_architectures"}, structs: []string{"channels", "secrets"},
			install: "apt-get", build: "snapcraft", installFails: verdict.PackageFail, buildFails: verdict.PackageFail,
			prepare: func(l *lab) { snapcraftMakes(l, "a.snap") },
		},
		"oci": {
			args: ociArgs(), required: []string{"name"},
			texts: slices.Concat(sources, network, []string{"build_file", "build_path"}), structs: []string{"build_args"},
			install: "apt-get", build: "docker build", installFails: verdict.PackageFail, buildFails: verdict.PackageFail,
		},
		"charm": craft("charm"), "rock": craft("rock"), "craft": craft("craft"),
		"ci": {
			args: ciArgs(), required: []string{"jobs"},
			texts: slices.Concat(sources, network), booleans: []string{"scan_malware"}, lists: []string{"package_repositories"},
			structs: []string{"channels", "environment_variables", "plugin_settings", "secrets"},
			install: "apt-get", build: "runuser", installFails: verdict.PackageFail, buildFails: verdict.PackageFail,
		},
	}
}

func TestTheTableOfTypes(t *testing.T) {
	var tags []string
	for _, typ := range types.All() {
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
	for _, typ := range types.All() {
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

// Only an input file could be taken for a file of the builder's own.
func TestNamesOfTheBuildersOwnFilesAreNames(t *testing.T) {
	for _, tag := range []string{"snap", "oci", "charm", "rock", "craft"} {
		if _, err := newBuilder(t, tag, contracts()[tag].args, builders.Args{"name": "status"}); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
	}
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

func TestFind(t *testing.T) {
	typ, err := types.Find("binarypackage")
	if err != nil || typ.Backend != "chroot" || typ.Sanitize || typ.Proxy {
		t.Errorf("got %+v, %v", typ, err)
	}
	if _, err := types.Find("nosuch"); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("error %v", err)
	}
}

// Their tools print URLs with credentials that no argument of the build has.
func TestLogsOfBuildsWithAProxyLoseCredentialsAlways(t *testing.T) {
	for _, typ := range types.All() {
		if typ.Sanitize != typ.Proxy {
			t.Errorf("%s: Sanitize is %v", typ.Tag, typ.Sanitize)
		}
	}
}

// Managers ask for the proxy of a build without looking at its type.
func TestProxyInfoIsForAllTypesButOne(t *testing.T) {
	for _, typ := range types.All() {
		if typ.NoProxyInfo != (typ.Tag == "binarypackage") {
			t.Errorf("%s: NoProxyInfo is %v", typ.Tag, typ.NoProxyInfo)
		}
	}
}

func TestBuildsOfJobsTellOfThemFromTheStart(t *testing.T) {
	for _, typ := range types.All() {
		jobs, told := typ.Extra["jobs"].(map[string]any)
		if told != (typ.Tag == "ci") || len(jobs) > 0 {
			t.Errorf("%s: the extra status is %v at the start", typ.Tag, typ.Extra)
		}
	}
}

func TestNewBinaryPackage(t *testing.T) {
	typ, err := types.Find("binarypackage")
	if err != nil {
		t.Fatal(err)
	}
	good := []string{"hello_1.dsc"}
	for _, c := range []struct {
		name  string
		args  builders.Args
		files []string
		want  string
	}{
		{"complete", builders.Args{"suite": "s", "ogrecomponent": "main"}, good, ""},
		{"no suite", builders.Args{"ogrecomponent": "main"}, good, "suite is required"},
		{"no component", builders.Args{"suite": "s"}, good, "ogrecomponent is required"},
		{"no .dsc", builders.Args{"suite": "s", "ogrecomponent": "main"}, []string{"a.txt"}, ".dsc is required"},
		{"no arguments", nil, good, "suite is required"},
		{"a suite of two lines", builders.Args{"suite": "s\nPurpose: X", "ogrecomponent": "main"}, good, "suite: expected a single line"},
		{"the purpose is no string", builders.Args{"suite": "s", "ogrecomponent": "main", "archive_purpose": int64(1)}, good, "archive_purpose: expected a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := typ.New(c.args, c.files)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
