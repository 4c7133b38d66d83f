package main

import (
	"math"
	"time"
)

// setting is one key of the configuration.
type setting struct {
	section, key string
	// value is the default.
	value string
	// mandatory keys must have a value that is not blank.
	mandatory bool
	// want says what is expected, for error messages.
	want string
	// store checks a value and puts it into its field.
	store func(c *config, value string) error
}

// name is "section.key".
func (s setting) name() string { return s.section + "." + s.key }

// settings is the table of all keys, in the order in which they are shown
// (spec: packaging.md section 2 for those of [builder], [proxy] and
// [translationtemplatesmanager]).
func settings() []setting {
	const (
		cpus      = "a number of processors, e.g. 2 or 1.5; 0 for none"
		factor    = "a factor of at least 1, e.g. 1.5"
		sizes     = "a size in bytes, or with K, M, G or T, e.g. 4G; 0 for none"
		durations = "a duration such as 90s, 2h30m or 3d; 0 for none"
		link      = "an http:// or https:// URL, or nothing"
	)
	return []setting{
		{"builder", "architecturetag", "", true, "the architecture of this builder, e.g. amd64", text(archTag, func(c *config) *string { return &c.ArchitectureTag })},
		{"builder", "filecache", "", true, "an existing folder for the file cache", folder(func(c *config) *string { return &c.FileCache })},
		{"builder", "bindhost", "", false, "the host name or address to listen on, or nothing for all addresses", host(func(c *config) *string { return &c.BindHost })},
		{"builder", "bindport", "", true, "a port number from 1 to 65535, or 0 for any free port", number(math.MaxUint16, func(c *config) *int { return &c.BindPort })},
		{"builder", "sharepath", "/usr/share/launchpad-buildd", true, "the folder of the shipped files", text(anyText, func(c *config) *string { return &c.SharePath })},
		{"builder", "proxyport", "8222", true, "a port number from 1 to 65534, because the one after it is used too", proxyPort},
		{"builder", "ntphost", "", false, "the host name or address of a time server, or nothing", host(func(c *config) *string { return &c.NTPHost })},
		{"builder", "user", "buildd", true, "the name of a user", text(userName, func(c *config) *string { return &c.User })},
		{"translationtemplatesmanager", "resultarchive", "translation-templates.tar.gz", false, "a file name", text(fileName, func(c *config) *string { return &c.TranslationResultArchive })},
		{"proxy", "apt", "", false, link, address(func(c *config) *string { return &c.AptProxy })},
		{"proxy", "snapstore", "", false, link, address(func(c *config) *string { return &c.SnapStore })},
		{"proxy", "clamavdatabase", "", false, link, address(func(c *config) *string { return &c.ClamAVDatabase })},
		{"cache", "maxsize", "0", true, sizes, size(func(c *config) *int64 { return &c.CacheMaxSize })},
		{"cache", "maxage", "0", true, durations, span(math.MaxInt64, func(c *config) *time.Duration { return &c.CacheMaxAge })},
		{"cache", "minfree", "1G", true, sizes, size(func(c *config) *int64 { return &c.CacheMinFree })},
		{"cache", "roots", "2", true, "how many unpacked base images to keep, 0 to 1000", number(1000, func(c *config) *int { return &c.CacheRoots })},
		{"chroot", "overlay", "auto", true, "auto or never", text(overlayMode, func(c *config) *string { return &c.ChrootOverlay })},
		{"chroot", "tmpfs", "0", true, sizes, size(func(c *config) *int64 { return &c.ChrootTmpfs })},
		{"backend", "instance", "", false, "a name of letters, digits and dashes", text(instanceName, func(c *config) *string { return &c.Instance })},
		{"backend", "container", "auto", true, "auto, lxd or incus", text(engineName, func(c *config) *string { return &c.Container })},
		{"backend", "socket", "", false, "the path of the engine's socket, or nothing", text(optional, func(c *config) *string { return &c.ContainerSocket })},
		{"backend", "pool", "", false, "the name of a storage pool, or nothing", text(optional, func(c *config) *string { return &c.ContainerPool })},
		{"backend", "project", "", false, "the name of a project, or nothing", text(optional, func(c *config) *string { return &c.ContainerProject })},
		{"backend", "remote", "", false, link, address(func(c *config) *string { return &c.ContainerRemote })},
		{"backend", "clientcert", "", false, "the path of a PEM file, or nothing", text(optional, func(c *config) *string { return &c.ContainerCert })},
		{"backend", "clientkey", "", false, "the path of a PEM file, or nothing", text(optional, func(c *config) *string { return &c.ContainerKey })},
		{"backend", "servercert", "", false, "the path of a PEM file, or nothing", text(optional, func(c *config) *string { return &c.ContainerServerCert })},
		{"backend", "subnet", "", false, "an IPv4 network of at least 4 addresses, e.g. 10.10.10.0/24, or nothing", subnet},
		{"backend", "firewall", "auto", true, "auto, iptables or nftables", text(firewallName, func(c *config) *string { return &c.ContainerFirewall })},
		{"backend", "images", "4", true, "how many imported images to keep, 0 to 1000", number(1000, func(c *config) *int { return &c.ContainerImages })},
		{"backend", "imagesage", "0", true, durations, span(math.MaxInt64, func(c *config) *time.Duration { return &c.ContainerImagesAge })},
		{"limits", "wall", "0", true, durations, span(math.MaxInt64, func(c *config) *time.Duration { return &c.WallLimit })},
		{"limits", "silence", "0", true, durations, span(math.MaxInt64, func(c *config) *time.Duration { return &c.SilenceLimit })},
		{"limits", "log", "4G", true, sizes, size(func(c *config) *int64 { return &c.LogLimit })},
		{"limits", "results", "64G", true, sizes, size(func(c *config) *int64 { return &c.ResultLimit })},
		{"limits", "cpus", "0", true, cpus, decimal(0, func(c *config) *float64 { return &c.CPULimit })},
		{"limits", "memory", "0", true, sizes, size(func(c *config) *int64 { return &c.MemoryLimit })},
		{"limits", "processes", "16384", true, "how many processes a build may have at once, 100 to 4194304; 0 for any number", processLimit},
		{"limits", "cpu_overcommit", "1", true, factor, decimal(1, func(c *config) *float64 { return &c.CPUOvercommit })},
		{"limits", "memory_overcommit", "1", true, factor, decimal(1, func(c *config) *float64 { return &c.MemoryOvercommit })},
		{"limits", "reserved_cpus", "0", true, cpus, decimal(0, func(c *config) *float64 { return &c.ReservedCPUs })},
		{"limits", "reserved_memory", "0", true, sizes, size(func(c *config) *int64 { return &c.ReservedMemory })},
		{"limits", "abort", "120s", true, "a duration from 1s to 170s, because managers wait for 180s", abortLimit},
		{"keep", "failed", "0", true, "a duration such as 90m or 1d, 7d at most; 0 for not at all", span(longestKeep, func(c *config) *time.Duration { return &c.KeepFailed })},
		{"keep", "builds", "1", true, "how many failed builds are kept at most, 1 to 100", keepBuilds},
		{"log", "level", "info", true, "debug, info, warn or error", logLevel},
		{"log", "format", "text", true, "text or json", text(logFormat, func(c *config) *string { return &c.LogFormat })},
		{"log", "file", "", false, "the absolute path of a file in an existing folder, or nothing", logFile},
		{"access", "allow", "", false, "addresses or networks separated by commas or blanks, e.g. 10.0.0.0/8, or nothing for everyone", allow},
	}
}

// settingNames are the names of all keys.
func settingNames() []string {
	var names []string
	for _, s := range settings() {
		names = append(names, s.name())
	}
	return names
}

// isSetting tells whether a key exists.
func isSetting(name string) bool {
	for _, s := range settings() {
		if s.name() == name {
			return true
		}
	}
	return false
}
