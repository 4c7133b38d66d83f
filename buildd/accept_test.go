package buildd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

func TestRefusedRequestsChangeNothing(t *testing.T) {
	r := newRig(t)
	good := buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "wait"}}
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
		t.Run(name, func(t *testing.T) {
			err := r.Build(t.Context(), c.request)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" {
				t.Errorf("now %+v", s)
			}
		})
	}
}

func TestABusyBuilderRefusesWithoutSideEffects(t *testing.T) {
	r := newRig(t)
	r.build("wait")
	log := filepath.Join(r.config.Cache.Dir(), "buildlog")
	if err := os.WriteFile(log, []byte("so far"), 0o600); err != nil {
		t.Fatal(err)
	}
	var state *buildd.StateError
	err := r.Build(t.Context(), buildd.Request{BuildID: "B-2", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "wait"}})
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
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
	if err := r.Abort(t.Context()); !errors.As(err, &state) {
		t.Errorf("abort while waiting: %v", err)
	}
}

func TestProxyInfoAnswersForTheBuild(t *testing.T) {
	r := newRig(t)
	if _, err := r.ProxyInfo(); err == nil {
		t.Error("an idle builder has proxy info")
	}
	r.build("wait")
	if _, err := r.ProxyInfo(); err == nil {
		t.Error("binarypackage has proxy info")
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
	if err := r.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	use, endpoint := true, "http://proxy.test/1"
	request := buildd.Request{BuildID: "S-1", Tag: "snap", Image: r.image, Args: map[string]any{"script": "wait"}, Proxy: buildd.ProxyInfo{UseFetchService: &use, RevocationEndpoint: &endpoint}}
	if err := r.Build(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	r.restart()
	p, err := r.ProxyInfo()
	if err != nil || p.UseFetchService == nil || !*p.UseFetchService || *p.RevocationEndpoint != "http://proxy.test/1" {
		t.Errorf("%+v, %v", p, err)
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
}
