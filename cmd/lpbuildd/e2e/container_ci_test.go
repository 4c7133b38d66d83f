//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"maps"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

// jobSecrets are what a pipeline must not tell, in this order: those of its
// repositories, its plug-in, its secrets and its environment.
var jobSecrets = []string{"r3p0-passw0rd", "plug1n-t0ken-value", "s0ss-t0ken-value", "env-t0ken-value"}

// pipeline is jobs in stages, with secrets, and a token.
func (r *rig) pipeline(tk token, more map[string]any) map[string]any {
	args := tk.args()
	maps.Copy(args, map[string]any{
		"jobs": []any{
			[]any{[]any{"build", int64(0)}, []any{"build", int64(1)}},
			[]any{[]any{"test", int64(0)}},
			[]any{[]any{"none", int64(7)}}, // which the repository does not know
		},
		"package_repositories":  []any{"deb [trusted=yes] http://reader:" + jobSecrets[0] + "@archive.invalid/ bookworm main"},
		"plugin_settings":       map[string]any{"token": jobSecrets[1]},
		"secrets":               map[string]any{"soss_read_auth": "reader:" + jobSecrets[2]},
		"environment_variables": map[string]any{"MODE": "quick", "TEST_READ_AUTH": "reader:" + jobSecrets[3]},
	})
	maps.Copy(args, more)
	return args
}

func (r *rig) jobs() {
	tk := r.token(r.t(), r.id("ci"))
	r.job("ci", "ci", r.pipeline(tk, nil))
	st := r.finish("OK")
	r.checkNames(st, "build:0.log", "build:0.properties", "build:0/ci.whl", "build:0/deep.txt",
		"build:1.log", "build:1/fetched", "test:0.log", "test:0/ci.tar.gz", "none:7.log")
	r.checkJobs(st, map[string]string{"build:0": "SUCCEEDED", "build:1": "SUCCEEDED", "test:0": "SUCCEEDED", "none:7": "SUCCEEDED"})
	for name, text := range map[string]string{
		"build:0.log": "mode 600\n", "build:0/ci.whl": "wheel\n", "build:1.log": "MODE is quick\n", "build:1/fetched": "fetched by a build\n",
		"build:0.properties": `"properties"`, "none:7.log": "Skipping none:7 (fixture)\n",
	} {
		if data := r.result(st, name); !bytes.Contains(data, []byte(text)) {
			r.t().Errorf("%s lacks %q:\n%s", name, text, data)
		}
	}
	// The job has shown them all, so that they were there.
	data := string(r.result(st, "build:0.log"))
	checkLog(r.t(), data, "the secrets are in /build/.launchpad-secrets.yaml\n", "soss_read_auth", "the plug-in has ", "the environment has ", "With deb ")
	r.hides(st, append([]string{tk.password}, jobSecrets...)...)
	r.ends(tk)
}

func (r *rig) failingJobs() {
	tk := r.token(r.t(), r.id("ci-fail"))
	r.job("ci-fail", "ci", r.pipeline(tk, map[string]any{"git_path": "fail"}))
	st := r.finish("PACKAGEFAIL")
	// The others of its stage are run, those after it are not.
	r.checkJobs(st, map[string]string{"build:0": "FAILED", "build:1": "SUCCEEDED"})
	r.checkNames(st, "build:0.log", "build:1.log", "build:1/fetched")
	if data := r.result(st, "build:0.log"); !bytes.Contains(data, []byte("failing\n")) {
		r.t().Errorf("the log of the job is\n%s", data)
	}
	checkLog(r.t(), r.log(), "Job build:0 failed.\n", "Some jobs in ['build:0', 'build:1'] failed; stopping.\n")
	r.hides(st, append([]string{tk.password}, jobSecrets...)...)
	r.rests()
	r.checkRevoked(r.t(), tk)
}

// checkJobs compares how jobs ended, and looks for what the status says of them
// among the results.
func (r *rig) checkJobs(st buildd.Status, want map[string]string) {
	r.t().Helper()
	jobs, _ := st.Extra["jobs"].(ordered.Struct)
	got := map[string]string{}
	for _, told := range jobs {
		id := told.Name
		job, _ := told.Value.(ordered.Struct)
		got[id] = fmt.Sprint(job.Get("result"))
		output, _ := job.Get("output").(ordered.Struct)
		for _, file := range output {
			if st.FileMap[id+"/"+file.Name] != file.Value {
				r.t().Errorf("the output %s of %s is %v, and not a result", file.Name, id, file.Value)
			}
		}
		for _, name := range []string{"log", "properties"} {
			if sum, told := job.Lookup(name); told && st.FileMap[id+"."+name] != sum {
				r.t().Errorf("%s of %s is %v, and not a result", name, id, sum)
			}
		}
	}
	if !maps.Equal(got, want) {
		r.t().Errorf("the jobs ended as %v and not as %v", got, want)
	}
}
