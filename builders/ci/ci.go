// Package ci is run by the worker of a build, root inside the build's namespaces, and
// touches the target through builders.Env: it runs the jobs of a pipeline, the type ci.
package ci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/container"
	"lpbuildd/builders/vcs"
	"lpbuildd/ordered"
)

// NoJobs is the extra status until a job has ended: "jobs" is always there (spec:
// protocol.md section 13).
func NoJobs() map[string]any { return map[string]any{"jobs": map[string]any{}} }

// New reads the arguments of a pipeline.
func New(args builders.Args, _ []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	c := &pipeline{
		source:      vcs.ReadSource(r),
		stages:      readStages(r, "jobs"),
		channels:    container.ReadChannels(r),
		sources:     r.Strings("package_repositories"),
		environment: readSettings(r, "environment_variables"),
		plugins:     readSettings(r, "plugin_settings"),
		scan:        r.Bool("scan_malware"),
		results:     map[string]any{},
	}
	secrets, err := args.Struct("secrets")
	if args["secrets"] != nil && err == nil {
		c.secrets, err = yamlMapping(secrets.Plain())
		r.Note(err)
	}
	c.proxy, err = builders.ParseProxy(args) // which also tells of secrets of a wrong type
	r.Note(err)
	c.proxy.UseFetchService = false // which these builds cannot use
	return c, r.Err()
}

// readStages reads the jobs: an array of stages, which are arrays of jobs, which are
// arrays of a name and an index. Names become folders (weakness Q4).
func readStages(r *builders.Reader, key string) [][]job {
	list, ok := r.Args[key].([]any)
	if !ok && r.Args.IsSet(key) {
		r.Note(builders.WrongType(key, "an array of stages", r.Args[key]))
		return nil
	}
	if len(list) == 0 {
		r.Note(fmt.Errorf("%s is required, with at least one stage", key))
	}
	stages := make([][]job, 0, len(list))
	for i, item := range list {
		jobs, ok := item.([]any)
		if !ok {
			r.Note(builders.WrongType(fmt.Sprintf("%s[%d]", key, i), "an array of jobs", item))
			continue
		}
		var stage []job
		for n, item := range jobs {
			stage = append(stage, readJob(r, fmt.Sprintf("%s[%d][%d]", key, i, n), item))
		}
		stages = append(stages, stage)
	}
	return stages
}

func readJob(r *builders.Reader, key string, item any) job {
	pair, ok := item.([]any)
	if !ok || len(pair) != 2 {
		r.Note(fmt.Errorf("%s: expected an array of a job's name and its index", key))
		return job{}
	}
	words := builders.Args{key + "[0]": pair[0], key + "[1]": pair[1]}
	name, err := words.String(key + "[0]")
	if err == nil {
		if err = builders.CheckFileName(name); err != nil || strings.HasPrefix(name, "-") {
			err = fmt.Errorf("%s[0]: expected a job's name that can be a folder's", key)
		}
	}
	r.Note(err)
	index, set, err := words.Int(key + "[1]")
	if err == nil && (!set || index < 0) {
		err = fmt.Errorf("%s[1]: expected an index of 0 or more", key)
	}
	r.Note(err)
	return job{name: name, index: index}
}

// readSettings reads a struct that becomes words NAME=value of a command line.
func readSettings(r *builders.Reader, key string) ordered.Map[string] {
	m := r.StringMap(key)
	for _, setting := range m {
		if setting.Name == "" || strings.Contains(setting.Name, "=") {
			r.Note(fmt.Errorf("%s: expected names without =", key))
		}
		r.Note(errors.Join(builders.CheckLine(key, setting.Name), checkNUL(key+"."+setting.Name, setting.Value)))
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
func (c *pipeline) Build(ctx context.Context, env builders.Env) error {
	c.announce(env, "run-ci-prepare", c.prepareOptions(env)...)
	err := container.RunPhases(ctx, env, container.Phase{Name: container.InstallPhase, Run: c.install}, container.Phase{Name: "repo", Run: c.repo})
	if err != nil {
		env.Say("Preparation failed.")
		return err
	}
	for _, stage := range c.stages {
		if err := c.runStage(ctx, env, stage); err != nil {
			return err
		}
	}
	return nil
}

func (c *pipeline) prepareOptions(env builders.Env) []string {
	var options []string
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		options = append(options, "--channel", name+"="+c.channels[name])
	}
	options = append(options, c.source.Options()...)
	if c.scan {
		options = append(options, "--scan-malware")
	}
	if env.Site.SnapStore != "" {
		options = append(options, "--snap-store-proxy-url", env.Site.SnapStore)
	}
	return options
}

func (c *pipeline) install(ctx context.Context, env builders.Env) error {
	if err := container.InstallGitProxy(ctx, env); err != nil {
		return err
	}
	support, err := apt.Available(ctx, env, "snapd", "fuse", "squashfuse")
	if err != nil {
		return err
	}
	packages := slices.Concat(container.ProxyPackages(env), support, []string{c.source.PackageName()})
	if c.scan {
		packages = append(packages, container.MalwareScanner)
	}
	if err := apt.Install(ctx, env, packages...); err != nil {
		return err
	}
	if err := container.UseSnapStore(ctx, env); err != nil {
		return err
	}
	if err := c.installSnaps(ctx, env); err != nil {
		return err
	}
	if err := env.InTarget(ctx, "lxd", "init", "--auto"); err != nil {
		return err
	}
	if c.scan {
		return container.LearnMalware(ctx, env, c.proxy)
	}
	return nil
}

func (c *pipeline) installSnaps(ctx context.Context, env builders.Env) error {
	for _, name := range slices.Sorted(maps.Keys(c.channels)) {
		if name == "lxd" || name == "lpci" {
			continue
		}
		if err := env.InTarget(ctx, "snap", "install", "--channel="+c.channels[name], name); err != nil {
			return err
		}
	}
	for _, tool := range [][]string{{"lxd"}, {"lpci", "--classic"}} {
		argv := append([]string{"snap", "install"}, tool[1:]...)
		if channel := c.channels[tool[0]]; channel != "" {
			argv = append(argv, "--channel="+channel)
		}
		if err := env.InTarget(ctx, append(argv, tool[0])...); err != nil {
			return err
		}
	}
	return nil
}

func (c *pipeline) repo(ctx context.Context, env builders.Env) error {
	if err := c.source.CheckOutAndReport(ctx, env, tree, container.ProxyEnvironment(env, c.proxy), false); err != nil {
		return err
	}
	return env.InTarget(ctx, "chown", "-R", owner, tree)
}

// Gather has nothing to do: the results of every job are stored at its end.
func (c *pipeline) Gather(context.Context, builders.Env, func(name string, content io.ReadCloser) error) error {
	return nil
}
