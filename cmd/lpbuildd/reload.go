package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"lpbuildd/buildd/config"
	"lpbuildd/filecache"
)

// reloads reads the configuration again at every SIGHUP until ctx ends.
func (s *service) reloads(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.systemd.Reloading()
			s.reload()
			s.systemd.Ready(ctx)
		}
	}
}

// reload opens the log file anew and puts the configuration into effect as far
// as that is possible without a restart. The build that runs keeps what it
// began with. With an error nothing changes.
func (s *service) reload() {
	if err := s.log.Use(logSettings(s.config)); err != nil {
		s.log.Error("Cannot open the log file anew", "error", err)
	}
	c, origins, err := s.load()
	if err == nil {
		err = s.apply(c)
	}
	if err != nil {
		for _, problem := range config.Problems(err) {
			s.log.Error("The configuration cannot be used", "problem", problem)
		}
		s.log.Error("The old configuration stays in effect; see 'lpbuildd config check'")
		return
	}
	logWarnings(s.log.Logger, origins)
	changes := config.Compare(s.origins, origins)
	for _, key := range changes.Restart {
		s.log.Warn("A changed key needs a restart to take effect", "key", key)
	}
	s.log.Info("Configuration reloaded", "changed", changes.Now)
	s.config, s.origins = c, changes.InEffect
}

// apply changes what can change while the daemon runs.
func (s *service) apply(c config.Config) error {
	settings, err := jobSettings(c, s.cache.Dir())
	if err != nil {
		return err
	}
	if err := s.log.Use(logSettings(c)); err != nil {
		return err
	}
	s.daemon.SetSettings(settings)
	s.cache.SetLimits(filecache.Limits{MaxBytes: c.CacheMaxSize, MaxAge: c.CacheMaxAge, MinFree: c.CacheMinFree})
	s.access.Allow(c.Allow)
	return nil
}
