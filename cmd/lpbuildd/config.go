package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// config is the whole configuration of the daemon, checked and in units of
// Go. It is a value; nobody changes it after loadConfig.
type config struct {
	ArchitectureTag string
	// FileCache is a folder that existed when the configuration was read.
	FileCache string
	// BindHost is the address to listen on; "" and "0.0.0.0" are all.
	BindHost string
	// BindPort 0 is any free port.
	BindPort  int
	SharePath string
	ProxyPort int
	// NTPHost is a time server to ask before a build, or "".
	NTPHost string
	// User is who sbuild runs as when the daemon is root.
	User string
	// TranslationResultArchive is "" when translation-templates builds are not
	// configured.
	TranslationResultArchive string

	// AptProxy, SnapStore and ClamAVDatabase are URLs or "".
	AptProxy, SnapStore, ClamAVDatabase string

	// CacheMaxSize and CacheMaxAge are limits of the file cache, 0 is none.
	// CacheMinFree is how many bytes downloads leave free on its disk.
	CacheMaxSize, CacheMinFree int64
	CacheMaxAge                time.Duration
	// CacheRoots is how many unpacked base images are kept.
	CacheRoots int

	// ChrootOverlay is "auto" or "never".
	ChrootOverlay string
	// ChrootTmpfs is the size limit of upper layers in memory; 0 keeps them on
	// disk.
	ChrootTmpfs int64

	// Instance is the name of this builder among those on this machine; parts of
	// containers and networks are called after it.
	Instance string
	// Container is the container engine: "auto", "lxd" or "incus".
	Container string
	// ContainerSocket is the path of its socket, "" for the usual one.
	ContainerSocket string
	// ContainerRemote is the URL of an Incus on another machine, "" for the one
	// here; the others are paths of PEM files.
	ContainerRemote, ContainerCert, ContainerKey, ContainerServerCert string
	// ContainerPool and ContainerProject are the engine's storage pool and
	// project, "" for the default ones.
	ContainerPool, ContainerProject string
	// ContainerSubnet is the IPv4 network of containers; invalid means the usual
	// one of the instance.
	ContainerSubnet netip.Prefix
	// ContainerFirewall is "auto", "iptables" or "nftables".
	ContainerFirewall string
	// ContainerImages is how many imported images are kept, ContainerImagesAge
	// how long since their last use; an age of 0 is no limit.
	ContainerImages    int
	ContainerImagesAge time.Duration

	// WallLimit, SilenceLimit, LogLimit and ResultLimit (bytes) end builds; 0 is no
	// limit.
	WallLimit, SilenceLimit time.Duration
	LogLimit, ResultLimit   int64
	// CPULimit and MemoryLimit (bytes) are what a build may use; 0 is no limit.
	CPULimit    float64
	MemoryLimit int64
	// ProcessLimit is how many processes and threads a build may have at once; 0
	// is no limit.
	ProcessLimit int
	// CPUOvercommit and MemoryOvercommit are how many times what is not reserved
	// may be promised to builds; at least 1.
	CPUOvercommit, MemoryOvercommit float64
	// ReservedCPUs and ReservedMemory (bytes) are left to the machine.
	ReservedCPUs   float64
	ReservedMemory int64
	// AbortLimit is how long the processes of an aborted build may take to die.
	AbortLimit time.Duration

	// KeepFailed is how long the targets of failed builds are kept for a look, 0
	// is not at all; KeepBuilds is how many at most.
	KeepFailed time.Duration
	KeepBuilds int

	LogLevel slog.Level
	// LogFormat is "text" or "json".
	LogFormat string
	// LogFile is a file that gets the log too, or "".
	LogFile string

	// Allow are the networks that may connect; empty is everyone.
	Allow []netip.Prefix
}

// origin says where the value of a key comes from.
type origin struct {
	// Key is "section.key".
	Key string
	// Value is the text before it was checked, without the secrets in URLs.
	Value string
	// From is "default", "file:line", the name of an environment variable, or a
	// flag.
	From string
	// Warning says what is wrong with something that the configuration can do
	// without, e.g. a key that is not known. It is "" for all others.
	Warning string
}

// configError is a value that cannot be used, or one that is missing.
type configError struct {
	origin
	// Want says what is expected.
	Want string
	// Err is nil when Want says it all.
	Err error
}

// Error names the key, the value, where it came from and what is expected.
func (e *configError) Error() string {
	text := fmt.Sprintf("%s = %q (%s): want %s", e.Key, e.Value, e.From, e.Want)
	if e.From == "" {
		text = fmt.Sprintf("%s is missing: want %s", e.Key, e.Want)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *configError) Unwrap() error { return e.Err }

// loadConfig puts the configuration together: a flag wins over an environment
// variable LPBUILDD_<SECTION>_<KEY>, over the file, over the default. The file
// is that of --config, else of BUILDD_CONFIG, else buildd-example.conf; a
// missing one counts as empty, and is mentioned if anything is wrong then.
//
// The origins are those of all known keys, plus one with a Warning for each
// thing in the file that has no effect. They are complete even if there is an
// error, which joins everything that is wrong. Flags may be nil.
func loadConfig(flags *pflag.FlagSet, environ func(string) (string, bool)) (config, []origin, error) {
	l := newLoader()
	path := configPath(flags, environ)
	// A service has its log file where launchpad-buildd had it.
	if dir, _ := environ("LOGS_DIRECTORY"); dir != "" {
		l.viper.SetDefault("log.file", filepath.Join(dir, filepath.Base(path)+".log"))
	}
	l.readFile(path)
	l.readEnviron(environ)
	l.readFlags(flags)

	var c config
	for _, s := range settings() {
		l.apply(&c, s)
	}
	if c.Instance == "" {
		c.Instance = instanceOf(l.path)
		if host, err := os.Hostname(); err == nil && c.ContainerRemote != "" {
			// Builders of several machines meet there.
			c.Instance = instanceOf(l.path + "-" + host)
		}
	}
	if l.noFile != nil && len(l.problems) > 0 {
		l.fail(fmt.Errorf("there is no configuration file: %w", l.noFile))
	}
	return c, append(l.origins, l.warnings()...), errors.Join(l.problems...)
}

// instanceOf is the name of the builder that a file configures: the name of
// the file, as far as it can be part of the name of a container.
func instanceOf(path string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(filepath.Base(path)))
	return cmp.Or(strings.Trim(name, "-"), "default")
}

// loader is the state of loadConfig.
type loader struct {
	viper    *viper.Viper
	ini      iniDecoder
	path     string
	unread   bool              // the file could not be read or has errors of syntax
	noFile   error             // why there is no file, if that is not an error by itself
	from     map[string]string // key to origin, defaults left out
	origins  []origin
	problems []error
}

func newLoader() *loader {
	l := &loader{from: map[string]string{}}
	l.viper = viper.NewWithOptions(viper.WithDecoderRegistry(&l.ini))
	for _, s := range settings() {
		l.viper.SetDefault(s.name(), s.value)
	}
	return l
}

// configPath returns the path of the configuration file.
func configPath(flags *pflag.FlagSet, environ func(string) (string, bool)) string {
	if flags != nil {
		if f := flags.Lookup("config"); f != nil && f.Changed {
			return f.Value.String()
		}
	}
	if path, ok := environ("BUILDD_CONFIG"); ok && path != "" {
		return path
	}
	return "buildd-example.conf"
}

// readFile reads the configuration file, if there is one.
func (l *loader) readFile(path string) {
	l.path = path
	data, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrNotExist) {
		l.noFile = err
		return
	}
	if err != nil {
		l.unread = true
		l.fail(fmt.Errorf("cannot read the configuration: %w", err))
		return
	}
	l.viper.SetConfigType("ini")
	if err := l.viper.ReadConfig(strings.NewReader(string(data))); err != nil {
		l.unread = true
		l.fail(l.located(err)...)
		return
	}
	for _, s := range settings() {
		if o, ok := l.ini.file.option(s.section, s.key); ok {
			l.from[s.name()] = fmt.Sprintf("%s:%d", path, o.line)
		}
	}
}

// located puts the path in front of the problems of the INI reader.
func (l *loader) located(err error) []error {
	problems := []error{err}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		problems = joined.Unwrap()
	}
	var located []error
	for _, p := range problems {
		if at := (*iniError)(nil); errors.As(p, &at) {
			p = fmt.Errorf("%s:%d: %s", l.path, at.line, at.text)
		}
		located = append(located, p)
	}
	return located
}

// readEnviron puts the environment's values over those of the file.
func (l *loader) readEnviron(environ func(string) (string, bool)) {
	for _, s := range settings() {
		name := s.variable()
		value, ok := environ(name)
		if !ok {
			continue
		}
		l.from[s.name()] = name
		if err := l.viper.MergeConfigMap(map[string]any{s.section: map[string]any{s.key: value}}); err != nil {
			l.fail(fmt.Errorf("cannot use the environment variable %s: %w", name, err))
		}
	}
}

// readFlags puts the values of flags over all others.
func (l *loader) readFlags(flags *pflag.FlagSet) {
	if flags == nil {
		return
	}
	for _, name := range []string{"bindhost", "bindport"} {
		if f := flags.Lookup(name); f != nil && f.Changed {
			l.override("builder."+name, f.Value.String(), "--"+name)
		}
	}
	sets, err := flags.GetStringArray("set")
	if err != nil {
		return // this command has no such flag
	}
	for _, text := range sets {
		key, value, ok := strings.Cut(text, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok || !isSetting(key) {
			l.fail(fmt.Errorf("--set %q: want section.key=value with a key that exists%s", redact(text), didYouMean(key, settingNames())))
			continue
		}
		l.override(key, strings.TrimSpace(value), "--set")
	}
}

// override sets a key to the value of a flag.
func (l *loader) override(key, value, flag string) {
	l.viper.Set(key, value)
	l.from[key] = flag
}

// apply checks the value of one key and stores it.
func (l *loader) apply(c *config, s setting) {
	value := l.viper.GetString(s.name())
	o := origin{Key: s.name(), Value: redact(value), From: "default"}
	from, given := l.from[s.name()]
	if given {
		o.From = from
	}
	l.origins = append(l.origins, o)
	if broken := l.ini.broken[s.name()]; broken != nil && strings.HasPrefix(from, l.path+":") {
		l.fail(&configError{origin: o, Want: s.want, Err: broken})
		return
	}
	if s.mandatory && strings.TrimSpace(value) == "" {
		if !given && l.unread {
			return // it may be in what could not be read
		}
		if !given {
			o.From = ""
		}
		l.fail(&configError{origin: o, Want: s.want})
		return
	}
	if err := s.store(c, value); err != nil {
		if errors.Is(err, errNotWanted) {
			err = nil
		}
		l.fail(&configError{origin: o, Want: s.want, Err: err})
	}
}

// fail records problems.
func (l *loader) fail(errs ...error) { l.problems = append(l.problems, errs...) }
