package config

import (
	"math"
	"time"
)

// Setting is one key of the configuration.
type Setting struct {
	Section, Key string
	// Default is the value where nobody gives one.
	Default string
	// mandatory keys must have a value that is not blank.
	mandatory bool
	// Want says what is expected, for error messages and the manual.
	Want string
	// store checks a value and puts it into its field.
	store func(c *Config, value string) error
}

// Name is "section.key".
func (s Setting) Name() string { return s.Section + "." + s.Key }

// wantURL is what is expected of the keys that are URLs.
const wantURL = "an http:// or https:// URL, or nothing"

// Settings is the table of all keys, in the order in which they are shown
// (spec: packaging.md section 2 for those of [builder], [proxy] and
// [translationtemplatesmanager]).
func Settings() []Setting {
	const (
		cpus      = "a number of processors, e.g. 2 or 1.5; 0 for none"
		factor    = "a factor of at least 1, e.g. 1.5"
		sizes     = "a size in bytes, or with K, M, G or T, e.g. 4G; 0 for none"
		durations = "a duration such as 90s, 2h30m or 3d; 0 for none"
	)
	return []Setting{
		{"builder", "architecturetag", "", true, "the architecture of this builder, e.g. amd64", matching(archTag, func(c *Config) *string { return &c.ArchitectureTag })},
		{"builder", "filecache", "", true, "an existing folder for the file cache", folder(func(c *Config) *string { return &c.FileCache })},
		{"builder", "bindhost", "", false, "the host name or address to listen on, or nothing for all addresses", host(func(c *Config) *string { return &c.BindHost })},
		{"builder", "bindport", "", true, "a port number from 1 to 65535, or 0 for any free port", number(math.MaxUint16, func(c *Config) *int { return &c.BindPort })},
		{"builder", "sharepath", "/usr/share/launchpad-buildd", true, "the folder of the shipped files", matching(anyText, func(c *Config) *string { return &c.SharePath })},
		{"builder", "proxyport", "8222", true, "a port number from 1 to 65534, because the one after it is used too", proxyPort},
		{"builder", "ntphost", "", false, "the host name or address of a time server, or nothing", host(func(c *Config) *string { return &c.Site.NTPHost })},
		{"builder", "user", "buildd", true, "the name of a user", matching(userName, func(c *Config) *string { return &c.User })},
		{"translationtemplatesmanager", "resultarchive", "translation-templates.tar.gz", false, "a file name", matching(fileName, func(c *Config) *string { return &c.Site.TemplatesArchive })},
		{"proxy", "apt", "", false, wantURL, address(func(c *Config) *string { return &c.Site.AptProxy })},
		{"proxy", "snapstore", "", false, wantURL, address(func(c *Config) *string { return &c.Site.SnapStore })},
		{"proxy", "clamavdatabase", "", false, wantURL, address(func(c *Config) *string { return &c.Site.ClamAVDatabase })},
		{"cache", "maxsize", "0", true, sizes, size(func(c *Config) *int64 { return &c.CacheMaxSize })},
		{"cache", "maxage", "0", true, durations, span(math.MaxInt64, func(c *Config) *time.Duration { return &c.CacheMaxAge })},
		{"cache", "minfree", "1G", true, sizes, size(func(c *Config) *int64 { return &c.CacheMinFree })},
		{"cache", "roots", "2", true, "how many unpacked base images to keep, 0 to 1000", number(1000, func(c *Config) *int { return &c.CacheRoots })},
		{"chroot", "overlay", "auto", true, "auto or never", matching(overlayMode, func(c *Config) *string { return &c.ChrootOverlay })},
		{"chroot", "tmpfs", "0", true, sizes, size(func(c *Config) *int64 { return &c.ChrootTmpfs })},
		{"backend", "instance", "", false, "a name of letters, digits and dashes", matching(instanceName, func(c *Config) *string { return &c.Container.Instance })},
		{"backend", "container", "auto", true, "auto, lxd or incus", matching(engineName, func(c *Config) *string { return &c.Container.Engine })},
		{"backend", "socket", "", false, "the path of the engine's socket, or nothing", matching(optional, func(c *Config) *string { return &c.Container.Socket })},
		{"backend", "pool", "", false, "the name of a storage pool, or nothing", matching(optional, func(c *Config) *string { return &c.Container.Pool })},
		{"backend", "project", "", false, "the name of a project, or nothing", matching(optional, func(c *Config) *string { return &c.Container.Project })},
		{"backend", "remote", "", false, wantURL, address(func(c *Config) *string { return &c.Container.Remote })},
		{"backend", "clientcert", "", false, "the path of a PEM file, or nothing", matching(optional, func(c *Config) *string { return &c.Container.ClientCert })},
		{"backend", "clientkey", "", false, "the path of a PEM file, or nothing", matching(optional, func(c *Config) *string { return &c.Container.ClientKey })},
		{"backend", "servercert", "", false, "the path of a PEM file, or nothing", matching(optional, func(c *Config) *string { return &c.Container.ServerCert })},
		{"backend", "subnet", "", false, "an IPv4 network of at least 4 addresses, e.g. 10.10.10.0/24, or nothing", subnet},
		{"backend", "firewall", "auto", true, "auto, iptables or nftables", matching(firewallName, func(c *Config) *string { return &c.Container.Firewall })},
		{"backend", "images", "4", true, "how many imported images to keep, 0 to 1000", number(1000, func(c *Config) *int { return &c.Container.MaxImages })},
		{"backend", "imagesage", "0", true, durations, span(math.MaxInt64, func(c *Config) *time.Duration { return &c.Container.MaxImageAge })},
		{"limits", "wall", "0", true, durations, span(math.MaxInt64, func(c *Config) *time.Duration { return &c.WallLimit })},
		{"limits", "silence", "0", true, durations, span(math.MaxInt64, func(c *Config) *time.Duration { return &c.SilenceLimit })},
		{"limits", "log", "4G", true, sizes, size(func(c *Config) *int64 { return &c.LogLimit })},
		{"limits", "results", "64G", true, sizes, size(func(c *Config) *int64 { return &c.ResultLimit })},
		{"limits", "cpus", "0", true, cpus, decimal(0, func(c *Config) *float64 { return &c.CPULimit })},
		{"limits", "memory", "0", true, sizes, size(func(c *Config) *int64 { return &c.MemoryLimit })},
		{"limits", "processes", "16384", true, "how many processes a build may have at once, 100 to 4194304; 0 for any number", processLimit},
		{"limits", "cpu_overcommit", "1", true, factor, decimal(1, func(c *Config) *float64 { return &c.CPUOvercommit })},
		{"limits", "memory_overcommit", "1", true, factor, decimal(1, func(c *Config) *float64 { return &c.MemoryOvercommit })},
		{"limits", "reserved_cpus", "0", true, cpus, decimal(0, func(c *Config) *float64 { return &c.ReservedCPUs })},
		{"limits", "reserved_memory", "0", true, sizes, size(func(c *Config) *int64 { return &c.ReservedMemory })},
		{"limits", "abort", "120s", true, "a duration from 1s to 170s, because managers wait for 180s", abortLimit},
		{"keep", "failed", "0", true, "a duration such as 90m or 1d, 7d at most; 0 for not at all", span(longestKeep, func(c *Config) *time.Duration { return &c.KeepFailed })},
		{"keep", "builds", "1", true, "how many failed builds are kept at most, 1 to 100", keepBuilds},
		{"log", "level", "info", true, "debug, info, warn or error", logLevel},
		{"log", "format", "text", true, "text or json", matching(logFormat, func(c *Config) *string { return &c.LogFormat })},
		{"log", "file", "", false, "the absolute path of a file in an existing folder, or nothing", logFile},
		{"access", "allow", "", false, "addresses or networks separated by commas or blanks, e.g. 10.0.0.0/8, or nothing for everyone", networks},
	}
}

// settingNames are the names of all keys.
func settingNames() []string {
	var names []string
	for _, s := range Settings() {
		names = append(names, s.Name())
	}
	return names
}

// isSetting tells whether a key exists.
func isSetting(name string) bool {
	for _, s := range Settings() {
		if s.Name() == name {
			return true
		}
	}
	return false
}
