package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"lpbuildd/buildd"
	"lpbuildd/buildd/config"
	"lpbuildd/buildd/helper"
	"lpbuildd/buildd/notify"
	"lpbuildd/buildd/supervise"
	"lpbuildd/builders"
	"lpbuildd/builders/types"
	"lpbuildd/daemonlog"
	"lpbuildd/filecache"
	"lpbuildd/rpc"
)

func newServeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Listen for the manager and build what it asks for",
		Long: "Listen for the manager and build what it asks for.\n\n" +
			"The configuration is the file of --config or of BUILDD_CONFIG; see\n" +
			"'lpbuildd config show'. HOME is where build directories are made.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), cmd.Flags()) },
	}
	addConfigFlags(cmd.Flags())
	return cmd
}

// serve runs the daemon until ctx ends. A build that runs goes on without it.
func serve(ctx context.Context, flags *pflag.FlagSet) error {
	if err := config.Allowed(os.LookupEnv); err != nil {
		return &misconfiguredError{err}
	}
	from := sources(flags, os.LookupEnv)
	load := func() (config.Config, []config.Origin, error) { return config.LoadUsable(from) }
	c, origins, err := load()
	if err != nil {
		return &misconfiguredError{fmt.Errorf("the configuration cannot be used; see 'lpbuildd config check':\n%w", err)}
	}
	own, err := daemonlog.Open(logSettings(c))
	if err != nil {
		return err
	}
	log := own.Logger
	logWarnings(log, origins)
	config.ReportLimits(log, from.File, c)
	// The daemon is there before anything is downloaded.
	var daemon *buildd.Daemon
	cache, err := openCache(c, log, func(ctx context.Context, need int64) { daemon.ReclaimKept(ctx, need) })
	if err != nil {
		return err
	}
	defer func() {
		if err := cache.Close(); err != nil {
			log.Warn("Cannot close the file cache", "error", err)
		}
	}()
	dc, err := daemonConfig(ctx, c, cache, log)
	if err != nil {
		return err
	}
	systemd := notify.New(log)
	dc.Changed = systemd.Changed
	if daemon, err = buildd.New(ctx, dc); err != nil {
		return err
	}
	defer daemon.Close()
	address := net.JoinHostPort(c.BindHost, strconv.Itoa(c.BindPort))
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s (builder.bindhost, builder.bindport): %w", address, err)
	}
	handler := rpc.NewServer(daemon, daemon, cache.Handler(), log)
	status, err := notify.Asker(handler)
	if err != nil {
		return err
	}
	systemd.Ask(status)
	log.Info("Listening", "address", ln.Addr().String(), "version", version, "state", string(daemon.Status().State))
	access := rpc.Restrict(c.Allow, handler)
	limitMemory()
	server := rpc.NewHTTPServer(access, log)
	ln = rpc.LimitConnections(server, ln)
	s := service{
		server: server, access: access,
		daemon: daemon, cache: cache, systemd: systemd, log: own,
		load: load, config: c, origins: origins,
	}
	return s.run(ctx, ln)
}

// limitMemory makes the garbage collector work harder from a size on that only
// large calls bring about, of which one at a time is carried out (see package rpc).
// It is no limit for what is in use. GOMEMLIMIT in the environment counts instead.
func limitMemory() {
	const soft = 112 << 20
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(soft)
	}
}

// service is the daemon while it serves.
type service struct {
	server  *http.Server
	daemon  *buildd.Daemon
	cache   *filecache.Cache
	systemd *notify.Notifier
	access  *rpc.Access
	log     *daemonlog.Log

	load func() (config.Config, []config.Origin, error)
	// config and origins are what is in effect.
	config  config.Config
	origins []config.Origin
}

// run serves until ctx ends, then lets the calls under way finish.
func (s *service) run(ctx context.Context, ln net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		s.systemd.Run(ctx)
		return nil
	})
	g.Go(func() error {
		s.reloads(ctx)
		return nil
	})
	g.Go(func() error {
		if err := s.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		s.daemon.EmptyTrash(ctx)
		return nil
	})
	g.Go(func() error {
		s.daemon.WatchKept(ctx)
		return nil
	})
	g.Go(func() error {
		s.daemon.WatchDisk(ctx)
		return nil
	})
	g.Go(func() error {
		evict(ctx, s.cache, s.log.Logger)
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := s.server.Shutdown(last); err != nil {
			return s.server.Close()
		}
		return nil
	})
	return g.Wait()
}

// evictInterval is how often the cache is looked through for what is too old.
const evictInterval = 10 * time.Minute

// evict keeps the cache within its limits, also when nothing is downloaded.
func evict(ctx context.Context, cache *filecache.Cache, log *slog.Logger) {
	tick := time.NewTicker(evictInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if _, err := cache.Evict(ctx); err != nil && ctx.Err() == nil {
				log.Warn("Cannot evict files from the cache", "error", err)
			}
		}
	}
}

// openCache opens the file cache and deletes what a crash left half done.
func openCache(c config.Config, log *slog.Logger, reclaim func(ctx context.Context, need int64)) (*filecache.Cache, error) {
	dir, err := filepath.Abs(c.FileCache)
	if err != nil {
		return nil, err
	}
	cache, err := filecache.Open(dir, filecache.Options{
		MaxBytes: c.CacheMaxSize, MaxAge: c.CacheMaxAge, MinFree: c.CacheMinFree, Reclaim: reclaim, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open the file cache (builder.filecache): %w", err)
	}
	// What stays takes up room, and is no reason to stay away.
	if err := cache.CleanTemporaries(); err != nil {
		log.Warn("Cannot delete temporary files of the cache", "error", err)
	}
	return cache, nil
}

// abortGrace is how much longer than its own limit a supervisor may take to
// report an abort. The manager waits for 180 s (spec: client.md section 1).
const abortGrace = 10 * time.Second

func daemonConfig(ctx context.Context, c config.Config, cache *filecache.Cache, log *slog.Logger) (buildd.Config, error) {
	settings, err := jobSettings(c, cache.Dir())
	if err != nil {
		return buildd.Config{}, err
	}
	launcher, err := newLauncher()
	if err != nil {
		return buildd.Config{}, err
	}
	return buildd.Config{
		Arch: c.ArchitectureTag, Version: installedVersion(ctx), Types: buildTypes(c.ArchitectureTag),
		Settings: settings, Cache: cache, Launcher: launcher, AbortGrace: abortGrace, Log: log,
	}, nil
}

// buildTypes tells the daemon about the build types.
func buildTypes(arch string) []buildd.Type {
	var out []buildd.Type
	for _, t := range types.All() {
		out = append(out, buildd.Type{
			Tag: t.Tag, Sanitize: t.Sanitize, NoProxyInfo: t.NoProxyInfo, Extra: t.Extra,
			Check: func(args map[string]any, files []string) error {
				_, common := builders.ParseCommon(args, arch)
				_, own := t.New(args, files)
				return errors.Join(common, own, builders.CheckFiles(files))
			},
		})
	}
	return out
}

// newLauncher says how this program is started as root.
func newLauncher() (buildd.Launcher, error) {
	self, err := os.Executable()
	if err != nil {
		return buildd.Launcher{}, err
	}
	command := func(role string) []string { return append(helper.AsRoot(self, os.Geteuid()), role) }
	return buildd.Launcher{
		Supervise: command(supervise.RoleSupervise),
		Cleanup:   command(supervise.RoleCleanup),
		Trash:     command(supervise.RoleTrash),
		Stock:     command(supervise.RoleStock),
	}, nil
}

// installedVersion is the version of the installed package, "" when there is
// none (spec: protocol.md section 6). It is installed enough while dpkg is still
// at its scripts, which start this daemon, and when it is held.
func installedVersion(ctx context.Context) string {
	for _, name := range []string{"lpbuildd", "launchpad-buildd"} {
		query := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name)
		out, err := query.Output()
		status, installed, _ := strings.Cut(string(out), " ")
		if err == nil && status != "not-installed" && status != "config-files" {
			return installed
		}
	}
	return ""
}
