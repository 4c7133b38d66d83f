package vcs

import (
	"context"
	"io"
	"path"
	"regexp"
	"sync"

	"lpbuildd/builders"
)

// checkout is one checkout in the making.
type checkout struct {
	source      Source
	env         builders.Env
	heard       *listener // what went into its log
	dir         string
	environment []string
}

// beside runs a command in the parent folder, inside in the checkout itself.
func (c checkout) beside(ctx context.Context, argv ...string) error {
	return c.env.BuildCommand(ctx, path.Dir(c.dir), c.environment, argv...)
}

func (c checkout) inside(ctx context.Context, argv ...string) error {
	return c.env.BuildCommand(ctx, c.dir, c.environment, argv...)
}

func (c checkout) commands(ctx context.Context, run func(context.Context, ...string) error, commands ...[]string) error {
	for _, argv := range commands {
		if err := run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// start makes an empty repository that knows where the source is, of an object
// format or, without one, of git's default.
func (c checkout) start(ctx context.Context, format string) error {
	argv := []string{"git", "init", "-q"}
	if format != "" {
		argv = append(argv, "--object-format="+format)
	}
	if err := c.beside(ctx, append(argv, path.Base(c.dir))...); err != nil {
		return err
	}
	return c.inside(ctx, "git", "remote", "add", "origin", c.source.repository)
}

// listener passes a log on, and remembers its end.
type listener struct {
	log io.Writer
	mu  sync.Mutex
	end []byte
}

// Write implements io.Writer.
func (l *listener) Write(p []byte) (int, error) {
	const enough = 8 << 10 // for the last words of any command
	l.mu.Lock()
	l.end = append(l.end, p...)
	l.end = l.end[max(0, len(l.end)-enough):]
	l.mu.Unlock()
	return l.log.Write(p)
}

// find returns the match of a pattern in the end of the log, and forgets it.
func (l *listener) find(pattern *regexp.Regexp) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := pattern.FindStringSubmatch(string(l.end))
	if found != nil {
		l.end = nil
	}
	return found
}
