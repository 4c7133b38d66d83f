package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"lpbuildd/buildd/verdict"
)

// policy keeps services of the container from being started by the packages
// that builds install (spec: backends.md section 8).
const policy = `#!/bin/sh
# Starts no services but those that builds need.
while :; do
    case "$1" in
    -*) shift ;;
    systemd-udevd | systemd-udevd.service | udev | udev.service | snapd | snapd.*) exit 0 ;;
    *) break ;;
    esac
done
echo "Not running services in chroot."
exit 101
`

// fallbackHosts is the beginning of /etc/hosts in containers that have none.
const fallbackHosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
	"fe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"

// prepare sets up files of the container before it starts, through the
// file API, which works without a process in it.
func (c guestFiles) prepare(ctx context.Context, host machine) error {
	hostname, fqdn, err := host.hostNames(ctx)
	if err != nil {
		return err
	}
	resolvers, err := c.resolvers()
	if err != nil {
		return err
	}
	err = c.withFiles(ctx, func(s *session) error {
		return s.prepare(ctx, hostname, fqdn, resolvers)
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var fault *verdict.HostFault
	if err != nil && !errors.As(err, &fault) {
		return fmt.Errorf("cannot set up files of the container: %w", err)
	}
	return err
}

func (s *session) prepare(ctx context.Context, hostname, fqdn, resolvers string) error {
	hosts, err := s.read("/etc/hosts")
	if err != nil {
		return err
	}
	const dropIns = "/etc/systemd/system/snapd.service.d"
	for _, dir := range []string{"/usr/local/sbin", dropIns} {
		if err := s.makeDir(dir); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	files := []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"/etc/hosts", hostsFile(string(hosts), hostname, fqdn), 0o644},
		{"/etc/hostname", hostname + "\n", 0o644},
		{"/etc/resolv.conf", resolvers, 0o644},
		{"/usr/local/sbin/policy-rc.d", policy, 0o755},
		{dropIns + "/no-cdn.conf", "[Service]\nEnvironment=SNAPPY_STORE_NO_CDN=1\n", 0o644},
		{"/etc/init/mounted-dev.override", "", 0o644},
	}
	if upstart, err := s.read("/etc/init/mounted-dev.conf"); err != nil {
		return err
	} else if upstart != nil {
		files[len(files)-1].text = upstartOverride(string(upstart))
	}
	for _, f := range files {
		if f.text == "" {
			continue
		}
		if err := s.writeText(ctx, f.name, f.text, f.mode); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return s.link("/dev/null", "/etc/systemd/system/snapd.refresh.timer")
}

// hostsFile is /etc/hosts with the name of the builder.
func hostsFile(old, hostname, fqdn string) string {
	if old == "" {
		old = fallbackHosts
	}
	if !strings.HasSuffix(old, "\n") {
		old += "\n"
	}
	return old + "\n127.0.1.1\t" + fqdn + " " + hostname + "\n"
}

// upstartOverride is the script of Upstart's job that makes devices, without
// that, or "" if it has no script.
func upstartOverride(job string) string {
	makedev := regexp.MustCompile(`^(\s*)(.*MAKEDEV)`)
	var out strings.Builder
	inside := false
	for line := range strings.Lines(job) {
		word := strings.TrimSpace(line)
		inside = inside || word == "script"
		if inside {
			out.WriteString(makedev.ReplaceAllString(line, "${1}: # ${2}"))
		}
		if inside && word == "end script" {
			return out.String()
		}
	}
	return out.String()
}

const (
	stubResolver   = "/run/systemd/resolve/stub-resolv.conf"
	directResolver = "/run/systemd/resolve/resolv.conf"
)

// resolvers is the container's resolv.conf. On another machine, those of this one
// mean nothing.
func (c guestFiles) resolvers() (string, error) {
	if c.cfg.Remote != "" {
		return resolvConf("", c.cfg.HostAddress), nil
	}
	return hostResolvers(c.cfg.HostAddress)
}

// hostResolvers is the host's resolv.conf for use in the container.
func hostResolvers(bridge netip.Prefix) (string, error) {
	name := "/etc/resolv.conf"
	if real, err := filepath.EvalSymlinks(name); err == nil && real == stubResolver {
		if st, err := os.Stat(directResolver); err == nil && st.Mode().IsRegular() {
			name = directResolver
		}
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return resolvConf("", bridge), nil
	}
	if err != nil {
		return "", verdict.MarkHostFault(fmt.Errorf("cannot read the host's resolvers: %w", err))
	}
	return resolvConf(string(data), bridge), nil
}

// resolvConf is a resolv.conf without the resolvers that only the host can
// reach. If none is left, the one at the host's end of the bridge is named; "" is
// the result if there is no bridge either.
func resolvConf(text string, bridge netip.Prefix) string {
	var out strings.Builder
	found := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "nameserver" {
			if addr, err := netip.ParseAddr(fields[1]); err == nil && addr.IsLoopback() {
				continue
			}
			found = true
		}
		out.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	switch {
	case found:
	case bridge.IsValid():
		out.WriteString("nameserver " + bridge.Addr().String() + "\n")
	default:
		return ""
	}
	return out.String()
}
