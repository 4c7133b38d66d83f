package main

import (
	"errors"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"lpbuildd/buildd/config"
	"lpbuildd/buildd/job"
	"lpbuildd/daemonlog"
)

// logSettings are what the configuration says about the daemon's own log.
func logSettings(c config.Config) daemonlog.Settings {
	return daemonlog.Settings{Level: c.LogLevel, JSON: c.LogFormat == "json", File: c.LogFile}
}

// jobSettings are what a build is told of the configuration.
func jobSettings(c config.Config, cacheDir string) (job.Settings, error) {
	home, err := filepath.Abs(os.Getenv("HOME"))
	if err != nil || os.Getenv("HOME") == "" {
		return job.Settings{}, errors.New("HOME is not set: it says where build directories are made")
	}
	share, err := filepath.Abs(c.SharePath)
	if err != nil {
		return job.Settings{}, err
	}
	return job.Settings{
		Home: home, FileCache: cacheDir, SharePath: share, User: buildUser(c),
		Site: c.Site, ProxyPort: c.ProxyPort, Container: c.Container,
		Overlay: c.ChrootOverlay, TmpfsBytes: c.ChrootTmpfs, MaxRoots: c.CacheRoots,
		WallLimit: c.WallLimit, SilenceLimit: c.SilenceLimit, LogLimit: c.LogLimit, ResultLimit: c.ResultLimit, AbortLimit: c.AbortLimit,
		Keep:   job.Keep{For: c.KeepFailed, Builds: c.KeepBuilds, MinFree: c.CacheMinFree},
		Limits: c.Limits(config.ThisMachine()),
	}, nil
}

// buildUser is who sbuild runs as: the daemon's own user, unless that is root.
func buildUser(c config.Config) string {
	if os.Geteuid() == 0 {
		return c.User
	}
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		return u.Username
	}
	return c.User
}

// logWarnings logs what in the file has no effect.
func logWarnings(log *slog.Logger, origins []config.Origin) {
	for _, o := range origins {
		if o.Warning != "" {
			log.Warn("Configuration", "key", o.Key, "from", o.From, "warning", o.Warning)
		}
	}
}
