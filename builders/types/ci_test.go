package types_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// ciJobs are two stages, with two jobs and with one.
func ciJobs() []any {
	job := func(name string, index int64) any { return []any{name, index} }
	return []any{[]any{job("build", 0), job("build", 1)}, []any{job("test", 0)}}
}

func ciArgs() builders.Args {
	return builders.Args{"jobs": ciJobs(), "git_repository": "https://git.test/repo"}
}

// jobLeaves scripts lpci so that jobs leave what they leave.
func jobLeaves(l *lab, job string, code int, files ...string) {
	l.target.AddFile("/build/tree/.git/HEAD", "", 0o644)
	name, index, _ := strings.Cut(job, ":")
	dir := "/build/output/" + name + "/" + index
	l.target.Script("runuser -u buildd -g buildd -G lxd -- /bin/bash -o pipefail -c 'lpci -v run-one --output-directory /build/output "+name+" "+index,
		fake.Answer{Stdout: "in " + job + "\n", Code: code, Do: func(_ context.Context, f *fake.Target, _ backends.Command) error {
			f.AddFile(dir+"/log", "log of "+job, 0o644)
			for _, file := range files {
				f.AddFile(dir+"/"+file, "content of "+file, 0o644)
			}
			return nil
		}})
}

func ciSecretArgs() builders.Args {
	return builders.Args{
		"package_repositories":  []any{"deb https://user:repo-token-1@private.test/ubuntu noble main"},
		"environment_variables": map[string]any{"PIP_INDEX_URL": "https://u:pip-token-22@pip.test/", "MODE": "it's"},
		"plugin_settings":       map[string]any{"conda_channel": "plugin-token-333", "flag": "true"},
		"secrets":               map[string]any{"soss_read_auth": "user:soss-token-4444", "a key": "line\n2\"", "n": int64(3)},
	}
}

func TestCI(t *testing.T) {
	proxy := builders.Args{"proxy_url": upstream, "revocation_endpoint": revocation}
	withProxy := func(l *lab) { l.withProxy() }
	fails := func(prefix string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stderr: "it does not work\n", Code: 1}) }
	}
	clam := func(l *lab) {
		l.withProxy()
		l.env.Site.ClamAVDatabase = "https://clamav.test/db"
		l.target.AddFile("/etc/clamav/freshclam.conf", "Foreground false\n", 0o644)
	}
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"plain", nil, nil},
		{"proxy", proxy, withProxy},
		{"channels", builders.Args{"channels": map[string]any{"lpci": "edge", "lxd": "5.0/stable", "core": "candidate"}}, nil},
		{"private", ciSecretArgs(), nil},
		{"empty-structs", builders.Args{"package_repositories": []any{}, "environment_variables": map[string]any{}, "plugin_settings": map[string]any{}, "secrets": map[string]any{}}, nil},
		{"scan", builders.Args{"scan_malware": true}, nil},
		{"scan-mirror", withArgs(proxy, builders.Args{"scan_malware": true}), clam},
		{"gpu", nil, func(l *lab) { l.env.Common.Constraints = []string{"gpu-nvidia"} }},
		{"sample", sampleArgs(t, "ci"), withProxy},
		{"bzr", builders.Args{"git_repository": nil, "branch": "lp:project"}, nil},
		{"names-twice", nil, func(l *lab) { jobLeaves(l, "build:0", 0, "files/a/x.whl", "files/b/x.whl") }},

		{"fail-install", nil, fails("apt-get")},
		{"fail-install-lpci", nil, fails("snap install --classic lpci")},
		{"fail-install-lxd", nil, fails("lxd init")},
		{"fail-repo", nil, fails("git clone")},
		{"fail-first-of-two", nil, func(l *lab) { jobLeaves(l, "build:0", 2) }},
		{"fail-both-of-two", nil, func(l *lab) { jobLeaves(l, "build:0", 2); jobLeaves(l, "build:1", 1) }},
		{"fail-only-one", nil, func(l *lab) { jobLeaves(l, "test:0", 1) }},
		{"fail-malware", builders.Args{"scan_malware": true}, fails("runuser -u buildd -g buildd -G lxd -- clamscan --recursive /build/output/build/1")},
		{"fail-gathering", nil, func(l *lab) { jobLeaves(l, "build:0", 0, "files/line\nbreak") }},
		{"fail-host", nil, func(l *lab) {
			l.target.Script("runuser", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the container engine is gone"), Advice: "Start it."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newContainerLab(t)
			jobLeaves(l, "build:0", 0, "properties", "files/ci.whl", "files/sub/deep.txt")
			jobLeaves(l, "build:1", 0)
			jobLeaves(l, "test:0", 0, "files/ci.tar.gz")
			if c.prepare != nil {
				c.prepare(l)
			}
			b, err := newBuilder(t, "ci", ciArgs(), c.args)
			if err != nil {
				t.Fatal(err)
			}
			l.golden("ci/"+c.golden, b.Build(t.Context(), l.env))
			for _, secret := range []string{"proxy-secret", "repo-token", "pip-token", "plugin-token", "soss-token"} {
				if strings.Contains(l.log.String(), secret) {
					t.Errorf("%s reaches the log", secret)
				}
			}
		})
	}
}

func TestCISecretsAreRedacted(t *testing.T) {
	found := strings.Join(builders.Secrets(ciSecretArgs()), "\n")
	for _, secret := range []string{"repo-token-1", "pip-token-22", "plugin-token-333", "soss-token-4444"} {
		if !strings.Contains(found, secret) {
			t.Errorf("%s is not redacted", secret)
		}
	}
	if strings.Contains(found, "true") {
		t.Error("a word of every log is redacted")
	}
}

// The log of a job is a result of its own, which did not pass the log of the build.
func TestCILogsOfJobsAreRedacted(t *testing.T) {
	l := newContainerLab(t)
	jobLeaves(l, "build:0", 0, "files/ci.whl")
	l.env.Redact = func(text io.ReadCloser) io.ReadCloser {
		_ = text.Close()
		return io.NopCloser(strings.NewReader("redacted"))
	}
	b, err := newBuilder(t, "ci", ciArgs(), builders.Args{"jobs": []any{[]any{[]any{"build", int64(0)}}}})
	if err == nil {
		err = b.Build(t.Context(), l.env)
	}
	log := l.log.String()
	if err != nil || !strings.Contains(log, `(store build:0.log: "redacted")`) || !strings.Contains(log, `(store build:0/ci.whl: "content of `) {
		t.Errorf("got %v\n%s", err, log)
	}
}

func TestCIJobsArePublishedOneByOne(t *testing.T) {
	l := newContainerLab(t)
	jobLeaves(l, "build:0", 0, "properties", "files/ci.whl")
	jobLeaves(l, "build:1", 1)
	var published []map[string]any
	l.env.SetExtra = func(key string, value any) {
		if key == "jobs" {
			published = append(published, value.(map[string]any))
		}
	}
	b, err := newBuilder(t, "ci", ciArgs(), nil)
	if err == nil {
		err = b.Build(t.Context(), l.env)
	}
	if outcome(err) != verdict.PackageFail {
		t.Errorf("got %v", err)
	}
	first := map[string]any{"build:0": map[string]any{
		"log": "sha1 of build:0.log", "properties": "sha1 of build:0.properties",
		"output": map[string]any{"ci.whl": "sha1 of build:0/ci.whl"}, "result": "SUCCEEDED",
	}}
	both := map[string]any{"build:0": first["build:0"], "build:1": map[string]any{"log": "sha1 of build:1.log", "result": "FAILED"}}
	if want := []map[string]any{first, both}; !reflect.DeepEqual(published, want) {
		t.Errorf("published %v\nand not %v", published, want)
	}
	if found, err := l.results(t.Context(), b); err != nil || len(found) > 0 {
		t.Errorf("gathered again: %v, %v", found, err)
	}
}

func TestCIEndsWithItsContext(t *testing.T) {
	aborted := errors.New("aborted")
	for _, command := range []string{"apt-get", "git clone", "runuser"} {
		l := newContainerLab(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		l.target.Script(command, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
			cancel(aborted)
			return nil
		}})
		b, err := newBuilder(t, "ci", ciArgs(), nil)
		if err == nil {
			err = b.Build(ctx, l.env)
		}
		if !errors.Is(err, aborted) {
			t.Errorf("%s: got %v", command, err)
		}
	}
}

// What the builder calls its own files is no name that others cannot use.
func TestCIJobsAndFilesMayBeCalledLikeTheBuildersOwn(t *testing.T) {
	l := newContainerLab(t)
	jobLeaves(l, "status:0", 0, "files/status")
	b, err := newBuilder(t, "ci", ciArgs(), builders.Args{"jobs": []any{[]any{[]any{"status", int64(0)}}}})
	if err == nil {
		err = b.Build(t.Context(), l.env)
	}
	if err != nil || !strings.Contains(l.log.String(), `(store status:0/status: "content of files/status")`) {
		t.Errorf("got %v\n%s", err, l.log.String())
	}
}

// A path that is too long for a name does not make the job fail.
func TestCIFilesOfTheSameNameFarDown(t *testing.T) {
	l := newContainerLab(t)
	deep := "files/b/" + strings.Repeat("long/", 60) + "x.whl"
	jobLeaves(l, "build:0", 0, "files/a/x.whl", deep)
	b, err := newBuilder(t, "ci", ciArgs(), nil)
	if err == nil {
		err = b.Build(t.Context(), l.env)
	}
	if err != nil || !strings.Contains(l.log.String(), `(store build:0/x.whl: "content of `+deep) {
		t.Errorf("got %v\n%s", err, l.log.String())
	}
}

// Images of containers have the user buildd, not that of every builder.
func TestCIRunsAsTheUserOfTheContainer(t *testing.T) {
	l := newContainerLab(t)
	jobLeaves(l, "build:0", 0)
	l.env.User = "somebody"
	b, err := newBuilder(t, "ci", ciArgs(), ciSecretArgs())
	if err == nil {
		err = b.Build(t.Context(), l.env)
	}
	if err != nil || strings.Contains(l.target.Transcript(), "somebody") {
		t.Errorf("got %v\n%s", err, l.target.Transcript())
	}
}

func TestCIStoreFails(t *testing.T) {
	l := newContainerLab(t)
	jobLeaves(l, "build:0", 0)
	l.env.Store = func(context.Context, string, io.ReadCloser) (string, error) {
		return "", &verdict.HostFault{Err: errors.New("the disk is full"), Advice: "Free it."}
	}
	b, err := newBuilder(t, "ci", ciArgs(), nil)
	if err == nil {
		err = b.Build(t.Context(), l.env)
	}
	if outcome(err) != verdict.BuilderFail || !strings.Contains(l.log.String(), "build:0:map[result:FAILED]") {
		t.Errorf("got %v\n%s", err, l.log.String())
	}
}

func TestCIArguments(t *testing.T) {
	jobs := func(stages ...any) builders.Args { return builders.Args{"jobs": stages} }
	for name, c := range map[string]struct {
		args builders.Args
		err  string
	}{
		"no jobs":              {builders.Args{"jobs": nil}, "jobs is required"},
		"empty jobs":           {jobs(), "jobs is required"},
		"text":                 {builders.Args{"jobs": "lint"}, "jobs: expected an array of stages, got string"},
		"a stage of text":      {jobs("lint"), "jobs[0]: expected an array of jobs, got string"},
		"a job of text":        {jobs([]any{"lint"}), "jobs[0][0]: expected an array of a job's name and its index"},
		"a job without index":  {jobs([]any{[]any{"lint"}}), "jobs[0][0]: expected an array"},
		"a job that climbs":    {jobs([]any{[]any{"..", int64(0)}}), "jobs[0][0][0]: expected a job's name"},
		"a job with folders":   {jobs([]any{[]any{"a/b", int64(0)}}), "jobs[0][0][0]: expected a job's name"},
		"a job like an option": {jobs([]any{[]any{"-h", int64(0)}}), "jobs[0][0][0]: expected a job's name"},
		"a job without a name": {jobs([]any{[]any{nil, int64(0)}}), "jobs[0][0][0]"},
		"a negative index":     {jobs([]any{[]any{"a", int64(-1)}}), "jobs[0][0][1]: expected an index"},
		"an index of text":     {jobs([]any{[]any{"a", "0"}}), "jobs[0][0][1]: expected an integer"},
		"settings of numbers":  {builders.Args{"plugin_settings": map[string]any{"a": int64(1)}}, "plugin_settings.a: expected a string"},
		"settings as text":     {builders.Args{"environment_variables": "A=b"}, "environment_variables: expected a struct"},
		"a name with =":        {builders.Args{"environment_variables": map[string]any{"A=b": "c"}}, "environment_variables: expected names without ="},
		"secrets as text":      {builders.Args{"secrets": "s3cret"}, "secrets: expected a struct"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newBuilder(t, "ci", ciArgs(), c.args)
			wantError(t, err, c.err)
		})
	}
}

// TestCIDoesNotUseTheFetchService: nothing puts its certificate into the container.
func TestCIDoesNotUseTheFetchService(t *testing.T) {
	l := newContainerLab(t)
	l.withProxy()
	b, err := newBuilder(t, "ci", ciArgs(), fetchServiceArgs())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(t.Context(), l.env); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(l.target.Transcript(), "local-ca.crt") {
		t.Error("the build looks for a certificate that it does not have")
	}
}
