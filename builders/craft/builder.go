package craft

import (
	"lpbuildd/builders"
	"lpbuildd/builders/vcs"
)

// tool is what the builds of charms, rocks and crafts differ in.
type tool struct {
	operation string   // its name in the log
	snap      string   // the snap that builds, and its command
	channel   string   // of that snap, unless the build names one
	packages  []string // that the build needs beside those of all
	product   string   // suffix of what it makes
	extra     string   // suffix of what else is a result, or ""
	platform  bool     // the build may name a platform
	registry  bool     // it may have credentials of package registries
	scan      bool     // what it makes may be scanned for malware
}

// builder builds with one of the craft tools: a charm, a rock, or whatever
// sourcecraft makes (spec: builders.md sections 8 to 10).
type builder struct {
	tool               tool
	name               string
	source             vcs.Source
	buildPath          string // relative to the checkout, "" for the checkout itself
	channels           map[string]string
	platform           string
	registries         registries
	scan               bool // for malware
	launchpadInstance  string
	launchpadServerURL string
	proxy              builders.ProxyArgs
}

// checkoutDir is the checkout, dir the folder that is built.
func (c *builder) checkoutDir() string { return "/home/buildd/" + c.name }

func (c *builder) dir() string {
	if c.buildPath == "" {
		return c.checkoutDir()
	}
	return builders.JoinPath(c.checkoutDir(), c.buildPath)
}
