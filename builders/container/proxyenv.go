package container

import (
	"context"
	"fmt"
	"strings"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
)

// gitProxyPath is where the target has the program by which git reaches
// git:// repositories.
const gitProxyPath = "/usr/local/bin/lpbuildd-git-proxy"

// gitProxy connects its input and output to the host and port of its arguments
// through the proxy in http_proxy (spec: proxy.md section 4). It needs no more
// than a POSIX shell and socat.
const gitProxy = `#!/bin/sh
# Used by git as GIT_PROXY_COMMAND: connects to host $1, port $2 through $http_proxy.
set -eu
proxy=${http_proxy#*://}
proxy=${proxy%%/*}
options=
case $proxy in
*@*)
    options=,proxyauth=${proxy%@*}
    proxy=${proxy##*@}
    ;;
esac
host=${proxy%:*}
case ${proxy##*]} in
*:*) options=,proxyport=${proxy##*:}$options ;;
*) host=$proxy ;;
esac
exec socat STDIO "PROXY:$host:$1:$2$options"
`

// subversionServers is the file in which Subversion looks for a proxy: it reads
// no environment.
const subversionServers = "/root/.subversion/servers"

// ProxyEnvironment makes programs use the build's proxy (spec: proxy.md section
// 3), except for what is on this machine. It is nil without a proxy.
func ProxyEnvironment(env builders.Env, p builders.ProxyArgs) []string {
	if env.Proxy == nil {
		return nil
	}
	direct := "localhost,127.0.0.1,::1," + env.Proxy.Host
	environment := []string{
		"http_proxy=" + env.Proxy.URL,
		"https_proxy=" + env.Proxy.URL,
		"HTTP_PROXY=" + env.Proxy.URL,
		"HTTPS_PROXY=" + env.Proxy.URL,
		"no_proxy=" + direct,
		"NO_PROXY=" + direct,
		"GIT_PROXY_COMMAND=" + gitProxyPath,
		"SNAPPY_STORE_NO_CDN=1",
	}
	if p.UseFetchService {
		environment = append(environment,
			"CARGO_HTTP_CAINFO="+fetchServiceCA, "REQUESTS_CA_BUNDLE="+fetchServiceCA, "GOPROXY=direct")
	}
	return environment
}

// ProxyPackages are the packages that a proxy needs in the target.
func ProxyPackages(env builders.Env) []string {
	if env.Proxy == nil {
		return nil
	}
	return []string{"python3", "socat"}
}

// InstallGitProxy puts the git proxy program into the target, with a proxy.
func InstallGitProxy(ctx context.Context, env builders.Env) error {
	if env.Proxy == nil {
		return nil
	}
	if err := env.Target.CopyIn(ctx, strings.NewReader(gitProxy), gitProxyPath, 0o755); err != nil {
		return fmt.Errorf("cannot write %s in the target: %w", gitProxyPath, err)
	}
	return nil
}

// ConfigureSubversion tells Subversion about the proxy, with a proxy (spec:
// proxy.md section 5).
func ConfigureSubversion(ctx context.Context, env builders.Env) error {
	if env.Proxy == nil {
		return nil
	}
	if err := env.InTarget(ctx, "mkdir", "-p", "/root/.subversion"); err != nil {
		return err
	}
	return builders.WriteText(ctx, env, subversionServers,
		fmt.Sprintf("[global]\nhttp-proxy-host = %s\nhttp-proxy-port = %s\n", env.Proxy.Host, env.Proxy.Port))
}

// DisableProxy revokes the proxy's token while the build goes on, and removes
// the settings that were written into the target (spec: proxy.md section 9,
// weakness J8). The local proxy keeps running, so that whoever still uses it is
// refused at once.
func DisableProxy(ctx context.Context, env builders.Env, p builders.ProxyArgs) error {
	env.RevokeProxy(ctx)
	files := []string{subversionServers}
	if p.UseFetchService {
		files = append(files, apt.ProxySettings)
		if err := env.InTarget(ctx, "snap", "unset", "system", "proxy.http", "proxy.https"); err != nil {
			return err
		}
	}
	return env.InTarget(ctx, append([]string{"rm", "-f"}, files...)...)
}
