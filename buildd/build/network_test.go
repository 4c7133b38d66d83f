package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// withToken gives the build a token, and counts how often it is revoked.
func (r *rig) withToken() *atomic.Int32 {
	r.Helper()
	asked := &atomic.Int32{}
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		if user, password, _ := q.BasicAuth(); user == "user" && password == "s3cr3t" && q.Method == http.MethodDelete {
			asked.Add(1)
		}
	}))
	r.Cleanup(service.Close)
	find := r.machine.find
	r.machine.find = func(tag string) (builders.Type, error) {
		typ, err := find(tag)
		typ.Proxy = true
		return typ, err
	}
	r.request.Args["proxy_url"] = "http://user:s3cr3t@proxy.test:3128"
	r.request.Args["revocation_endpoint"] = service.URL
	return asked
}

// TestTheTokenStandsInTheLedgerWhileItIsValid, so that whoever cleans up after a
// crash revokes it.
func TestTheTokenStandsInTheLedgerWhileItIsValid(t *testing.T) {
	r := newRig(t)
	r.withToken()
	owed := func() (n int) {
		entries, err := ledger.Read(r.dir.Ledger())
		for _, e := range entries {
			if e.Kind == ledger.Token {
				n++
			}
		}
		if err != nil || n > 0 && strings.Contains(fmt.Sprint(entries), "s3cr3t") {
			t.Errorf("the ledger has %v, %v", entries, err)
		}
		return n
	}
	r.stub.build = func(ctx context.Context, env builders.Env) error {
		before := owed()
		env.RevokeProxy(ctx)
		if after := owed(); before != 1 || after != 0 {
			t.Errorf("%d tokens were to be revoked, then %d", before, after)
		}
		return nil
	}
	r.run()
}

// TestOnlyRootInTheTargetReadsCredentialsOfArchives: those over https, which no
// proxy can add.
func TestOnlyRootInTheTargetReadsCredentialsOfArchives(t *testing.T) {
	r := newRig(t)
	r.request.Args["archives"] = []any{"deb https://u:hidden@private.test/x noble main"}
	r.target.AddFile("/etc/apt/auth.conf.d/theirs.conf", "", 0o644)
	r.run()
	if auth, ok := r.target.File(archivesAuth); !ok || auth.Mode != 0o600 || !strings.Contains(auth.Data, "hidden") {
		t.Errorf("%s is %+v", archivesAuth, auth)
	}
	if n := strings.Count(r.target.Transcript(), "hidden"); n != 1 {
		t.Errorf("the password is in %d places of the target:\n%s", n, r.target.Transcript())
	}
}

// TestAnOldAptGetsItsCredentialsToo: it has no folder for such files.
func TestAnOldAptGetsItsCredentialsToo(t *testing.T) {
	r := newRig(t)
	r.request.Args["archives"] = []any{"deb https://u:hidden@private.test/x bionic main"}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	if auth, ok := r.target.File(oldArchivesAuth); !ok || auth.Mode != 0o600 || !strings.Contains(auth.Data, "hidden") {
		t.Errorf("%s is %+v", oldArchivesAuth, auth)
	}
	if conf, _ := r.target.File(archivesConf); !strings.Contains(conf.Data, "Dir::Etc::netrc \""+oldArchivesAuth+"\";\n") {
		t.Errorf("%s is %+v", archivesConf, conf)
	}
	if !strings.Contains(r.target.Transcript(), "chown _apt "+oldArchivesAuth) {
		t.Errorf("apt's user cannot read it:\n%s", r.target.Transcript())
	}
	if n := strings.Count(r.target.Transcript(), "hidden"); n != 1 {
		t.Errorf("the password is in %d places of the target:\n%s", n, r.target.Transcript())
	}
}

// A session of a fetch service is revoked in its own way, for every type of build.
func TestTheSessionOfAFetchServiceIsRevokedAsOne(t *testing.T) {
	r := newRig(t)
	r.withToken()
	body, authorized := "", false
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		data, _ := io.ReadAll(q.Body)
		_, _, authorized = q.BasicAuth()
		body += string(data)
	}))
	defer service.Close()
	r.request.Args["use_fetch_service"] = true
	r.request.Args["revocation_endpoint"] = service.URL
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	if body != `{"token":"s3cr3t"}` || authorized {
		t.Errorf("the service was sent %q, basic authentication %v", body, authorized)
	}
}

// TestTheTokenIsRevokedOnceInEveryEnding: also when the build never begins.
func TestTheTokenIsRevokedOnceInEveryEnding(t *testing.T) {
	broken := errors.New("it is broken")
	for _, c := range []struct {
		name   string
		status verdict.Outcome
		change func(*rig)
	}{
		{"a success", "OK", func(*rig) {}},
		{"a failed build", "PACKAGEFAIL", func(r *rig) {
			r.stub.build = func(context.Context, builders.Env) error {
				return &verdict.BuildError{Outcome: verdict.PackageFail, Err: broken}
			}
		}},
		{"a panic", "BUILDERFAIL", func(r *rig) {
			r.stub.build = func(context.Context, builders.Env) error { panic("it is broken") }
		}},
		{"an abort", "ABORTED", func(r *rig) {
			r.stub.build = func(context.Context, builders.Env) error {
				r.abort(errAborted)
				return broken
			}
		}},
		{"an abort before the first stage", "ABORTED", func(r *rig) { r.abort(errAborted) }},
		{"an image that does not unpack", "CHROOTFAIL", func(r *rig) {
			r.target.Fail("create", broken)
			r.request.Image = r.store("an image")
		}},
		{"a clean-up that fails", "BUILDERFAIL", func(r *rig) { r.target.Fail("remove", broken) }},
		{"a token that the build has revoked itself", "OK", func(r *rig) {
			r.stub.build = func(ctx context.Context, env builders.Env) error {
				env.RevokeProxy(ctx)
				return nil
			}
		}},
		{"an abort while the build revokes it", "ABORTED", func(r *rig) {
			r.stub.build = func(ctx context.Context, env builders.Env) error {
				r.abort(errAborted)
				env.RevokeProxy(ctx)
				return nil
			}
		}},
		{"no log", "BUILDERFAIL", func(r *rig) {
			if err := os.MkdirAll(filepath.Join(r.request.Settings.FileCache, "buildlog", "folder"), 0o700); err != nil {
				r.Fatal(err)
			}
		}},
		{"no limits", "BUILDERFAIL", func(r *rig) { r.machine.noGroup = "no control groups" }},
		{"a missing argument", "BUILDERFAIL", func(r *rig) { delete(r.request.Args, "series") }},
		{"a ledger that cannot be undone", "BUILDERFAIL", func(r *rig) { r.leavesContainer() }},
		{"no target", "BUILDERFAIL", func(r *rig) {
			r.machine.newTarget = func(place) (target, error) { return nil, &verdict.HostFault{Err: broken} }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			asked := r.withToken()
			c.change(r)
			if o := r.run(); o.Status != c.status {
				t.Errorf("the outcome is %+v", o)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("the token was revoked %d times", n)
			}
			if log, err := os.ReadFile(filepath.Join(r.request.Settings.FileCache, "buildlog")); err == nil &&
				strings.Count(string(log), "Revoking proxy token...\n") != 1 {
				t.Errorf("the log is %s", log)
			}
		})
	}
}
