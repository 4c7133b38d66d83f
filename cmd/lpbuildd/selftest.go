package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lpbuildd/buildd/config"
	"lpbuildd/buildd/helper"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/operator"
	"lpbuildd/buildd/selftest"
	"lpbuildd/buildd/supervise"
)

func newSelftestCommand() *cobra.Command {
	var o selftestOptions
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Check this builder and build a tiny package with it",
		Long: `Check this builder and build a tiny package with it: configuration, user, the
helpers that are root, sbuild, disks, clock, overlays, container engine and its
network, the daemon, and a real binarypackage build in the base image of --image,
or in the one of the cache that was used last. Nothing stays behind. The exit code
is 1 if something failed, and 0 if there are only warnings.

The build goes through a private daemon: same program, configuration, user and
helpers, in a folder below the daemon's HOME and on a loopback port. With --daemon
it goes through the daemon that runs, which must be idle; do that only while no
manager polls it, since a manager disables a builder that builds for nobody.

Some checks need root; without it they are skipped.`,
		Example: `  lpbuildd selftest
  lpbuildd selftest --image chroot-noble-amd64.tar.gz --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	addOperatorFlags(cmd.Flags())
	cmd.Flags().StringVar(&o.image, "image", "", "the base image: a `FILE`, or the SHA-1 of one in the cache")
	cmd.Flags().StringVar(&o.home, "home", "", "the daemon's HOME (default: $HOME of the daemon's user)")
	cmd.Flags().BoolVar(&o.daemon, "daemon", false, "build through the daemon that runs")
	cmd.Flags().BoolVar(&o.json, "json", false, "print one JSON object for each check")
	return cmd
}

// selftestOptions are the flags of selftest.
type selftestOptions struct {
	image, home  string
	daemon, json bool
}

// errSelftest is the end of a test that found something; what, was printed.
var errSelftest = errors.New("the builder is not sound: see above what failed")

func (o selftestOptions) run(cmd *cobra.Command) error {
	p := findingPrinter{out: cmd.OutOrStdout(), json: o.json}
	b, err := openBuilder(cmd, "test the builder")
	if err != nil {
		p.print(selftest.Finding{
			Name: "configuration", Result: selftest.Failed, Detail: err.Error(),
			Advice: "Correct it: 'lpbuildd config check' names all mistakes.",
		})
		return errSelftest
	}
	defer b.Close()
	p.print(configurationFinding(b))
	tested, err := o.builder(cmd, b)
	if err != nil {
		return err
	}
	if !selftest.Run(cmd.Context(), tested, p.print) {
		return errSelftest
	}
	return nil
}

// configurationFinding is the finding about the configuration.
func configurationFinding(b *operator.Builder) selftest.Finding {
	f := selftest.Finding{Name: "configuration", Result: selftest.OK, Detail: "the cache is " + b.Cache.Dir()}
	for _, o := range b.Origins {
		if o.Warning != "" {
			f.Result = selftest.Warning
			f.Detail += fmt.Sprintf("; %s: %s: %s", o.From, o.Key, o.Warning)
			f.Advice = "'lpbuildd config check' shows the warnings one by one."
		}
	}
	return f
}

// builder describes a builder for the test.
func (o selftestOptions) builder(cmd *cobra.Command, b *operator.Builder) (selftest.Builder, error) {
	c := b.Config
	program, err := os.Executable()
	if err != nil {
		return selftest.Builder{}, err
	}
	image, err := b.FindChroot(cmd.Context(), o.image)
	if err != nil {
		return selftest.Builder{}, err
	}
	share, err := filepath.Abs(c.SharePath)
	if err != nil {
		return selftest.Builder{}, err
	}
	return selftest.Builder{
		Program: program, Config: serveFlags(cmd), Verbs: supervise.SudoRoles(), Helper: helper.Socket(), HelperVariable: helper.Variable,
		Settings: job.Settings{
			Home: o.homeOf(b.Owner), FileCache: b.Cache.Dir(), SharePath: share, User: b.BuildUser(), Site: c.Site,
			Container: c.Container, Overlay: c.ChrootOverlay,
		},
		Arch: c.ArchitectureTag, MinFree: c.CacheMinFree, Owner: b.Owner, Cache: b.Cache, Launcher: b.Launcher,
		URL: daemonURL(c), Image: image, UseDaemon: o.daemon, Root: isRoot(),
	}, nil
}

// homeOf is the daemon's HOME.
func (o selftestOptions) homeOf(owner *user.User) string {
	home := cmp.Or(o.home, owner.HomeDir)
	if o.home == "" && !isRoot() {
		home = cmp.Or(os.Getenv("HOME"), home)
	}
	if abs, err := filepath.Abs(home); err == nil {
		return abs
	}
	return home
}

// serveFlags are the flags that give a daemon the same configuration.
func serveFlags(cmd *cobra.Command) []string {
	from := sources(cmd.Flags(), operatorEnviron)
	path := from.File
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	flags := []string{"--config", path}
	for _, set := range from.Set {
		flags = append(flags, "--set", set)
	}
	return flags
}

// daemonURL is where the daemon can be asked from this machine.
func daemonURL(c config.Config) string {
	host := c.BindHost
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(c.BindPort))
}

// findingPrinter prints findings as they come.
type findingPrinter struct {
	out  io.Writer
	json bool
}

func (p findingPrinter) print(f selftest.Finding) {
	if p.json {
		_ = printJSON(p.out, f) // as with all output, nobody could act on a failure
		return
	}
	table := tabwriter.NewWriter(p.out, 19, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s\t%-9s %s\n", f.Name, f.Result, strings.ReplaceAll(f.Detail, "\n", "\n\t          "))
	if f.Advice != "" {
		fmt.Fprintf(table, "\t          -> %s\n", f.Advice)
	}
	if f.Log != "" {
		fmt.Fprintf(table, "\nThe end of the log of the build:\n%s\n\n", f.Log)
	}
	_ = table.Flush() // as above
}
