package build

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"

	"lpbuildd/backends"
	"lpbuildd/buildd/proxy"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// Where apt in the target finds the way to private archives.
const (
	archivesConf = "/etc/apt/apt.conf.d/98lpbuildd-archives"
	archivesAuth = "/etc/apt/auth.conf.d/lpbuildd.conf"
	// oldArchivesAuth is for an apt that has no such folder, from before 2019.
	oldArchivesAuth = "/etc/apt/lpbuildd-auth.conf"
)

// hideArchives takes the credentials out of the archives, so that the target
// only ever sees URLs without them.
func (n *network) hideArchives(c *builders.Common) {
	c.Archives, n.credentials = proxy.Split(c.Archives)
}

// openArchives lets apt in the target reach private archives: over http by a
// local proxy that adds the credentials, which so never enter the target; over
// https, where no proxy can do that, by a file that only root there can read, or
// apt's own user.
func (n *network) openArchives(ctx context.Context, sources []string) error {
	upstream, err := aptProxy(n.settings.Site.AptProxy)
	if err != nil {
		return err
	}
	listen, allow, err := n.archivesAddress(ctx)
	if err != nil {
		return err
	}
	archives, err := proxy.StartArchives(context.WithoutCancel(ctx), proxy.ArchivesConfig{
		Credentials: n.credentials, Sources: sources, Upstream: upstream, Listen: listen, Allow: allow, Log: n.voice.log,
	})
	if err != nil {
		return &verdict.HostFault{Err: err, Advice: "Free the port after builder.proxyport on the builder, or change it."}
	}
	n.archives = archives
	conf := archives.AptConf()
	if rest := slices.DeleteFunc(slices.Clone(n.credentials), proxy.Credential.Injectable); len(rest) > 0 {
		setting, err := n.authorizeApt(ctx, rest)
		if err != nil {
			return err
		}
		conf += setting
	}
	return backends.WriteFile(ctx, n.target, archivesConf, []byte(conf), 0o644)
}

// authorizeApt gives credentials to apt, and returns the setting with which it
// finds them. An apt without a folder for such files knows only a single one, and
// reads it as its own user where it has one.
func (n *network) authorizeApt(ctx context.Context, creds []proxy.Credential) (setting string, err error) {
	auth, err := proxy.AuthConf(creds)
	if err != nil {
		return "", fmt.Errorf("archives: %w", err)
	}
	modern, err := backends.IsDir(ctx, n.target, path.Dir(archivesAuth))
	if err != nil {
		return "", err
	}
	if modern {
		return "", backends.WriteFile(ctx, n.target, archivesAuth, []byte(auth), 0o600)
	}
	if err := backends.WriteFile(ctx, n.target, oldArchivesAuth, []byte(auth), 0o600); err != nil {
		return "", err
	}
	own := backends.Command{Argv: []string{"sh", "-c", "! id -u _apt >/dev/null 2>&1 || chown _apt " + oldArchivesAuth}}
	return fmt.Sprintf("Dir::Etc::netrc \"%s\";\n", oldArchivesAuth), n.target.Run(ctx, own)
}

// archivesAddress is where the proxy for archives listens, and who may use it.
func (n *network) archivesAddress(ctx context.Context) (listen netip.AddrPort, allow []netip.Prefix, err error) {
	if c, ok := n.target.(*container); ok {
		address, allow, err := c.addresses(ctx)
		return netip.AddrPortFrom(address, archivesPort(n.settings)), allow, err
	}
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return netip.AddrPortFrom(loopback, 0), []netip.Prefix{netip.PrefixFrom(loopback, loopback.BitLen())}, nil
}

// closeArchives ends the proxy for archives.
func (n *network) closeArchives(ctx context.Context) {
	if n.archives == nil {
		return
	}
	if err := n.progress.during(ctx, PartArchives, closeLimit, n.archives.Close); err != nil {
		n.voice.say("Cannot close the proxy for archives: %v", err)
		n.voice.daemon.Warn("Cannot close the proxy for archives", "error", err)
	}
}

// aptProxy is the site's own proxy for apt, nil without one.
func aptProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	return proxy.ParseURL(text)
}
