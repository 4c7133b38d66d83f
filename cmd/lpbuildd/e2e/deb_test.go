//go:build integration

package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
)

// The source packages that are built: a real one, and two that build at once, of
// which one waits for the test.
const (
	hello = "hello_2.10-3"
	quick = "quick/lpbuildd-e2e_1.0"
	held  = "held/lpbuildd-e2e_1.0"
)

// TestPackage installs the .deb on a Debian machine with systemd, and does there
// what operators do. The parts stand on each other.
func TestPackage(t *testing.T) {
	first, next := debs(t)
	m := newMachine(t)
	m.bring(first, next)
	before := m.files()
	for _, part := range []struct {
		name string
		run  func(*machine)
	}{
		{"installation leaves the daemon off until the operator says yes", (*machine).install},
		{"the unit is sound", (*machine).unitIsSound},
		{"the daemon tests itself", (*machine).selfTest},
		{"a real package is built through the port", (*machine).buildHello},
		{"a reload and a restart are heard", (*machine).reloadAndRestart},
		{"an upgrade does not disturb a build", (*machine).upgradeDuringABuild},
		{"results survive a reboot", (*machine).rebootWithResults},
		{"a build that a reboot ends is told and leaves nothing", (*machine).rebootDuringABuild},
		{"two builders build at the same time", (*machine).twoBuilders},
		{"removal and purge leave nothing", func(m *machine) { m.purge(before) }},
		{"it takes the place of launchpad-buildd, and gives it back", (*machine).replaceAndGiveBack},
		{"its autopkgtests pass", (*machine).autopkgtests},
	} {
		ok := t.Run(part.name, func(t *testing.T) {
			began := time.Now()
			part.run(m.within(t))
			t.Logf("took %s", time.Since(began).Round(100*time.Millisecond))
		})
		if !ok {
			return // the next part stands on this one
		}
	}
}

// debs are the package, and one that is newer, which "make deb-test" makes.
func debs(t *testing.T) (first, next string) {
	t.Helper()
	first, next = os.Getenv("LPBUILDD_TEST_DEB"), os.Getenv("LPBUILDD_TEST_DEB_NEXT")
	if first == "" || next == "" {
		t.Skip("needs LPBUILDD_TEST_DEB and LPBUILDD_TEST_DEB_NEXT, see make deb-test")
	}
	return first, next
}

// bring copies what the parts need to the machine.
func (m *machine) bring(first, next string) {
	m.t.Helper()
	source, image := os.Getenv("LPBUILDD_TEST_SOURCE"), os.Getenv("LPBUILDD_TEST_IMAGE")
	if source == "" || image == "" {
		m.t.Skip("needs LPBUILDD_TEST_SOURCE and LPBUILDD_TEST_IMAGE, see make deb-test")
	}
	m.push(first, "/srv/first.deb")
	m.push(next, "/srv/next.deb")
	m.push(image, "/srv/base.tar.gz")
	files, err := filepath.Glob(filepath.Join(source, "hello_*"))
	must(m.t, err)
	for _, file := range files {
		m.push(file, "/srv/"+filepath.Base(file))
	}
	m.run("mkdir /srv/quick /srv/held")
	for folder, hook := range map[string]string{"quick": "true", "held": holding} {
		for _, file := range generateSource(m.t, hook, "") {
			m.push(file, filepath.Join("/srv", folder, filepath.Base(file)))
		}
	}
	mirror, err := exec.CommandContext(m.t.Context(), inTree(".ci/mirror"), "bookworm").Output()
	must(m.t, err)
	uri, components, _ := strings.Cut(strings.TrimSpace(string(mirror)), " ")
	m.write("/srv/archive", fmt.Sprintf("deb %s bookworm %s\n", uri, components))
	m.run("apt-get update -qq")
}

// lpbuild is a build of a package as a developer on the machine would start it.
func lpbuild(port int, id, dsc string) string {
	return fmt.Sprintf("mkdir -p /srv/out-%[2]s && lpbuild run --url http://127.0.0.1:%[1]d --id %[2]s --image /srv/base.tar.gz "+
		`--series bookworm --archive "$(cat /srv/archive)" --output /srv/out-%[2]s /srv/%[3]s.dsc`, port, id, dsc)
}

// built checks and removes the results of such a build.
func (m *machine) built(id, dsc string) {
	m.t.Helper()
	m.expect("ls /srv/out-"+id, filepath.Base(dsc)+"_"+hostArch(m.t)+".deb\n")
	m.run("rm -r /srv/out-" + id)
	m.nothingLeft()
}

// nothingLeft checks that there is no trace of a build, apart from caches.
func (m *machine) nothingLeft() {
	m.t.Helper()
	// What a build has thrown away is deleted after its end was told.
	trace := "set +e; ls -d /home/buildd/build-* /etc/schroot/chroot.d/build-* /home/buildd/filecache-*/.lpbuildd/trash/* 2>/dev/null; " +
		"grep -h chroot-autobuild /proc/[0-9]*/mountinfo 2>/dev/null; pgrep -af '[l]pbuildd supervise|[s]build |[s]chroot '; " +
		"systemctl list-units --plain --no-legend 'lpbuildd-*.scope'; true"
	var found string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-time.After(20 * pollPause) {
		if found = strings.TrimSpace(m.run(trace)); found == "" {
			return
		}
	}
	m.t.Errorf("a build has left:\n%s", found)
}

func (m *machine) install() {
	m.run("apt-get install -y -qq /srv/first.deb")
	if _, err := m.builder(8221).Echo(m.t.Context()); err == nil {
		m.t.Error("the daemon listens before the operator has said yes")
	}
	m.expect("journalctl --no-pager -u lpbuildd@default", "RUN_NETWORK_REQUESTS_AS_ROOT")
	m.expect("id buildd", "uid=2001(buildd) gid=2501(buildd)")
	m.run("sed -i s/=no/=yes/ /etc/default/launchpad-buildd && systemctl restart launchpad-buildd")
	m.run("systemctl is-active launchpad-buildd@default")
	m.expect("cat /run/launchpad-buildd/default.pid", m.run("systemctl show --property MainPID --value lpbuildd@default"))
	st := m.awaitState(m.builder(8221), buildd.Idle)
	m.hasVersion(st)
}

// hasVersion checks that a status has the version of the package.
func (m *machine) hasVersion(st buildd.Status) {
	m.t.Helper()
	if installed := m.run("dpkg-query -W -f '${Version}' lpbuildd"); st.Version != installed {
		m.t.Errorf("the version in the status is %q, that of the package %q", st.Version, installed)
	}
}

// exposure is the last line of systemd-analyze security.
var exposure = regexp.MustCompile(`Overall exposure level.*: ([0-9.]+)`)

func (m *machine) unitIsSound() {
	units := "launchpad-buildd.service launchpad-buildd@default.service"
	m.t.Log(m.run("systemd-analyze verify " + units))
	report := m.run("systemd-analyze security --no-pager launchpad-buildd@default.service")
	level := exposure.FindStringSubmatch(report)
	if level == nil {
		m.t.Fatalf("systemd-analyze says nothing of the exposure:\n%s", report)
	}
	m.t.Log(level[0])
	if level[1] >= "4.5" || len(level[1]) > len("4.5") {
		m.t.Errorf("the unit is exposed too much:\n%s", report)
	}
}

func (m *machine) selfTest() {
	m.t.Log(m.run("BUILDD_CONFIG=/etc/launchpad-buildd/default lpbuildd selftest --image /srv/base.tar.gz"))
	m.nothingLeft()
}

func (m *machine) buildHello() {
	m.run(lpbuild(8221, "HELLO-1", hello))
	m.built("HELLO-1", hello)
}

func (m *machine) reloadAndRestart() {
	m.run("systemctl reload launchpad-buildd")
	m.expect("journalctl --no-pager -u lpbuildd@default", "Configuration reloaded")
	pid := m.run("systemctl show -p MainPID --value launchpad-buildd@default")
	m.run("systemctl restart launchpad-buildd")
	m.awaitState(m.builder(8221), buildd.Idle)
	if now := m.run("systemctl show -p MainPID --value launchpad-buildd@default"); now == pid {
		m.t.Error("a restart of the umbrella restarts no builder")
	}
	// The log is rotated, and the daemon goes on in the new file, if it has one.
	m.run("logrotate --force /etc/logrotate.d/launchpad-buildd")
	m.run("systemctl is-active launchpad-buildd@default")
	// Builders that are stopped are no error.
	m.run("rm -f /var/log/launchpad-buildd/*.log-* && systemctl stop launchpad-buildd && logrotate --force /etc/logrotate.d/launchpad-buildd && " +
		"systemctl start launchpad-buildd")
	m.awaitState(m.builder(8221), buildd.Idle)
}

// inSbuild says that sbuild builds the package that waits.
func inSbuild(st buildd.Status) bool {
	return st.State == buildd.Building && strings.HasSuffix(strings.TrimSpace(string(st.LogTail)), "real begin.")
}

// letGo lets all packages that wait go on.
func (m *machine) letGo() {
	m.t.Helper()
	m.run("pkill --full --exact '" + holder + "'")
}

func (m *machine) upgradeDuringABuild() {
	client := m.builder(8221)
	build := m.start(lpbuild(8221, "HELD-1", held))
	old := m.await(client, "a build in sbuild", inSbuild)
	m.run("apt-get install -y -qq /srv/next.deb")
	st := m.await(client, "the new version", func(st buildd.Status) bool { return st.Version != old.Version })
	m.expect("dpkg-query -W -f '=${Version}=' lpbuildd", "="+st.Version+"=")
	if st.State != buildd.Building || st.BuildID != old.BuildID {
		m.t.Errorf("after the upgrade: %+v", st)
	}
	m.hasVersion(st)
	// As needrestart does with what runs a program that was replaced.
	if out, err := m.try("systemctl restart 'lpbuildd-helper@*.service'"); err == nil {
		m.t.Errorf("somebody can restart a build: %s", out)
	}
	m.letGo()
	build.wait()
	m.built("HELD-1", held)
	m.awaitState(client, buildd.Idle)
}

func (m *machine) rebootWithResults() {
	client := m.builder(8221)
	m.run(lpbuild(8221, "QUICK-1", quick) + " --keep")
	before := m.awaitState(client, buildd.Waiting)
	m.reboot()
	after := m.awaitState(client, buildd.Waiting)
	if !maps.Equal(before.FileMap, after.FileMap) || after.BuildID != before.BuildID || after.Outcome != before.Outcome {
		m.t.Errorf("after the reboot: %+v\nbefore: %+v", after, before)
	}
	for name, sum := range after.FileMap {
		if got := strings.Fields(m.run("sha1sum /home/buildd/filecache-default/" + sum))[0]; got != sum {
			m.t.Errorf("the result %s is damaged", name)
		}
	}
	must(m.t, client.Clean(m.t.Context()))
	m.awaitState(client, buildd.Idle)
	m.built("QUICK-1", quick)
}

func (m *machine) rebootDuringABuild() {
	client := m.builder(8221)
	build := m.start(lpbuild(8221, "HELD-2", held))
	m.await(client, "a build in sbuild", inSbuild)
	m.reboot()
	<-build.done // lpbuild has died with the machine
	m.awaitState(client, buildd.Idle)
	m.nothingLeft()
}

func (m *machine) twoBuilders() {
	m.run("/usr/share/launchpad-buildd/buildd-genconfig --name=second --host=0.0.0.0 --port=8231 --proxy-port=8232 >/etc/launchpad-buildd/second && " +
		"systemctl daemon-reload && systemctl restart launchpad-buildd")
	first, second := m.builder(8221), m.builder(8231)
	m.awaitState(first, buildd.Idle)
	m.awaitState(second, buildd.Idle)
	one, two := m.start(lpbuild(8221, "HELD-3", held)), m.start(lpbuild(8231, "HELD-4", held))
	m.await(first, "a build in sbuild", inSbuild)
	m.await(second, "a build in sbuild, beside the first", inSbuild)
	if st := m.await(first, "an answer", func(buildd.Status) bool { return true }); !inSbuild(st) {
		m.t.Errorf("meanwhile the first builder is %+v", st)
	}
	m.letGo()
	one.wait()
	two.wait()
	m.built("HELD-3", held)
	m.built("HELD-4", held)
}

// mayStay are traces of any installation and of any running machine: those of
// dpkg, apt, systemd and other daemons. Users stay, as Debian's policy has it.
var mayStay = regexp.MustCompile(`^/(` + strings.Join([]string{
	`var/(lib/(dpkg|apt|systemd|logrotate|pam|sgml-base|ucf)|cache|log/(apt|journal|dpkg|alternatives|btmp|wtmp|lastlog|private))`,
	`run/(systemd|udev|log|lock|user|dbus|mount|initctl|utmp|sudo|cron|sendsigs)`, `tmp`, `var/tmp/systemd-private-`, `root`,
	`etc/(passwd|shadow|group|gshadow|subuid|subgid|ld\.so\.cache|\.pwd\.lock|machine-id|resolv\.conf)`, `home/buildd$`,
}, "|") + `)`)

func (m *machine) purge(before map[string]bool) {
	// As an administrator does it, who is not root.
	if out := m.run("SUDO_USER=somebody SUDO_UID=1000 SUDO_GID=1000 apt-get remove -y -qq lpbuildd"); strings.Contains(out, "what the last build of") {
		m.t.Errorf("removal does not clean up: %s", out)
	}
	m.expect("ls /etc/launchpad-buildd", "default")
	if out, err := m.try("pgrep -a lpbuildd"); err == nil {
		m.t.Errorf("removal leaves processes: %s", out)
	}
	m.run("apt-get purge -y -qq --autoremove lpbuildd")
	var left []string
	for path := range m.files() {
		if !before[path] && !mayStay.MatchString(path) {
			left = append(left, path)
		}
	}
	slices.Sort(left)
	if len(left) > 0 {
		m.t.Errorf("purge leaves %d files:\n%s", len(left), strings.Join(left[:min(len(left), 50)], "\n"))
	}
	m.expect("systemctl list-units --all --plain --no-legend '*lpbuildd*' '*launchpad*' | wc -l", "0\n")
	if mounts, err := m.try("grep ' /home/buildd' /proc/mounts"); err == nil {
		m.t.Errorf("purge leaves mounts: %s", mounts)
	}
}

// fixturePredecessor stands in for the package launchpad-buildd, which test
// machines cannot fetch: its files that matter, and no daemon.
const fixturePredecessor = `
mkdir -p /srv/fixture/DEBIAN /srv/fixture/etc/default /srv/fixture/etc/logrotate.d /srv/fixture/etc/cron.daily /srv/fixture/usr/share/launchpad-buildd
cd /srv/fixture
cat >DEBIAN/control <<'EOF'
Package: launchpad-buildd
Version: 254
Architecture: all
Maintainer: lpbuildd's tests <root@localhost>
Description: fixture that stands in for launchpad-buildd in tests
EOF
printf '/etc/default/launchpad-buildd\n/etc/logrotate.d/launchpad-buildd\n/etc/cron.daily/launchpad-buildd\n' >DEBIAN/conffiles
echo RUN_NETWORK_REQUESTS_AS_ROOT=no >etc/default/launchpad-buildd
printf '/var/log/launchpad-buildd/*.log {\n\tdaily\n\tmissingok\n}\n' >etc/logrotate.d/launchpad-buildd
printf '#!/bin/sh\nexit 0\n' >etc/cron.daily/launchpad-buildd
cat >DEBIAN/postrm <<'EOF' # what debhelper wrote before version 13.10
#!/bin/sh
if [ "$1" = remove ]; then
	deb-systemd-helper mask launchpad-buildd.service launchpad-buildd@.service >/dev/null
fi
EOF
echo of the predecessor >usr/share/launchpad-buildd/fixture
chmod 755 etc/cron.daily/launchpad-buildd DEBIAN/postrm
dpkg-deb --root-owner-group --build . /srv/predecessor.deb
`

// oldConfiguration is one as launchpad-buildd's own generator writes it.
const oldConfiguration = `# Generated by launchpad-buildd.
[builder]
architecturetag = %s
filecache = /home/buildd/filecache-default
bindhost = 0.0.0.0
bindport = 8221
ntphost =
sharepath = /usr/share/launchpad-buildd
proxyport = 8222

[translationtemplatesmanager]
resultarchive = translation-templates.tar.gz
`

func (m *machine) replaceAndGiveBack() {
	m.run(fixturePredecessor)
	m.run("dpkg -i /srv/predecessor.deb && mkdir -p /etc/launchpad-buildd && sed -i s/=no/=yes/ /etc/default/launchpad-buildd")
	config := fmt.Sprintf(oldConfiguration, hostArch(m.t))
	m.write("/etc/launchpad-buildd/default", config)
	m.run("apt-get install -y -qq -o Dpkg::Options::=--force-confold /srv/first.deb")
	if got := m.run("cat /etc/launchpad-buildd/default"); got != config {
		m.t.Errorf("the configuration became\n%s", got)
	}
	m.expect("cat /etc/default/launchpad-buildd", "RUN_NETWORK_REQUESTS_AS_ROOT=yes")
	m.expect("dpkg-query -W -f '${db:Status-Abbrev}' launchpad-buildd || echo gone", "rc")
	m.awaitState(m.builder(8221), buildd.Idle)
	m.run("systemctl restart launchpad-buildd && systemctl is-active launchpad-buildd@default")
	m.awaitState(m.builder(8221), buildd.Idle)
	m.run("apt-get install -y -qq --allow-downgrades -o Dpkg::Options::=--force-confold /srv/predecessor.deb")
	m.expect("dpkg-query -W -f '${db:Status-Abbrev}' lpbuildd || echo gone", "rc")
	m.expect("cat /usr/share/launchpad-buildd/fixture", "of the predecessor")
	if got := m.run("cat /etc/launchpad-buildd/default"); got != config {
		m.t.Errorf("going back, the configuration became\n%s", got)
	}
	m.run("apt-get purge -y -qq lpbuildd")
	if got := m.run("cat /etc/launchpad-buildd/default"); got != config {
		m.t.Errorf("the purge of what was replaced took the configuration of what is there: %s", got)
	}
}

// autopkgtests runs the package's own tests as Debian does. A container with
// systemd is machine enough for them, and is thrown away afterwards.
func (m *machine) autopkgtests() {
	source := filepath.Join(m.t.TempDir(), "source.tar")
	must(m.t, exec.CommandContext(m.t.Context(), "tar", "-C", inTree(), "-cf", source, "debian").Run())
	m.push(source, "/srv/source.tar")
	m.run("apt-get purge -y -qq launchpad-buildd")
	m.run("apt-get install -y -qq --no-install-recommends autopkgtest && mkdir /srv/source && tar -C /srv/source -xf /srv/source.tar")
	out := m.run("autopkgtest --no-built-binaries --ignore-restrictions=isolation-machine,breaks-testbed /srv/source/ /srv/first.deb -- null 2>&1")
	for _, name := range []string{"smoke", "programs"} {
		if !regexp.MustCompile(`(?m)^` + name + ` +PASS`).MatchString(out) {
			m.t.Errorf("%s does not pass:\n%s", name, out)
		}
	}
}
