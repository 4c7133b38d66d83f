package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Forms of textual values. The ones of keys that may be empty accept "".
const (
	anyText     = `(?s).+`
	archTag     = `[A-Za-z0-9][A-Za-z0-9+._-]*`
	userName    = `[A-Za-z_][A-Za-z0-9_.-]*\$?`
	fileName    = `|[A-Za-z0-9_][A-Za-z0-9+._~-]*`
	hostName    = `|[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?`
	overlayMode = `auto|never`
	logFormat   = `text|json`
	optional    = `(?s).*`
	// instanceName can be part of the names of containers.
	instanceName = `|[a-z0-9]([a-z0-9-]*[a-z0-9])?`
	engineName   = `auto|lxd|incus`
	firewallName = `auto|iptables|nftables`
)

// errNotWanted reports a value about which there is no more to say than what
// is wanted instead.
var errNotWanted = errors.New("not what is wanted")

// matching stores a value of a certain form.
func matching(form string, field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if !regexp.MustCompile(`^(?:` + form + `)$`).MatchString(value) {
			return errNotWanted
		}
		*field(c) = value
		return nil
	}
}

// host stores the name or address of a host.
func host(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if a, err := netip.ParseAddr(strings.Trim(value, "[]")); err == nil {
			*field(c) = a.String()
			return nil
		}
		return matching(hostName, field)(c, value)
	}
}

// folder stores the path of an existing folder.
func folder(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		info, err := os.Stat(value)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return errors.New("it is not a folder")
		}
		*field(c) = value
		return nil
	}
}

// smallestSubnet has room for both ends of the link to a container.
const smallestSubnet = 30

// subnet stores the network of containers.
func subnet(c *Config, value string) error {
	if value == "" {
		return nil
	}
	network, err := netip.ParsePrefix(value)
	if err != nil {
		return err
	}
	if !network.Addr().Is4() || network.Bits() > smallestSubnet {
		return errNotWanted
	}
	c.Container.Subnet = network.Masked()
	return nil
}

// number stores a number from 0 to limit.
func number(limit int, field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > limit {
			return errNotWanted
		}
		*field(c) = n
		return nil
	}
}

// proxyPort stores the port of the local proxy; the next one is that of the proxy
// for private archives.
func proxyPort(c *Config, value string) error {
	err := number(math.MaxUint16-1, func(c *Config) *int { return &c.ProxyPort })(c, value)
	if err != nil || c.ProxyPort < 1 {
		return errNotWanted
	}
	return nil
}

// decimal stores a number from least to a million, with decimals.
func decimal(least float64, field func(*Config) *float64) func(*Config, string) error {
	return func(c *Config, value string) error {
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || !(n >= least && n <= 1e6) { // not a number is neither
			return errNotWanted
		}
		*field(c) = n
		return nil
	}
}

// address stores a URL.
func address(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		u, err := url.Parse(value)
		valid := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
		if value != "" && !valid {
			return errNotWanted
		}
		*field(c) = value
		return nil
	}
}

// size stores a size. K, M, G and T are powers of 1024.
func size(field func(*Config) *int64) func(*Config, string) error {
	return func(c *Config, value string) error {
		digits := strings.TrimRight(value, "kKmMgGtT")
		suffix := strings.ToUpper(value[len(digits):])
		shift := 10 * (strings.Index("KMGT", suffix) + 1)
		if suffix == "" {
			shift = 0
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || len(suffix) > 1 || n > math.MaxInt64>>shift {
			return errNotWanted
		}
		*field(c) = n << shift
		return nil
	}
}

// span stores a duration of 0 to limit.
func span(limit time.Duration, field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, value string) error {
		d, err := parseDuration(value)
		if err != nil || d < 0 || d > limit {
			return errNotWanted
		}
		*field(c) = d
		return nil
	}
}

// parseDuration reads Go's durations, which may begin with days.
func parseDuration(value string) (time.Duration, error) {
	const day = 24 * time.Hour
	days, rest, ok := strings.Cut(value, "d")
	if !ok {
		return time.ParseDuration(value)
	}
	n, err := strconv.ParseUint(days, 10, 31)
	if err != nil || n > uint64(math.MaxInt64/day) {
		return 0, fmt.Errorf("cannot read %q as days", days)
	}
	if rest == "" {
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, err
	}
	return time.Duration(n)*day + d, nil
}

// abortLimit stores how long an abort may take; less than a second or more
// than the manager's patience make no sense (spec: client.md section 6).
func abortLimit(c *Config, value string) error {
	err := span(170*time.Second, func(c *Config) *time.Duration { return &c.AbortLimit })(c, value)
	if err != nil || c.AbortLimit < time.Second {
		return errNotWanted
	}
	return nil
}

// longestKeep is how long a failed build may be kept: what nobody has looked at
// by then only takes up space.
const longestKeep = 7 * 24 * time.Hour

// processLimit stores how many processes a build may have: enough for any, or any
// number.
func processLimit(c *Config, value string) error {
	const least, most = 100, 4 << 20 // the latter is what the kernel can count
	err := number(most, func(c *Config) *int { return &c.ProcessLimit })(c, value)
	if err != nil || c.ProcessLimit > 0 && c.ProcessLimit < least {
		return errNotWanted
	}
	return nil
}

// keepBuilds stores how many failed builds are kept.
func keepBuilds(c *Config, value string) error {
	err := number(100, func(c *Config) *int { return &c.KeepBuilds })(c, value)
	if err != nil || c.KeepBuilds < 1 {
		return errNotWanted
	}
	return nil
}

// logLevel stores a level of log/slog by its plain name.
func logLevel(c *Config, value string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[strings.ToLower(value)]
	if !ok {
		return errNotWanted
	}
	c.LogLevel = level
	return nil
}

// logFile stores the path of a file that may not exist yet.
func logFile(c *Config, value string) error {
	if value == "" {
		return nil
	}
	if !filepath.IsAbs(value) {
		return errNotWanted
	}
	info, err := os.Stat(value)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(value))
	}
	if err != nil {
		return err
	}
	if info != nil && !info.Mode().IsRegular() {
		return errors.New("it is not a file")
	}
	c.LogFile = value
	return nil
}

// networks stores a list of networks; a plain address is a network of one.
func networks(c *Config, value string) error {
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || isSpace(r) })
	var all []netip.Prefix
	for _, word := range words {
		prefix, err := parseNetwork(word)
		if err != nil {
			return fmt.Errorf("%q is none", word)
		}
		all = append(all, prefix)
	}
	c.Allow = all
	return nil
}

// parseNetwork reads an address or a network. IPv4 in IPv6 form becomes IPv4.
func parseNetwork(word string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
