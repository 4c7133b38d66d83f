package builders

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lpbuildd/ordered"
)

// ci runs the jobs of a pipeline with lpci (spec: builders.md section 11).
type ci struct {
	source      source
	stages      [][]ciJob
	channels    map[string]string
	sources     []string // --package-repository
	environment ordered.Map[string]
	plugins     ordered.Map[string]
	secrets     []byte // what lpci reads secrets from, nil without any
	scan        bool
	proxy       ProxyArgs

	// results is what the extra status key "jobs" tells of each job that ended.
	results map[string]any
}

// ciJob is one job of a pipeline.
type ciJob struct {
	name  string
	index int64
}

func (j ciJob) String() string { return j.name + ":" + strconv.FormatInt(j.index, 10) }

const (
	ciTree    = "/build/tree"
	ciOutput  = "/build/output"
	ciSecrets = "/build/.launchpad-secrets.yaml"
	// ciUser is the user of the container, whatever that of the builder is called.
	ciUser  = "buildd"
	ciOwner = ciUser + ":" + ciUser
)

// noJobs is the extra status until a job has ended: "jobs" is always there (spec:
// protocol.md section 13).
func noJobs() map[string]any { return map[string]any{"jobs": map[string]any{}} }

// dir is where lpci puts what a job has made.
func (j ciJob) dir() string { return fmt.Sprintf("%s/%s/%d", ciOutput, j.name, j.index) }

func newCI(args Args, _ []string) (Builder, error) {
	r := reader{args: args}
	c := &ci{
		source:      r.source(),
		stages:      r.stages("jobs"),
		channels:    r.channels(),
		sources:     r.strings("package_repositories"),
		environment: r.settings("environment_variables"),
		plugins:     r.settings("plugin_settings"),
		scan:        r.boolean("scan_malware"),
		results:     map[string]any{},
	}
	secrets, err := args.members("secrets")
	if args["secrets"] != nil && err == nil {
		c.secrets, err = yamlMapping(secrets.Plain())
		r.note(err)
	}
	c.proxy, err = ParseProxy(args) // which also tells of secrets of a wrong type
	r.note(err)
	c.proxy.UseFetchService = false // which these builds cannot use
	return c, errors.Join(r.errs...)
}

// stages reads the jobs: an array of stages, which are arrays of jobs, which are
// arrays of a name and an index. Names become folders (weakness Q4).
func (r *reader) stages(key string) [][]ciJob {
	list, ok := r.args[key].([]any)
	if !ok && !unset(r.args[key]) {
		r.note(wrongType(key, "an array of stages", r.args[key]))
		return nil
	}
	if len(list) == 0 {
		r.note(fmt.Errorf("%s is required, with at least one stage", key))
	}
	stages := make([][]ciJob, 0, len(list))
	for i, item := range list {
		jobs, ok := item.([]any)
		if !ok {
			r.note(wrongType(fmt.Sprintf("%s[%d]", key, i), "an array of jobs", item))
			continue
		}
		var stage []ciJob
		for n, item := range jobs {
			stage = append(stage, r.job(fmt.Sprintf("%s[%d][%d]", key, i, n), item))
		}
		stages = append(stages, stage)
	}
	return stages
}

func (r *reader) job(key string, item any) ciJob {
	pair, ok := item.([]any)
	if !ok || len(pair) != 2 {
		r.note(fmt.Errorf("%s: expected an array of a job's name and its index", key))
		return ciJob{}
	}
	words := Args{key + "[0]": pair[0], key + "[1]": pair[1]}
	name, err := words.String(key + "[0]")
	if err == nil {
		if err = checkFileName(name); err != nil || strings.HasPrefix(name, "-") {
			err = fmt.Errorf("%s[0]: expected a job's name that can be a folder's", key)
		}
	}
	r.note(err)
	index, set, err := words.Int(key + "[1]")
	if err == nil && (!set || index < 0) {
		err = fmt.Errorf("%s[1]: expected an index of 0 or more", key)
	}
	r.note(err)
	return ciJob{name: name, index: index}
}

// settings reads a struct that becomes words NAME=value of a command line.
func (r *reader) settings(key string) ordered.Map[string] {
	m := r.stringMap(key)
	for _, setting := range m {
		if setting.Name == "" || strings.Contains(setting.Name, "=") {
			r.note(fmt.Errorf("%s: expected names without =", key))
		}
		r.note(errors.Join(checkLine(key, setting.Name), checkNUL(key+"."+setting.Name, setting.Value)))
	}
	return m
}

func checkNUL(key, value string) error {
	if strings.Contains(value, "\x00") {
		return fmt.Errorf("%s: expected text, got binary data", key)
	}
	return nil
}

// yamlMapping writes a mapping with sorted keys; every value is JSON, which is
// YAML too.
func yamlMapping(members map[string]any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := encoder.Encode(name); err != nil {
			return nil, err
		}
		text.Truncate(text.Len() - 1) // the newline
		text.WriteString(": ")
		if err := encoder.Encode(members[name]); err != nil {
			return nil, fmt.Errorf("secrets.%s: expected text: %w", name, err)
		}
	}
	if text.Len() == 0 {
		text.WriteString("{}\n")
	}
	return text.Bytes(), nil
}

// Build prepares the container, and runs job after job.
func (c *ci) Build(ctx context.Context, env Env) error {
	c.announce(env, "run-ci-prepare", c.prepareOptions(env)...)
	err := runPhases(ctx, env, phase{installPhase, c.install}, phase{"repo", c.repo})
	if err != nil {
		env.say("Preparation failed.")
		return err
	}
	for _, stage := range c.stages {
		if err := c.runStage(ctx, env, stage); err != nil {
			return err
		}
	}
	return nil
}

func (c *ci) announce(env Env, operation string, args ...string) {
	line := args
	if env.Proxy != nil {
		line = append([]string{"--proxy-url", env.Proxy.URL}, args...)
	}
	env.announceOperation(operation, line...)
}

func (c *ci) prepareOptions(env Env) []string {
	var options []string
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		options = append(options, "--channel", name+"="+c.channels[name])
	}
	options = append(options, c.source.options()...)
	if c.scan {
		options = append(options, "--scan-malware")
	}
	if env.Site.SnapStore != "" {
		options = append(options, "--snap-store-proxy-url", env.Site.SnapStore)
	}
	return options
}

func (c *ci) install(ctx context.Context, env Env) error {
	if err := installGitProxy(ctx, env); err != nil {
		return err
	}
	support, err := availablePackages(ctx, env, "snapd", "fuse", "squashfuse")
	if err != nil {
		return err
	}
	packages := slices.Concat(proxyPackages(env), support, []string{c.source.packageName()})
	if c.scan {
		packages = append(packages, malwareScanner)
	}
	if err := installPackages(ctx, env, packages...); err != nil {
		return err
	}
	if err := useSnapStore(ctx, env); err != nil {
		return err
	}
	if err := c.installSnaps(ctx, env); err != nil {
		return err
	}
	if err := env.inTarget(ctx, "lxd", "init", "--auto"); err != nil {
		return err
	}
	if c.scan {
		return learnMalware(ctx, env, c.proxy)
	}
	return nil
}

func (c *ci) installSnaps(ctx context.Context, env Env) error {
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		if name == "lxd" || name == "lpci" {
			continue
		}
		if err := env.inTarget(ctx, "snap", "install", "--channel="+c.channels[name], name); err != nil {
			return err
		}
	}
	for _, tool := range [][]string{{"lxd"}, {"lpci", "--classic"}} {
		argv := append([]string{"snap", "install"}, tool[1:]...)
		if channel := c.channels[tool[0]]; channel != "" {
			argv = append(argv, "--channel="+channel)
		}
		if err := env.inTarget(ctx, append(argv, tool[0])...); err != nil {
			return err
		}
	}
	return nil
}

func (c *ci) repo(ctx context.Context, env Env) error {
	if err := c.source.checkOutAndReport(ctx, env, ciTree, proxyEnvironment(env, c.proxy), false); err != nil {
		return err
	}
	return env.inTarget(ctx, "chown", "-R", ciOwner, ciTree)
}

// Gather has nothing to do: the results of every job are stored at its end.
func (c *ci) Gather(context.Context, Env, func(name string, content io.ReadCloser) error) error {
	return nil
}
