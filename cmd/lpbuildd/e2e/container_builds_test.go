//go:build integration

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/buildd"
)

// TestContainers builds in containers of every engine of this machine. All
// parts use one builder, so that the base image is imported once.
func TestContainers(t *testing.T) {
	needRoot(t)
	f := newFixtures(t)
	for _, engine := range []struct{ name, cli string }{{"lxd", "lxc"}, {"incus", "incus"}} {
		t.Run(engine.name, func(t *testing.T) {
			r := newRig(t, f, engine.name, engine.cli)
			r.adopt()
			for _, part := range append([]part{
				{"the session of the documentation builds an image", (*rig).ociSession},
				{"the session of the documentation builds a snap", (*rig).snapSession},
				{"an image through the proxy", (*rig).ociThroughProxy},
				{"an abort", (*rig).abortBuild},
				{"a build that uses too much memory", (*rig).outOfMemory},
				{"a container that is killed", (*rig).containerKilled},
				{"a daemon that is killed", (*rig).daemonKilled},
				{"a supervisor that is killed", (*rig).supervisorKilled},
			}, typeParts(engine.name)...) {
				t.Run(part.name, func(t *testing.T) {
					began := time.Now()
					part.run(r.within(t))
					t.Logf("took %s", time.Since(began).Round(100*time.Millisecond))
				})
				if t.Failed() {
					return // the builder may not be at rest
				}
			}
		})
	}
}

// adopt copies the base image into the cache, as the documentation says.
func (r *rig) adopt() {
	t := r.t()
	t.Helper()
	sum := exec.CommandContext(t.Context(), "sha1sum", r.fixtures.image)
	out, err := sum.Output()
	must(t, err)
	r.rigImage(string(out[:40]))
	r.command(r.cache, "cp", r.fixtures.image, r.image)
	r.command(r.cache, "chown", "buildd:", r.image)
	must(t, os.Symlink(r.fixtures.image, filepath.Join(r.fixtures.dir, "www/images", r.instance+".tar.gz")))
}

func (r *rig) rigImage(sum string) {
	r.image = sum
	r.known[sum] = true
}

// repl is a Python prompt that lines are typed into.
type repl struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func newREPL(t *testing.T) *repl {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", "-u", "-i", "-q")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	p := &repl{t: t, in: in, out: bufio.NewReader(out)}
	p.do("import sys; sys.ps1 = sys.ps2 = ''")
	return p
}

// do types one line and returns what is printed.
func (p *repl) do(line string) string {
	p.t.Helper()
	const end = "end of the answer"
	_, err := fmt.Fprintf(p.in, "%s\nprint(%q)\n", line, end)
	must(p.t, err)
	var answer strings.Builder
	for {
		text, err := p.out.ReadString('\n')
		if err != nil {
			p.t.Fatalf("%s: %v\n%s", line, err, answer.String())
		}
		if strings.HasSuffix(strings.TrimSpace(text), end) {
			break
		}
		answer.WriteString(text)
	}
	if strings.Contains(answer.String(), "Traceback") {
		p.t.Fatalf("%s:\n%s", line, answer.String())
	}
	return answer.String()
}

// expect types one line whose answer must have a text.
func (p *repl) expect(line, text string) {
	p.t.Helper()
	if got := p.do(line); !strings.Contains(got, text) {
		p.t.Errorf("%s\nprints %q, without %q", line, got, text)
	}
}

// python is a value as Python spells it.
func python(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

// ociSession is "Running a build locally" of the documentation; xmlrpclib has
// another name now, and the rest differs in what it names only.
func (r *rig) ociSession() {
	p := newREPL(r.t())
	p.do("import xmlrpc.client as xmlrpclib")
	p.do(fmt.Sprintf(`proxy = xmlrpclib.ServerProxy("http://localhost:%d/rpc")`, r.port))
	p.expect("proxy.status()", "'builder_status': 'BuilderStatus.IDLE'")
	p.expect(fmt.Sprintf(`proxy.build('1-3', 'oci', '%s', {}, {'name': 'test-build', 'series': 'bookworm', 'arch_tag': '%s', 'git_repository': '%s/git/oci.git', 'archives': %s})`,
		r.image, hostArch(r.t()), r.url, python(r.t(), r.lines)), "BuilderStatus.BUILDING")
	p.expect("proxy.status()", "'build_id': '1-3'")
	st := r.finish("OK")
	p.expect("proxy.status()", "'build_status': 'BuildStatus.OK'")
	r.checkOCI(st)
	p.do("proxy.clean()")
	p.expect("proxy.status()", "'builder_status': 'BuilderStatus.IDLE'")
	r.checkNothingLeft()
}

// snapSession is "Running a build on qastaging" and "Proxy setup".
func (r *rig) snapSession() {
	tk := r.token(r.t(), r.id("app-name"))
	p := newREPL(r.t())
	p.do("import xmlrpc.client as xmlrpclib")
	p.do(fmt.Sprintf(`proxy = xmlrpclib.ServerProxy("http://localhost:%d/rpc")`, r.port))
	must(r.t(), os.Remove(filepath.Join(r.cache, r.image)))
	p.expect(fmt.Sprintf(`proxy.ensurepresent("%s", "%s/private/images/%s.tar.gz", "admin", "admin")`, r.image, r.url, r.instance), "[True, ")
	p.expect(fmt.Sprintf(`proxy.build('%s', 'snap', '%s', {}, {'name': 'app-name', 'image_type': 'chroot', 'series': 'bookworm', 'arch_tag': '%s', 'git_repository': '%s/git/snap.git', 'archives': %s, "proxy_url": "%s", "revocation_endpoint": "%s"})`,
		tk.user, r.image, hostArch(r.t()), r.url, python(r.t(), r.lines), tk.proxyURL, tk.endpoint), "BuilderStatus.BUILDING")
	p.expect("proxy.proxy_info()", tk.endpoint)
	st := r.finish("OK")
	r.checkSnap(st)
	r.findNowhere(tk.password)
	p.do("proxy.clean()")
	r.checkNothingLeft()
	r.checkUsed(r.t(), tk, "/fetched")
	r.checkRevoked(r.t(), tk)
}

func (r *rig) ociThroughProxy() {
	tk := r.token(r.t(), r.id("oci"))
	args := tk.args()
	args["build_args"] = map[string]any{"MESSAGE": "built", "FETCH_URL": r.url + "/fetched"}
	r.job("oci", "oci", args)
	r.saying("Cloning into")
	r.findNowhere(tk.password)
	st := r.finish("OK")
	r.checkOCI(st)
	r.findNowhere(tk.password)
	r.rests()
	r.checkUsed(r.t(), tk, "/git/oci.git")
	r.checkUsed(r.t(), tk, "/fetched")
	r.checkRevoked(r.t(), tk)
}

func (r *rig) abortBuild() {
	tk := r.token(r.t(), r.id("abort"))
	r.slow("abort", "oci", tk)
	r.abort()
	r.checkNoContainer()
	r.rests()
	r.checkRevoked(r.t(), tk)
}

// checkNoContainer fails if a builder that waits has a container or its network.
func (r *rig) checkNoContainer() {
	r.t().Helper()
	if found := r.containerLeaks(r.t()); len(found) > 0 {
		r.t().Errorf("the builder waits, and there is %s", strings.Join(found, "\n\t"))
	}
}

func (r *rig) containerKilled() {
	tk := r.token(r.t(), r.id("murder"))
	r.slow("murder", "snap", tk)
	names := r.containers(r.t())
	if len(names) != 1 {
		r.t().Fatalf("the containers are %q", names)
	}
	began := time.Now()
	// The builder deletes it too, once it is dead, and only one of both can.
	_ = exec.CommandContext(r.t().Context(), r.cli, "delete", "--force", names[0]).Run()
	r.finish("BUILDERFAIL")
	r.t().Logf("waiting %s after the death of the container", time.Since(began))
	checkLog(r.t(), r.log(), "Build summary\n", "Result:     BUILDERFAIL\n", "container")
	r.checkNoContainer()
	r.rests()
	r.checkRevoked(r.t(), tk)
}

// outOfMemory uses up the memory of a container beside the build in it.
func (r *rig) outOfMemory() {
	r.configure(r.config + "[limits]\nmemory = 700M\n")
	r.reload("limits.memory")
	r.slow("greedy", "snap", r.token(r.t(), r.id("greedy")))
	names := r.containers(r.t())
	if len(names) != 1 {
		r.t().Fatalf("the containers are %q", names)
	}
	hog := exec.CommandContext(r.t().Context(), r.cli, "exec", names[0], "--", "python3", "-c", "x = b'x' * (1 << 30)")
	if out, err := hog.CombinedOutput(); err == nil {
		r.t().Errorf("there is no limit: %s", out)
	}
	end := "for p in /proc/[0-9]*; do if grep -q 'snapc[r]aft' $p/cmdline; then kill -9 ${p#/proc/}; fi; done"
	r.engine(r.t(), "exec", names[0], "--", "sh", "-c", end)
	r.finish("PACKAGEFAIL")
	checkLog(r.t(), r.log(), "Build summary\n", "Result:     PACKAGEFAIL\n", "[limits] memory = 700M")
	r.rests()
	r.configure(r.config)
	r.reload("limits.memory")
}

func (r *rig) daemonKilled() {
	tk := r.token(r.t(), r.id("orphan"))
	r.job("orphan", "snap", tk.args())
	r.saying("Cloning into")
	r.kill()
	if st := r.start(); st.BuildID != r.id("orphan") || st.State == buildd.Idle {
		r.t().Errorf("after the restart: %+v", st)
	}
	st := r.finish("OK")
	r.checkSnap(st)
	r.rests()
	r.checkRevoked(r.t(), tk)
}

func (r *rig) supervisorKilled() {
	tk := r.token(r.t(), r.id("headless"))
	r.slow("headless", "snap", tk)
	must(r.t(), syscall.Kill(r.supervisors()["supervise-run"], syscall.SIGKILL))
	began := time.Now()
	r.finish("BUILDERFAIL")
	r.t().Logf("waiting %s after the death of the supervisor", time.Since(began))
	r.rests()
	r.checkRevoked(r.t(), tk)
	r.findNowhere(tk.password)
}
