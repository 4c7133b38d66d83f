package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/builders/site"
)

// load reads a configuration from the text of a file and from other sources.
// @CACHE@ in the text becomes an existing folder.
func load(t *testing.T, text string, from Sources) (Config, []Origin, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "buildd.conf")
	text = strings.ReplaceAll(text, "@CACHE@", t.TempDir())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	from.File = path
	if from.Environ == nil {
		from.Environ = environ(nil)
	}
	c, origins, err := Load(from)
	for i := range origins {
		origins[i].From = strings.ReplaceAll(origins[i].From, path, "FILE")
	}
	if err != nil {
		err = fmt.Errorf("%s", strings.ReplaceAll(err.Error(), path, "FILE"))
	}
	return c, origins, err
}

// environ is an environment with these variables.
func environ(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

const minimal = "[builder]\narchitecturetag = amd64\nfilecache = @CACHE@\nbindport = 8221\n"

func TestLoadOfTheClientsTestHarness(t *testing.T) {
	c, _, err := load(t, `[builder]
architecturetag = i386
filecache = @CACHE@
bindhost = localhost
bindport = 8321
sharepath = /opt/share
`, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		ArchitectureTag: "i386", FileCache: c.FileCache, BindHost: "localhost", BindPort: 8321,
		SharePath: "/opt/share", ProxyPort: 8222, User: "buildd", Site: site.Site{TemplatesArchive: "translation-templates.tar.gz"},
		CacheMinFree: 1 << 30, CacheRoots: 2, ChrootOverlay: "auto",
		Container: job.Container{Instance: "buildd-conf", Engine: "auto", Firewall: "auto", MaxImages: 4},
		LogLimit:  4 << 30, ResultLimit: 64 << 30, ProcessLimit: 16384, AbortLimit: 120 * time.Second, KeepBuilds: 1, CPUOvercommit: 1, MemoryOvercommit: 1, LogLevel: slog.LevelInfo, LogFormat: "text",
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestLoadOfThePackagesTemplate(t *testing.T) {
	template, err := os.ReadFile(filepath.FromSlash("../../etc/template-buildd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("@ARCHTAG@", "amd64", "/home/buildd/filecache-@NAME@", "@CACHE@",
		"@BINDHOST@", "0.0.0.0", "@BINDPORT@", "8221", "@PROXYPORT@", "8222").Replace(string(template))
	c, origins, err := load(t, text, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if c.BindHost != "0.0.0.0" || c.Site.NTPHost != "ntp.buildd" || c.ProxyPort != 8222 || c.Site.TemplatesArchive != "translation-templates.tar.gz" {
		t.Errorf("got %+v", c)
	}
	for _, o := range origins {
		if o.Warning != "" {
			t.Errorf("unexpected warning %+v", o)
		}
	}
}

func TestTheSampleNamesEveryKeyWithItsDefault(t *testing.T) {
	sample, err := os.ReadFile(filepath.FromSlash("../../etc/buildd-example.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(sample), "\n#", "\n")
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if key, _, ok := strings.Cut(line, " ="); strings.HasPrefix(line, "[") || ok && !strings.Contains(key, " ") && key != "" {
			lines = append(lines, line)
		}
	}
	f, err := parseINI([]byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings() {
		o, ok := f.option(s.Section, s.Key)
		if !ok {
			t.Errorf("the sample does not mention %s", s.Name())
			continue
		}
		if s.Default != "" && o.value != s.Default {
			t.Errorf("the sample has %s = %s, the default is %s", s.Name(), o.value, s.Default)
		}
	}
	for _, s := range f.sections[1:] {
		for _, o := range s.options {
			if !isSetting(s.name + "." + o.key) {
				t.Errorf("the sample mentions the unknown key %s.%s", s.name, o.key)
			}
		}
	}
}

func TestLoadReadsEveryKey(t *testing.T) {
	c, _, err := load(t, minimal+`proxyport = 9
NtpHost = time.example
user = builder
[translationtemplatesmanager]
resultarchive = t.tar.gz
[proxy]
apt = http://apt.example:3128/
snapstore = http://snap.example
clamavdatabase = https://clam.example
[cache]
maxsize = 20G
maxage = 1d12h
minfree = 512m
roots = 0
[chroot]
overlay = never
tmpfs = 2048
[backend]
instance = two
container = incus
socket = /run/engine
pool = fast
project = builds
remote = https://engine.example:8443
clientcert = /c
clientkey = /k
servercert = /s
subnet = 10.9.8.7/24
firewall = nftables
images = 7
imagesage = 2d
[limits]
wall = 3d
silence = 90m
log = 1T
cpus = 1.5
memory = 4G
processes = 5000
cpu_overcommit = 2
memory_overcommit = 1.25
reserved_cpus = 0.5
reserved_memory = 512M
abort = 60s
[keep]
failed = 1d12h
builds = 3
[log]
level = DEBUG
format = json
[access]
allow = 10.1.2.3/8, 192.0.2.7
    2001:db8::/32
    ::ffff:10.0.0.1
`, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		ArchitectureTag: "amd64", FileCache: c.FileCache, BindPort: 8221, SharePath: "/usr/share/launchpad-buildd",
		ProxyPort: 9, User: "builder",
		Site: site.Site{
			AptProxy: "http://apt.example:3128/", SnapStore: "http://snap.example", ClamAVDatabase: "https://clam.example",
			NTPHost: "time.example", TemplatesArchive: "t.tar.gz",
		},
		CacheMaxSize: 20 << 30, CacheMaxAge: 36 * time.Hour, CacheMinFree: 512 << 20, ChrootOverlay: "never", ChrootTmpfs: 2048,
		Container: job.Container{
			Instance: "two", Engine: "incus", Socket: "/run/engine", Pool: "fast", Project: "builds",
			Remote: "https://engine.example:8443", ClientCert: "/c", ClientKey: "/k", ServerCert: "/s",
			Subnet: netip.MustParsePrefix("10.9.8.0/24"), Firewall: "nftables", MaxImages: 7, MaxImageAge: 48 * time.Hour,
		},
		WallLimit: 72 * time.Hour, SilenceLimit: 90 * time.Minute, LogLimit: 1 << 40, ResultLimit: 64 << 30, AbortLimit: time.Minute,
		KeepFailed: 36 * time.Hour, KeepBuilds: 3,
		CPULimit: 1.5, MemoryLimit: 4 << 30, ProcessLimit: 5000, CPUOvercommit: 2, MemoryOvercommit: 1.25, ReservedCPUs: 0.5, ReservedMemory: 512 << 20,
		LogLevel: slog.LevelDebug, LogFormat: "json",
		Allow: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"),
			netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("10.0.0.1/32"),
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestBuildersThatShareAnEngineHaveTheNamesOfTheirMachines(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const here, there = "[builder]\narchitecturetag = i386\nfilecache = /\nbindport = 1\n", "[backend]\nremote = https://engine.example\n"
	for text, want := range map[string]string{
		here:                            "buildd-conf",
		here + there:                    instanceOf("buildd-conf-" + host),
		here + there + "instance = x\n": "x",
	} {
		if c, _, err := load(t, text, Sources{}); err != nil || c.Container.Instance != want {
			t.Errorf("%s: got %q, %v; want %q", text, c.Container.Instance, err, want)
		}
	}
}

func TestLoadReportsAllErrorsAtOnce(t *testing.T) {
	_, origins, err := load(t, `[builder]
filecache = /nonexistent/cache
bindport = 65536
bindhost = two words
user =
[proxy]
apt = ftp://u:secret@host/
snapstore = 50%
[cache]
maxsize = 4X
roots = many
[limits]
wall = 3 days
silence = -1s
cpus = NaN
cpu_overcommit = 0.9
abort = 171s
[keep]
failed = 8d
builds = 0
[access]
allow = 10.0.0.0/8, everyone
`, Sources{Environ: environ(map[string]string{"LPBUILDD_LOG_LEVEL": "loud"}), Set: []string{"chroot.overlay=yes", "cache.max_size=1", "nonsense"}})
	want := []string{
		`--set "cache.max_size=1": want section.key=value with a key that exists (did you mean cache.maxsize?)`,
		`--set "nonsense": want section.key=value with a key that exists`,
		`builder.architecturetag is missing: want the architecture of this builder, e.g. amd64`,
		`builder.filecache = "/nonexistent/cache" (FILE:2): want an existing folder for the file cache: stat /nonexistent/cache: no such file or directory`,
		`builder.bindhost = "two words" (FILE:4): want the host name or address to listen on, or nothing for all addresses`,
		`builder.bindport = "65536" (FILE:3): want a port number from 1 to 65535, or 0 for any free port`,
		`builder.user = "" (FILE:5): want the name of a user`,
		`proxy.apt = "ftp://[redacted]@host/" (FILE:7): want an http:// or https:// URL, or nothing`,
		`proxy.snapstore = "50%" (FILE:8): want an http:// or https:// URL, or nothing: "%" is neither %% nor %(name)s; write %% for a percent sign`,
		`cache.maxsize = "4X" (FILE:10): want a size in bytes, or with K, M, G or T, e.g. 4G; 0 for none`,
		`cache.roots = "many" (FILE:11): want how many unpacked base images to keep, 0 to 1000`,
		`chroot.overlay = "yes" (--set): want auto or never`,
		`limits.wall = "3 days" (FILE:13): want a duration such as 90s, 2h30m or 3d; 0 for none`,
		`limits.silence = "-1s" (FILE:14): want a duration such as 90s, 2h30m or 3d; 0 for none`,
		`limits.cpus = "NaN" (FILE:15): want a number of processors, e.g. 2 or 1.5; 0 for none`,
		`limits.cpu_overcommit = "0.9" (FILE:16): want a factor of at least 1, e.g. 1.5`,
		`limits.abort = "171s" (FILE:17): want a duration from 1s to 170s, because managers wait for 180s`,
		`keep.failed = "8d" (FILE:19): want a duration such as 90m or 1d, 7d at most; 0 for not at all`,
		`keep.builds = "0" (FILE:20): want how many failed builds are kept at most, 1 to 100`,
		`log.level = "loud" (LPBUILDD_LOG_LEVEL): want debug, info, warn or error`,
		`access.allow = "10.0.0.0/8, everyone" (FILE:22): want addresses or networks separated by commas or blanks, e.g. 10.0.0.0/8, or nothing for everyone: "everyone" is none`,
	}
	if err == nil {
		t.Fatal("no error")
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if len(origins) != len(Settings()) {
		t.Errorf("got %d origins, want all %d", len(origins), len(Settings()))
	}
}

func TestProxyPort(t *testing.T) {
	for value, good := range map[string]bool{"0": false, "1": true, "65534": true, "65535": false, "-1": false} {
		if _, _, err := load(t, minimal+"proxyport = "+value+"\n", Sources{}); (err == nil) != good {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestLoadPrecedence(t *testing.T) {
	const key = "builder.bindport"
	environment := environ(map[string]string{"LPBUILDD_BUILDER_BINDPORT": "2"})
	flag := []Flag{{Name: "--bindport", Key: key, Value: "3"}}
	tests := []struct {
		name, text string
		from       Sources
		port       int
		want       string
	}{
		{"the file", minimal, Sources{}, 8221, "FILE:4"},
		{"the file's DEFAULT", strings.ReplaceAll("[DEFAULT]\nbindport = 5\n"+minimal, "bindport = 8221\n", ""), Sources{}, 5, "FILE:2"},
		{"the section before DEFAULT", "[DEFAULT]\nbindport = 5\n" + minimal, Sources{}, 8221, "FILE:6"},
		{"the environment before the file", minimal, Sources{Environ: environment}, 2, "LPBUILDD_BUILDER_BINDPORT"},
		{"a flag before the environment", minimal, Sources{Environ: environment, Flags: flag}, 3, "--bindport"},
		{"--set before the shorter flag", minimal, Sources{Environ: environment, Flags: flag, Set: []string{"Builder.BindPort=4"}}, 4, "--set"},
		{"any free port", minimal, Sources{Flags: []Flag{{Name: "--bindport", Key: key, Value: "0"}}}, 0, "--bindport"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, origins, err := load(t, tt.text, tt.from)
			if err != nil {
				t.Fatal(err)
			}
			if c.BindPort != tt.port {
				t.Errorf("got port %d, want %d", c.BindPort, tt.port)
			}
			for _, o := range origins {
				if o.Key == key && (o.From != tt.want || o.Value != fmt.Sprint(tt.port)) {
					t.Errorf("got %+v, want it from %s", o, tt.want)
				}
			}
		})
	}
}

func TestABrokenValueDoesNotMatterIfItIsOverridden(t *testing.T) {
	c, _, err := load(t, minimal+"user = %(nobody)s\nunused = 50%", Sources{
		Environ: environ(map[string]string{"LPBUILDD_BUILDER_USER": "100%"}), Set: []string{"builder.user=root"},
	})
	if err != nil || c.User != "root" {
		t.Errorf("got %q, %v", c.User, err)
	}
}

func TestLoadWarnings(t *testing.T) {
	_, origins, err := load(t, minimal+`bindprot = 1
secret = http://u:p@h/
[slave]
x = 1
[snapmanager]
proxyport = 8222
[Log]
level = loud
[cahce]
[other.builder]
[builder.user]
x = y
`, Sources{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Origin{
		{"builder.bindprot", "1", "FILE:5", "unknown key (did you mean builder.bindport?); it is ignored"},
		{"builder.secret", "http://[redacted]@h/", "FILE:6", "unknown key; it is ignored"},
		{"slave", "", "FILE:7", "[slave] is what [builder] was called before version 190 of launchpad-buildd; it is ignored: rename it to [builder]"},
		{"snapmanager", "", "FILE:9", "[snapmanager] was dissolved in version 200 of launchpad-buildd; it is ignored: move its proxyport to [builder] and remove it"},
		{"Log", "", "FILE:11", "unknown section (did you mean log?); it is ignored"},
		{"cahce", "", "FILE:13", "unknown section (did you mean cache?); it is ignored"},
		{"other.builder", "", "FILE:14", "unknown section; it is ignored"},
		{"builder.user", "", "FILE:15", "unknown section; it is ignored"},
	}
	if got := origins[len(Settings()):]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDefaultFile(t *testing.T) {
	for name, want := range map[string]string{"": "buildd-example.conf", "env.conf": "env.conf"} {
		if got := DefaultFile(environ(map[string]string{"BUILDD_CONFIG": name})); got != want {
			t.Errorf("BUILDD_CONFIG=%q: got %s", name, got)
		}
	}
	if got := DefaultFile(environ(nil)); got != "buildd-example.conf" {
		t.Errorf("without BUILDD_CONFIG: got %s", got)
	}
}

func TestAMissingFileIsMentionedIfAnythingIsWrong(t *testing.T) {
	t.Chdir(t.TempDir())
	_, _, err := Load(Sources{File: "none.conf", Environ: environ(nil)})
	const want = "there is no configuration file: open none.conf: no such file or directory"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want it to end with %s", err, want)
	}
}

func TestEnvironmentVariablesThatStandForNoKeyAreNoticed(t *testing.T) {
	got := strayVariables([]string{
		"LPBUILDD_CACHE_MAXSIZE=1G", "LPBUILDD_CACHE_MAXSIZ=1G", "LPBUILDD_BULDER_BINDPORT=8221", "LPBUILDD_PROXY_APTT=http://me:secret@proxy.test/",
		"LPBUILDD_LIMITS_EVERYTHING=1", "LPBUILDD_HELPER=/run/socket", "PATH=/bin", "LPBUILDD",
	})
	var lines []string
	for _, o := range got {
		lines = append(lines, fmt.Sprintf("%s: %s=%s: %s", o.From, o.Key, o.Value, o.Warning))
	}
	want := []string{
		"environment: LPBUILDD_CACHE_MAXSIZ=1G: stands for no key (did you mean LPBUILDD_CACHE_MAXSIZE?); it is ignored",
		"environment: LPBUILDD_BULDER_BINDPORT=8221: stands for no key (did you mean LPBUILDD_BUILDER_BINDPORT?); it is ignored",
		"environment: LPBUILDD_PROXY_APTT=http://[redacted]@proxy.test/: stands for no key (did you mean LPBUILDD_PROXY_APT?); it is ignored",
		"environment: LPBUILDD_LIMITS_EVERYTHING=1: stands for no key; it is ignored",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestAMissingFileIsNoErrorByItself(t *testing.T) {
	t.Chdir(t.TempDir())
	env := map[string]string{
		"LPBUILDD_BUILDER_ARCHITECTURETAG": "amd64",
		"LPBUILDD_BUILDER_FILECACHE":       t.TempDir(),
		"LPBUILDD_BUILDER_BINDPORT":        "8221",
	}
	if _, _, err := Load(Sources{File: "none.conf", Environ: environ(env)}); err != nil {
		t.Error(err)
	}
}

func TestLoadNamesTheLinesOfSyntaxErrors(t *testing.T) {
	_, _, err := load(t, minimal+"bindport = 1\nword\n", Sources{})
	for _, want := range []string{"FILE:5: the key bindport is twice", "FILE:6: \"word\" is neither"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "is missing") {
		t.Errorf("complains about keys that could not be read: %v", err)
	}
}

func TestAServiceHasItsLogFileWhereSystemdMadeAFolder(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other.log")
	tests := []struct {
		name, text string
		service    bool
		want       string
	}{
		{"a service", minimal, true, filepath.Join(dir, "buildd.conf.log")},
		{"by hand", minimal, false, ""},
		{"another file", minimal + "[log]\nfile = " + other, true, other},
		{"no file", minimal + "[log]\nfile =", true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{}
			if tt.service {
				env["LOGS_DIRECTORY"] = dir
			}
			c, _, err := load(t, tt.text, Sources{Environ: environ(env)})
			if err != nil {
				t.Fatal(err)
			}
			if c.LogFile != tt.want {
				t.Errorf("got %q, want %q", c.LogFile, tt.want)
			}
		})
	}
}

// A URL may have a password, which must not get into the log of a build.
func TestThePasswordOfEveryURLIsASecretOfBuilds(t *testing.T) {
	for _, s := range Settings() {
		if s.Want != wantURL {
			continue
		}
		c, _, err := load(t, minimal, Sources{Set: []string{s.Name() + "=http://user:of-this-key@host.test/"}})
		if err != nil {
			t.Fatal(err)
		}
		if found := (job.Settings{Site: c.Site, Container: c.Container}).Secrets(); !slices.Contains(found, "of-this-key") {
			t.Errorf("%s: the secrets are %q: its field belongs to job.Settings, which must know it", s.Name(), found)
		}
	}
}
