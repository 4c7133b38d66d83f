package ci

import (
	"fmt"
	"strconv"

	"lpbuildd/builders"
	"lpbuildd/builders/vcs"
	"lpbuildd/ordered"
)

// pipeline runs the jobs of a pipeline with lpci (spec: builders.md section 11).
type pipeline struct {
	source      vcs.Source
	stages      [][]job
	channels    map[string]string
	sources     []string // --package-repository
	environment ordered.Map[string]
	plugins     ordered.Map[string]
	secrets     []byte // what lpci reads secrets from, nil without any
	scan        bool
	proxy       builders.ProxyArgs

	// results is what the extra status key "jobs" tells of each job that ended.
	results map[string]any
}

// job is one job of a pipeline.
type job struct {
	name  string
	index int64
}

func (j job) String() string { return j.name + ":" + strconv.FormatInt(j.index, 10) }

// dir is where lpci puts what a job has made.
func (j job) dir() string { return fmt.Sprintf("%s/%s/%d", outputDir, j.name, j.index) }

const (
	tree        = "/build/tree"
	outputDir   = "/build/output"
	secretsFile = "/build/.launchpad-secrets.yaml"
	// user is the user of the container, whatever that of the builder is called.
	user  = "buildd"
	owner = user + ":" + user
)

func (c *pipeline) announce(env builders.Env, operation string, args ...string) {
	line := args
	if env.Proxy != nil {
		line = append([]string{"--proxy-url", env.Proxy.URL}, args...)
	}
	env.AnnounceOperation(operation, line...)
}
