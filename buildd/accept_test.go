package buildd_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

func TestRefusedRequestsChangeNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		good := r.request("wait")
		change := func(f func(*buildd.Request)) buildd.Request {
			request := good
			f(&request)
			return request
		}
		for name, c := range map[string]struct {
			request buildd.Request
			want    string
		}{
			"unknown type":  {change(func(r *buildd.Request) { r.Tag, r.Image, r.BuildID = "nosuch", "gone", "" }), `unknown build type "nosuch"`},
			"unknown image": {change(func(r *buildd.Request) { r.Image, r.BuildID = "gone", "" }), "the base image gone is not"},
			"unknown file":  {change(func(r *buildd.Request) { r.Files, r.BuildID = ordered.Map[string]{{Name: "a.dsc", Value: "gone"}}, "" }), "the file a.dsc (gone) is not"},
			"two unknown files": {change(func(r *buildd.Request) {
				r.Files = ordered.Map[string]{{Name: "z.tar", Value: "gone"}, {Name: "a.dsc", Value: "gone, too"}}
			}), "the file z.tar (gone) is not"},
			"empty id":            {change(func(r *buildd.Request) { r.BuildID = "" }), "build id: expected a non-empty string"},
			"id with a path":      {change(func(r *buildd.Request) { r.BuildID = "../x" }), "build id: expected a single path component"},
			"id no XML has":       {change(func(r *buildd.Request) { r.BuildID = "a\x01" }), "no control characters"},
			"overlong id":         {change(func(r *buildd.Request) { r.BuildID = strings.Repeat("x", 300) }), "at most 200 bytes"},
			"a malformed request": {change(func(r *buildd.Request) { r.Malformed = errors.New("args: expected a struct") }), "build: args: expected a struct"},
			"a malformed request of an unknown type": {change(func(r *buildd.Request) {
				r.Tag, r.Malformed = "nosuch", errors.New("args: expected a struct")
			}), "unknown build type"},
			"an image that is no text": {change(func(r *buildd.Request) { r.BadInputs = errors.New("chroot: expected a string") }), "build: chroot: expected a string"},
			"an image that is no text of an unknown type": {change(func(r *buildd.Request) {
				r.Tag, r.BadInputs = "nosuch", errors.New("chroot: expected a string")
			}), "unknown build type"},
			"missing arguments": {change(func(r *buildd.Request) { r.Args = nil }), "build: args: script is required"},
		} {
			err := r.Build(t.Context(), c.request)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", name, err, c.want)
			}
			if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" {
				t.Errorf("%s: now %+v", name, s)
			}
		}
	})
}

func TestABusyBuilderRefusesWithoutSideEffects(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("wait")
		r.write(filepath.Join(r.config.Cache.Dir(), "buildlog"), "so far")
		var state *buildd.StateError
		err := r.Build(t.Context(), r.request("wait"))
		if !errors.As(err, &state) {
			t.Errorf("build: %v", err)
		}
		if err := r.Clean(t.Context()); !errors.As(err, &state) {
			t.Errorf("clean: %v", err)
		}
		s := r.Status()
		if s.State != buildd.Building || s.BuildID != "B-1" || string(s.LogTail) != "so far" {
			t.Errorf("now %+v", s)
		}
		r.abort()
		r.is(buildd.Waiting)
		if err := r.Abort(t.Context()); !errors.As(err, &state) {
			t.Errorf("abort while waiting: %v", err)
		}
	})
}

func TestProxyInfoAnswersForTheBuild(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if _, err := r.ProxyInfo(); err == nil {
			t.Error("an idle builder has proxy info")
		}
		r.build("wait")
		if _, err := r.ProxyInfo(); err == nil {
			t.Error("binarypackage has proxy info")
		}
		r.abort()
		r.is(buildd.Waiting)
		r.clean()
		use, endpoint := true, "http://proxy.test/1"
		r.build("wait", func(r *buildd.Request) {
			r.Tag, r.Proxy = "snap", buildd.ProxyInfo{UseFetchService: &use, RevocationEndpoint: &endpoint}
		})
		r.restart()
		p, err := r.ProxyInfo()
		if err != nil || p.UseFetchService == nil || !*p.UseFetchService || *p.RevocationEndpoint != "http://proxy.test/1" {
			t.Errorf("%+v, %v", p, err)
		}
		r.abort()
		r.is(buildd.Waiting)
	})
}

// TestTheTailOfAPrivateLogIsCut: of each build of a type that is always cut, and of
// private builds of others.
func TestTheTailOfAPrivateLogIsCut(t *testing.T) {
	for _, c := range []struct {
		tag     string
		private bool
		want    string
	}{
		{"binarypackage", false, "half a line\na line\n"},
		{"binarypackage", true, "a line"},
		{"snap", false, "a line"},
		{"snap", true, "a line"},
	} {
		inBubble(t, func(t *testing.T, r *rig) {
			r.build("wait", func(r *buildd.Request) { r.Tag, r.Private = c.tag, c.private })
			for _, when := range []string{"at first", "after a restart"} {
				r.write(filepath.Join(r.config.Cache.Dir(), "buildlog"), "half a line\na line\n")
				if s := r.Status(); string(s.LogTail) != c.want {
					t.Errorf("%+v, %s: the tail of the log is %q", c, when, s.LogTail)
				}
				r.restart()
			}
			r.Status()
			r.abort()
			if n := opened(r, "buildlog"); n > 0 {
				t.Errorf("%+v: the log is open %d times", c, n)
			}
		})
	}
}

// TestABuildThatIsHandedOverSlowlyDisturbsNobody: its supervisor does not read the
// request yet.
func TestABuildThatIsHandedOverSlowlyDisturbsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.mute = true
		answer := make(chan error, 1)
		go func() { answer <- r.Build(t.Context(), r.request("wait")) }()
		synctest.Wait()
		r.is(buildd.Building)
		var state *buildd.StateError
		if err := r.Build(t.Context(), r.request("wait")); !errors.As(err, &state) {
			t.Errorf("another build(): %v", err)
		}
		if err := r.Clean(t.Context()); !errors.As(err, &state) {
			t.Errorf("clean(): %v", err)
		}
		r.abort()
		r.is(buildd.Aborting)
		supervisor := r.root.last()
		supervisor.listen()
		synctest.Wait()
		if err := <-answer; err != nil {
			t.Errorf("build(): %v", err)
		}
		if n := supervisor.abortsHeard(); n != 1 {
			t.Errorf("the supervisor was told to abort %d times", n)
		}
		if s := r.is(buildd.Waiting); s.Outcome != "ABORTED" {
			t.Errorf("it ended as %s", s.Outcome)
		}
	})
}

// TestABuildThatIsNotHandedOverIsForgotten: 20 seconds are enough for a supervisor
// that is well.
func TestABuildThatIsNotHandedOverIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.mute = true
		begun := time.Now()
		err := r.Build(t.Context(), r.request("wait"))
		if fault := (*buildd.Fault)(nil); !errors.As(err, &fault) || !strings.HasPrefix(fault.Reason, "build: cannot send the request to the supervisor: ") {
			t.Errorf("build(): %v", err)
		}
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("it took %s", took)
		}
		if s := r.is(buildd.Idle); s.Drained != "" || r.buildLog() != "" {
			t.Errorf("now %+v", s)
		}
	})
}

// TestCallsFailWhenTheDaemonStops, and do not wait.
func TestCallsFailWhenTheDaemonStops(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Close()
		r.Close()
		for name, err := range map[string]error{
			"build": r.Build(t.Context(), r.request("wait")), "abort": r.Abort(t.Context()), "clean": r.Clean(t.Context()),
		} {
			if fault := (*buildd.Fault)(nil); !errors.As(err, &fault) || !strings.Contains(fault.Reason, "the builder's daemon stops") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s := r.Status(); s.State != buildd.Idle {
			t.Errorf("status: %+v", s)
		}
	})
}
