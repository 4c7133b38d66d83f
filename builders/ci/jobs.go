package ci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/container"
	"lpbuildd/builders/credentials"
)

// How a job ended, as the extra status tells it.
const (
	jobSucceeded = "SUCCEEDED"
	jobFailed    = "FAILED"
)

// runStage runs the jobs of a stage, all of them even if one fails.
func (c *pipeline) runStage(ctx context.Context, env builders.Env, stage []job) error {
	failed := false
	for _, job := range stage {
		err := c.runJob(ctx, env, job)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil || !isOutcome(err, verdict.PackageFail):
			return err
		}
		failed = true
		env.Say("Job %s failed.", job)
		if len(stage) == 1 {
			return err
		}
	}
	if !failed {
		return nil
	}
	ids := make([]string, len(stage))
	for i, job := range stage {
		ids[i] = job.String()
	}
	env.Say("Some jobs in %s failed; stopping.", backends.PythonList(ids))
	return &verdict.BuildError{
		Outcome: verdict.PackageFail,
		Err:     fmt.Errorf("some of the jobs %s failed", strings.Join(ids, ", ")),
		Advice:  "See the logs of the jobs that failed; they are results of the build.",
	}
}

func isOutcome(err error, outcome verdict.Outcome) bool {
	var judged *verdict.BuildError
	return errors.As(err, &judged) && judged.Outcome == outcome
}

// runJob runs one job, stores what it made, and publishes how it ended, all at
// once (weakness Q1).
func (c *pipeline) runJob(ctx context.Context, env builders.Env, job job) error {
	c.announce(env, "run-ci", c.jobOptions(job)...)
	err := container.RunPhases(ctx, env, container.Phase{Name: "job", Run: func(ctx context.Context, env builders.Env) error { return c.execute(ctx, env, job) }})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	entry, gatherErr := c.gatherJob(ctx, env, job)
	if gatherErr != nil && ctx.Err() == nil {
		gatherErr = fmt.Errorf("cannot gather the results of the job %s: %w", job, gatherErr)
		env.Say("Failed to gather results: %v", gatherErr)
		if err == nil {
			err = builders.Blame(ctx, verdict.PackageFail, gatherErr, "See what the job leaves in its output folder.")
		}
	}
	entry["result"] = jobSucceeded
	if err != nil {
		entry["result"] = jobFailed
	}
	c.results[job.String()] = entry
	env.SetExtra("jobs", maps.Clone(c.results))
	return err
}

// jobOptions are the job as its line in the log shows it. Values may be secret.
func (c *pipeline) jobOptions(job job) []string {
	var options []string
	for _, line := range c.sources {
		options = append(options, "--package-repository", credentials.Without(line))
	}
	for _, name := range c.environment.Names() {
		options = append(options, "--set-env", name)
	}
	for _, name := range c.plugins.Names() {
		options = append(options, "--plugin-setting", name)
	}
	if c.secrets != nil {
		options = append(options, "--secrets", secretsFile)
	}
	if c.scan {
		options = append(options, "--scan-malware")
	}
	return append(options, job.name, strconv.FormatInt(job.index, 10))
}

// execute runs the job in the container.
func (c *pipeline) execute(ctx context.Context, env builders.Env, job job) (err error) {
	env.Say("Running %s", job)
	if c.secrets != nil {
		if err := c.writeSecrets(ctx, env); err != nil {
			return err
		}
		// Not for the next job to find (weakness Q3).
		defer func() {
			if ctx.Err() == nil {
				err = errors.Join(err, env.InTarget(ctx, "rm", "-f", secretsFile))
			}
		}()
	}
	if err := env.InTarget(ctx, "mkdir", "-p", job.dir()); err != nil {
		return err
	}
	if err := env.InTarget(ctx, "chown", "-R", owner, outputDir); err != nil {
		return err
	}
	script := backends.Quote(c.lpci(env, job)...) + " 2>&1 | tee " + backends.Quote(job.dir()+"/log")
	if err := c.asJob(ctx, env, "/bin/bash", "-o", "pipefail", "-c", script); err != nil {
		return err
	}
	if !c.scan {
		return nil
	}
	return container.ScanForMalware(func(argv ...string) error { return c.asJob(ctx, env, argv...) }, job.dir())
}

// asJob runs a command of a job, as the user of the container.
func (c *pipeline) asJob(ctx context.Context, env builders.Env, argv ...string) error {
	prefix := []string{"runuser", "-u", user, "-g", user, "-G", "lxd", "--"}
	return env.BuildCommand(ctx, tree, container.ProxyEnvironment(env, c.proxy), append(prefix, argv...)...)
}

func (c *pipeline) writeSecrets(ctx context.Context, env builders.Env) error {
	env.SecretsIn(secretsFile)
	err := backends.WriteFile(ctx, env.Target, secretsFile, c.secrets, 0o600)
	if err == nil {
		err = env.InTarget(ctx, "chown", owner, secretsFile)
	}
	if err != nil {
		return fmt.Errorf("cannot write the secrets of the job: %w", err)
	}
	return nil
}

func (c *pipeline) lpci(env builders.Env, job job) []string {
	argv := []string{"lpci", "-v", "run-one", "--output-directory", outputDir, job.name, strconv.FormatInt(job.index, 10)}
	for _, line := range c.sources {
		argv = append(argv, "--package-repository", line)
	}
	for _, variable := range c.environment {
		argv = append(argv, "--set-env", variable.Name+"="+variable.Value)
	}
	for _, setting := range c.plugins {
		argv = append(argv, "--plugin-setting", setting.Name+"="+setting.Value)
	}
	if c.secrets != nil {
		argv = append(argv, "--secrets", secretsFile)
	}
	if slices.Contains(env.Common.Constraints, "gpu-nvidia") {
		argv = append(argv, "--gpu-nvidia")
	}
	return argv
}

// gatherJob stores what a job made, and tells where it is (spec: builders.md
// section 11.3). The entry is of use even with an error.
func (c *pipeline) gatherJob(ctx context.Context, env builders.Env, job job) (map[string]any, error) {
	entry := map[string]any{}
	for _, file := range []string{"log", "properties"} {
		content, err := env.Target.CopyOut(ctx, job.dir()+"/"+file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return entry, err
		}
		if file == "log" {
			content = env.Redact(content)
		}
		sum, err := env.Store(ctx, job.String()+"."+file, content)
		if err != nil {
			return entry, err
		}
		entry[file] = sum
	}
	output, err := c.gatherFiles(ctx, env, job)
	if len(output) > 0 {
		entry["output"] = output
	}
	return entry, err
}

// gatherFiles stores the files that a job has made. The protocol has room for
// their base names only; of several files with the same one, those after the
// first are called by their paths (weakness Q2).
func (c *pipeline) gatherFiles(ctx context.Context, env builders.Env, job job) (map[string]any, error) {
	root := job.dir() + "/files"
	there, err := backends.IsDir(ctx, env.Target, root)
	if err != nil || !there {
		return nil, err
	}
	out, err := backends.Output(ctx, env.Target, backends.Command{Argv: []string{"find", root, "-mindepth", "1", "-type", "f", "-printf", `%P\0`}})
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", root, err)
	}
	files := strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
	slices.Sort(files)
	output := map[string]any{}
	for _, file := range files {
		name := resultName(file, output)
		if name != path.Base(file) {
			env.Say("The job %s has several files called %s; %s is kept as %s.", job, path.Base(file), file, name)
		}
		if err := builders.CheckFileName(name); err != nil {
			return output, fmt.Errorf("cannot gather %q: %w", file, err)
		}
		content, err := env.Target.CopyOut(ctx, root+"/"+file)
		if err != nil {
			return output, fmt.Errorf("cannot gather %s: %w", file, err)
		}
		sum, err := env.Store(ctx, job.String()+"/"+name, content)
		if err != nil {
			return output, err
		}
		output[name] = sum
	}
	return output, nil
}

// resultName is the base name of a file. If that is taken, it is the path, as
// far as this can be a name; otherwise the later file counts.
func resultName(file string, taken map[string]any) string {
	name, flat := path.Base(file), strings.ReplaceAll(file, "/", "-")
	if taken[name] != nil && taken[flat] == nil && builders.CheckFileName(flat) == nil {
		return flat
	}
	return name
}
