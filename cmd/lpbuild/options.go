package main

import (
	"github.com/spf13/cobra"
)

// runOptions are the flags of run.
type runOptions struct {
	id, image, imageType, address, folder  string
	series, suite, component, purpose      string
	arch, variant                          string
	archives, keys, args                   []string
	archIndep, debugSymbols, private, keep bool

	argsFile, name, gitPath         string
	channels, buildArgs, targetArch []string
	buildFile, buildPath            string
	sourceTarball                   bool

	proxy, revocation, certificate string
	disableProxy                   bool

	// changed tells whether the user gave a flag.
	changed func(flag string) bool
}

// addFlags adds the flags of run.
func (o *runOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	o.changed = flags.Changed
	flags.StringVar(&o.image, "image", "", "base image: a `tarball` with a folder chroot-autobuild, or a container image")
	flags.StringVar(&o.imageType, "image-type", "", "chroot or lxd: `type` of the image (default: what it looks like)")
	flags.StringVar(&o.series, "series", "", "`name` of the series (default: from the suite)")
	flags.StringVar(&o.suite, "suite", "", "`name` of the suite (default: the series, or the suite of the first --archive)")
	flags.StringVar(&o.arch, "arch", "", "`architecture` (default: the builder's)")
	flags.StringVar(&o.variant, "variant", "", "`variant` of the architecture to build for, e.g. amd64v3 (default: none)")
	flags.StringArrayVar(&o.archives, "archive", nil, "`line` for sources.list; may be repeated (default: those of the image)")
	flags.StringArrayVar(&o.keys, "key", nil, "`file` with public keys for apt; may be repeated")
	flags.BoolVar(&o.private, "private", false, "the archive and the source are private: remove credentials from the log")
	flags.StringVar(&o.argsFile, "args", "", "`file` with arguments of the build, a JSON object; flags win over it")
	flags.StringVar(&o.id, "id", newBuildID(), "`name` of the build")
	flags.Lookup("id").DefValue = "LOCAL-, and something random"
	flags.StringVarP(&o.folder, "output", "o", ".", "`folder` for the results")
	flags.BoolVar(&o.keep, "keep", false, "do not clean the builder afterwards")
	addArgFlag(cmd, &o.args)
	addServeFlag(cmd, &o.address)
	o.addPackageFlags(cmd)
	o.addRepositoryFlags(cmd)
	_ = cmd.MarkFlagRequired("image") // it exists
}

// addPackageFlags adds the flags for Debian source packages only.
func (o *runOptions) addPackageFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.component, "component", "main", "binarypackage: `component` of the archive")
	flags.StringVar(&o.purpose, "archive-purpose", "PRIMARY", "binarypackage: `purpose` of the archive: PRIMARY, PPA, ...")
	flags.BoolVarP(&o.archIndep, "arch-indep", "A", false, "binarypackage: also build the architecture-independent packages (default: if the source has no others)")
	flags.BoolVar(&o.debugSymbols, "debug-symbols", false, "binarypackage: also build packages with debugging symbols")
}

// addRepositoryFlags adds the flags for builds from a repository.
func (o *runOptions) addRepositoryFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "`name` of what is built from a repository (default: that in snapcraft.yaml, or the folder's)")
	flags.StringVar(&o.gitPath, "git-path", "", "`branch`, tag or commit of the repository (default: what is checked out)")
	flags.StringArrayVar(&o.channels, "channel", nil, "not oci: `snap=channel` to install for the build; may be repeated")
	flags.StringArrayVar(&o.targetArch, "target-arch", nil, "snap: `architecture` to build for; may be repeated")
	flags.BoolVar(&o.sourceTarball, "source-tarball", false, "snap: also return the source as a tarball")
	flags.StringArrayVar(&o.buildArgs, "build-arg", nil, "oci: `KEY=VALUE` for the Dockerfile; may be repeated")
	flags.StringVar(&o.buildFile, "build-file", "", "oci: `path` of the Dockerfile below the build path")
	flags.StringVar(&o.buildPath, "build-path", "", "`folder` of the repository to build in")
	flags.StringVar(&o.proxy, "proxy-url", "", "`URL` of the proxy for a build in a container, with user and password; also by LPBUILD_PROXY_URL")
	flags.StringVar(&o.revocation, "revocation-endpoint", "", "`URL` that takes the proxy's password back")
	flags.StringVar(&o.certificate, "fetch-service-certificate", "", "not oci: the proxy is a fetch service, whose certificate is in this `file`")
	flags.BoolVar(&o.disableProxy, "disable-proxy-after-pull", false, "snap: no proxy after the phase pull")
}
