package build

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func TestWhatABuildOutOfProcessesEndsAs(t *testing.T) {
	fork := &verdict.BuildError{Outcome: verdict.PackageFail, Err: errors.New("fork: Resource temporarily unavailable")}
	fault := &verdict.HostFault{Err: errors.New("no network")}
	waits := &verdict.BuildError{Outcome: verdict.DepFail, Dependencies: "gone", Err: errors.New("gone is missing")}
	for name, tt := range map[string]struct {
		limit   int64
		refused int
		err     error
		status  verdict.Outcome
		cause   string
	}{
		"it had enough":                        {500, 0, fork, "PACKAGEFAIL", "fork: Resource"},
		"it wanted more":                       {500, 9, fork, "PACKAGEFAIL", "it started more processes than it may, and the kernel refused it more (limit [limits] processes = 500)"},
		"there is no limit":                    {0, 9, fork, "PACKAGEFAIL", "fork: Resource"},
		"it wanted more, and succeeded":        {500, 9, nil, "OK", ""},
		"the builder's fault is the builder's": {500, 9, fault, "BUILDERFAIL", "no network"},
		"it waits for a package":               {500, 9, waits, "DEPFAIL", "gone is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.request.Settings.Limits.Processes, r.refused = tt.limit, tt.refused
			r.stub.build = func(context.Context, builders.Env) error { return tt.err }
			if o := r.run(); o.Status != tt.status || !strings.Contains(o.Cause, tt.cause) || tt.cause == "" && o.Cause != "" {
				t.Errorf("got %s, %s", o.Status, o.Cause)
			}
		})
	}
}

func TestWhatABuildOutOfMemoryEndsAs(t *testing.T) {
	const limit = 4 << 30
	failed := func(o verdict.Outcome) error {
		return &verdict.BuildError{Outcome: o, Dependencies: "x", Err: errors.New("make: *** Killed")}
	}
	fault := &verdict.HostFault{Err: errors.New("no network")}
	tests := []struct {
		name   string
		limit  int64
		memory cgroup.Memory
		err    error
		status verdict.Outcome
		cause  string
	}{
		{"nothing was killed", limit, cgroup.Memory{Exceeded: true}, failed(verdict.PackageFail), "PACKAGEFAIL", "make: *** Killed"},
		{
			"it exceeded its limit", limit,
			cgroup.Memory{Kills: 2, Exceeded: true},
			failed(verdict.PackageFail), "PACKAGEFAIL",
			"the build was ended: it used more memory than it may, and the kernel killed 2 of its processes (limit [limits] memory = 4G)",
		},
		{
			"what it says about dependencies then is not to be trusted", limit,
			cgroup.Memory{Kills: 1, Exceeded: true},
			failed(verdict.DepFail), "PACKAGEFAIL",
			"it used more memory than it may",
		},
		{
			"the machine had no memory, and there is a limit", limit,
			cgroup.Memory{Kills: 1},
			failed(verdict.PackageFail), "BUILDERFAIL",
			"the machine had no memory left, and the kernel killed 1 processes of the build: make: *** Killed",
		},
		{"the machine had no memory, and there is no limit", 0, cgroup.Memory{Kills: 1, Exceeded: true}, failed(verdict.PackageFail), "BUILDERFAIL", "the machine had no memory left"},
		{"something was killed, but the build succeeded", limit, cgroup.Memory{Kills: 1, Exceeded: true}, nil, "OK", ""},
		{"the builder's fault stays the builder's", limit, cgroup.Memory{Kills: 1, Exceeded: true}, fault, "BUILDERFAIL", "no network"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.request.Settings.Limits.Memory = tt.limit
			r.memory = tt.memory
			r.stub.build = func(context.Context, builders.Env) error { return tt.err }
			o := r.run()
			if o.Status != tt.status || !strings.Contains(o.Cause, tt.cause) || tt.cause == "" && o.Cause != "" {
				t.Errorf("got %s, %s", o.Status, o.Cause)
			}
		})
	}
}

func TestABuildWithoutTheLimitsThatItShouldHaveDoesNotBegin(t *testing.T) {
	r := newRig(t)
	r.machine.noGroup = "cannot ask systemd for a scope: no such file"
	o := r.run()
	if o.Status != "BUILDERFAIL" || !strings.Contains(o.Cause, "[limits] cpus, memory): cannot ask systemd") || r.calls() != "" {
		t.Errorf("got %+v, the target was asked to %s", o, r.calls())
	}
	r.expectLog("lpbuildd config check")
}

func TestABuildIsToldOfItsProcessors(t *testing.T) {
	r := newRig(t)
	r.request.Settings.Limits.CPUs = 0.5
	r.stub.build = func(_ context.Context, env builders.Env) error {
		if env.CPUs != 1 {
			t.Errorf("half a processor: it is told of %d", env.CPUs)
		}
		return nil
	}
	r.run()
}
