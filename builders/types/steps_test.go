package types_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders/apt"
)

func TestOverrideSources(t *testing.T) {
	const proxy = "http://apt-proxy.test:3142"
	worked := []string{
		"deb [trusted=yes] http://archive.ubuntu.com/ubuntu oracular main",
		"deb [ arch=amd64,armel lang=en_US,en_CA ] http://ppa.launchpad.net/launchpad/ppa/ubuntu oracular main",
	}
	fullDisk := &verdict.HostFault{Err: errors.New("no space left on device"), Advice: "Free disk space."}
	for _, c := range []struct {
		golden, series, proxy string
		archives              []string
		script                func(*fake.Target)
	}{
		{"deb822", "oracular", "", worked, nil},
		{"deb822-with-proxy", "bookworm", proxy, worked[:1], nil},
		{
			"deb822-with-unusable-lines", "oracular", "",
			[]string{"bad-source.com", "deb [reject=yes] http://h/ oracular main", worked[0]},
			nil,
		},
		{"deb822-without-archives", "noble", "", nil, nil},
		{"one-line", "focal", "", []string{"deb http://one/a focal main universe", "anything [goes"}, nil},
		{"one-line-without-archives", "jammy", "", nil, nil},
		{"image-with-sources", "bookworm", "", worked[:1], withSources},
		{"image-with-sources-one-line", "jammy", "", worked[:1], withSources},
		{"image-without-programs", "noble", "", worked, func(f *fake.Target) {
			f.Script("rm", fake.Answer{Stderr: "linux64: failed to execute rm: No such file or directory\n", Code: 127})
		}},
		{"full-disk", "noble", "", worked, func(f *fake.Target) { f.Script("rm", fake.Answer{Err: fullDisk}) }},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newLab(t)
			l.env.Common.Series, l.env.Common.Archives = c.series, c.archives
			if c.script != nil {
				c.script(l.target)
			}
			l.golden("sources/"+c.golden, apt.OverrideSources(t.Context(), l.env, c.proxy))
		})
	}
}

// withSources is an image with package sources of its own, and with files that apt
// reads none from.
func withSources(f *fake.Target) {
	for _, name := range []string{
		"sources.list", "sources.list.d/debian.sources", "sources.list.d/security.list", "sources.list.d/-odd_1.list",
		"sources.list.d/old.list.save", "sources.list.d/a b.list", "sources.list.d/README", "sources.list.d/below/other.list",
	} {
		f.AddFile("/etc/apt/"+name, "deb http://image.test/ main\n", 0o644)
	}
}

func TestAddTrustedKeys(t *testing.T) {
	shown := "pub   ed25519/0D5557B60BCB4BDA\n      Key fingerprint = 5F07 DE97\n"
	for _, c := range []struct {
		golden string
		keys   []string
		script func(*fake.Target)
	}{
		{"two-keys", []string{"b25l", "dHdv"}, func(f *fake.Target) {
			f.Script("host: gpg", fake.Answer{Stdout: "first"}, fake.Answer{Stdout: shown},
				fake.Answer{Stdout: "second"}, fake.Answer{Stdout: shown})
		}},
		{"not-base64", []string{"b25l", "A"}, nil},
		{"no-armour", []string{"b25l"}, func(f *fake.Target) {
			f.Script("host: gpg", fake.Answer{Stderr: "gpg: no valid OpenPGP data found.\n", Code: 2})
		}},
		{"no-key", []string{"b25l"}, func(f *fake.Target) {
			f.Script("host: gpg", fake.Answer{}, fake.Answer{Stderr: "gpg: no valid OpenPGP data found.\n", Code: 2})
		}},
		{"no-gpg", []string{"b25l"}, func(f *fake.Target) {
			f.Script("host: gpg", fake.Answer{Err: &verdict.HostFault{Err: errors.New("cannot run gpg"), Advice: "Install gpg."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newLab(t)
			l.env.Common.TrustedKeys = c.keys
			if c.script != nil {
				c.script(l.target)
			}
			l.golden("keys/"+c.golden, apt.AddTrustedKeys(t.Context(), l.env))
		})
	}
}

const (
	testKey = "mDMEXgvhABYJKwYBBAHaRw8BAQdA50NWq1TbmPCUqvH1p9pz2PWtph3UxCp98WCn3C0qPri0IUNvbmZvcm1hbmNlIEtleSA8a2V5" +
		"QGV4YW1wbGUub3JnPoiQBBMWCAA4FiEEXwfelyaD5M5/h2GGDVVXtgvLS9oFAl4L4QACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AA" +
		"CgkQDVVXtgvLS9qjjwEA212XuYl+9Ke1sp11gwVtCAfa0Zy3cJ65aYS2ewJz4+cA/iUBdTmBxZ96qYzEpIqwoScnMYswNW4yjNIyYW4lgDID"
	testKeySize = 234
)

func TestAddTrustedKeysWithGnuPG(t *testing.T) {
	if _, err := os.Stat("/usr/bin/gpg"); err != nil {
		t.Skip("needs gpg:", err)
	}
	home := t.TempDir()
	l := newLab(t)
	l.env.Host = backends.Host{Home: home, Dir: home}
	l.env.Common.TrustedKeys = []string{testKey, testKey[:100] + "\n " + testKey[100:]}
	if err := apt.AddTrustedKeys(t.Context(), l.env); err != nil {
		t.Fatalf("%v\n%s", err, l.log.String())
	}
	ring, ok := l.target.File("/etc/apt/trusted.gpg.d/launchpad-buildd.gpg")
	if !ok || len(ring.Data) != 2*testKeySize || ring.Mode != 0o644 {
		t.Errorf("the keyring has %d bytes, mode %o", len(ring.Data), ring.Mode)
	}
	if n := strings.Count(l.log.String(), "Key fingerprint = 5F07 DE97"); n != 2 {
		t.Errorf("%d fingerprints in the log:\n%s", n, l.log.String())
	}
	left, err := filepath.Glob(home + "/.*")
	if err != nil || len(left) > 0 {
		t.Errorf("gpg left %q, %v", left, err)
	}
	l.env.Common.TrustedKeys = []string{testKey, "anVuaw=="}
	if err := apt.AddTrustedKeys(t.Context(), l.env); outcome(err) != verdict.ChrootFail || !strings.Contains(err.Error(), "trusted_keys[1]") {
		t.Errorf("junk as a key: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	const aptGet = "/usr/bin/apt-get"
	good := fake.Answer{Stdout: "Reading package lists...\n"}
	bad := fake.Answer{Stdout: "E: Failed to fetch\n", Code: 100}
	for _, c := range []struct {
		golden string
		waits  time.Duration
		script func(*fake.Target)
	}{
		{"good", 0, func(f *fake.Target) { f.Script(aptGet, good) }},
		{"second-attempt", 15 * time.Second, func(f *fake.Target) { f.Script(aptGet, bad, good) }},
		{"fails-twice", 15 * time.Second, func(f *fake.Target) { f.Script(aptGet, bad) }},
		{"upgrade-fails", 0, func(f *fake.Target) { f.Script(aptGet, good, bad) }},
		{"host-fault", 0, func(f *fake.Target) {
			f.Script(aptGet, fake.Answer{Err: &verdict.HostFault{Err: errors.New("too many open files"), Advice: "Raise the limit."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				c.script(l.target)
				start := time.Now()
				l.golden("update/"+c.golden, apt.Update(t.Context(), l.env))
				if took := time.Since(start); took != c.waits {
					t.Errorf("took %v, want %v", took, c.waits)
				}
			})
		})
	}
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	aborted := errors.New("aborted")
	for _, c := range []struct {
		name   string
		answer fake.Answer
		after  time.Duration
	}{
		{"while apt runs", fake.Answer{Hang: true}, time.Minute},
		{"while it waits", fake.Answer{Code: 100}, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t)
				l.target.Script("/usr/bin/apt-get", c.answer)
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(c.after, func() { cancel(aborted) })
				start := time.Now()
				err := apt.Update(ctx, l.env)
				if !errors.Is(err, aborted) || time.Since(start) != c.after {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				var judged *verdict.BuildError
				if errors.As(err, &judged) {
					t.Errorf("an end from outside has the verdict %v", judged.Outcome)
				}
				if n := len(l.target.Commands()); n != 1 {
					t.Errorf("%d commands were run", n)
				}
			})
		})
	}
}
