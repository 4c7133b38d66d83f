package types_test

import (
	"errors"
	"slices"
	"testing"

	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func liveFSArgs() builders.Args {
	return builders.Args{"project": "ubuntu", "pocket": "release"}
}

func TestLiveFS(t *testing.T) {
	fails := func(prefix string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stderr: "it does not work\n", Code: 1}) }
	}
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"plain", nil, nil},
		{"everything", builders.Args{
			"subproject": "live", "subarch": "generic", "datestamp": "20250101-103800", "image_format": "squashfs",
			"extra_ppas": []any{"owner/one", "owner/two"}, "extra_snaps": []any{"core", "lxd"}, "channel": "edge",
			"image_targets": []any{"disk-image", "kernel"}, "repo_snapshot_stamp": "20250101T000000Z",
			"snapshot_service_timestamp": "20250101T000001Z", "cohort-key": "MSBzbmFw", "pocket": "proposed",
		}, nil},
		{"locale", builders.Args{"locale": "zh_CN"}, nil},
		{"debug", builders.Args{"debug": true}, nil},
		{"no-snapd", nil, func(l *lab) { l.target.Script("apt-cache show", fake.Answer{Stdout: "Package: fuse\n"}) }},
		{"no-hello", nil, fails("snap install hello")},
		{"sample", sampleArgs(t, "livefs"), nil},

		{"fail-install", nil, fails("apt-get")},
		{"fail-install-locale", builders.Args{"locale": "zh_CN"}, fails("apt-get -y --install-recommends")},
		{"fail-build-clean", nil, fails("lb clean")},
		{"fail-build-config", nil, fails("lb config")},
		{"fail-build", nil, fails("lb build")},
		{"fail-build-locale", builders.Args{"locale": "zh_CN"}, fails("ubuntu-defaults-image")},
		{"fail-host", nil, func(l *lab) {
			l.target.Script("lb", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the container engine is gone"), Advice: "Start it."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newContainerLab(t)
			if c.prepare != nil {
				c.prepare(l)
			}
			b, err := newBuilder(t, "livefs", liveFSArgs(), c.args)
			if err != nil {
				t.Fatal(err)
			}
			l.golden("livefs/"+c.golden, b.Build(t.Context(), l.env))
		})
	}
}

func TestLiveFSArguments(t *testing.T) {
	for name, c := range map[string]struct {
		args builders.Args
		err  string
	}{
		"no project":              {builders.Args{"project": nil}, "project is required"},
		"no pocket":               {builders.Args{"pocket": ""}, "pocket is required"},
		"a number":                {builders.Args{"subarch": int64(7)}, "subarch: expected a string, got int"},
		"text for a list":         {builders.Args{"extra_ppas": "owner/ppa"}, "extra_ppas: expected an array of strings, got string"},
		"a number in a list":      {builders.Args{"image_targets": []any{"a", int64(1)}}, "image_targets[1]: expected a string, got int"},
		"two lines":               {builders.Args{"channel": "a\nb"}, "channel: expected a single line"},
		"two lines in a list":     {builders.Args{"extra_snaps": []any{"a\nb"}}, "extra_snaps[0]: expected a single line"},
		"a locale like an option": {builders.Args{"locale": "--version"}, `locale: expected no "-" at its start`},
		"text for a boolean":      {builders.Args{"debug": "yes"}, "debug: expected a boolean"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newBuilder(t, "livefs", liveFSArgs(), c.args)
			wantError(t, err, c.err)
		})
	}
}

func TestLiveFSResults(t *testing.T) {
	l := newContainerLab(t)
	b, err := newBuilder(t, "livefs", liveFSArgs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"livecd.ubuntu.squashfs", "livecd.ubuntu.manifest", "chroot.files", "livecd.dir/file"} {
		l.target.AddFile("/build/"+name, name, 0o644)
	}
	found, err := l.results(t.Context(), b)
	var names []string
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"livecd.ubuntu.manifest", "livecd.ubuntu.squashfs"}) {
		t.Errorf("got %v, %v", names, err)
	}
}
