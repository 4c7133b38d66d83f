package rpc

import (
	"context"
	"maps"
	"slices"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

func (s *Server) echo(_ context.Context, params []any) (any, error) { return params, nil }

func (s *Server) info(context.Context, []any) (any, error) {
	info := s.reporter.Info()
	return []any{protocolVersion, info.Arch, info.Tags}, nil
}

func (s *Server) proxyInfo(context.Context, []any) (any, error) {
	info, err := s.reporter.ProxyInfo()
	if err != nil {
		return nil, err
	}
	return ordered.Struct{
		{Name: keyFetchService, Value: orNil(info.UseFetchService)},
		{Name: keyRevocation, Value: orNil(info.RevocationEndpoint)},
	}, nil
}

func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// unheard marks the context of questions whose answers no manager gets.
type unheard struct{}

// Unheard is for a question that the daemon asks its own handler.
func Unheard(ctx context.Context) context.Context { return context.WithValue(ctx, unheard{}, true) }

func (s *Server) status(ctx context.Context, _ []any) (any, error) {
	st := s.reporter.Status()
	if ctx.Value(unheard{}) == nil {
		s.reporter.Told(st)
	}
	if st.Drained != "" {
		// To a manager every idle builder is one to give builds to. One whose
		// status it cannot have gets none, and nothing but the builder is blamed.
		return nil, &buildd.Fault{Reason: "status: " + st.Drained}
	}
	return statusMembers(st), nil
}

// statusMembers picks the keys of the state (spec: protocol.md section 6).
func statusMembers(st buildd.Status) ordered.Struct {
	members := make(ordered.Struct, 0, 6+len(st.Extra))
	add := func(name string, value any) { members = append(members, ordered.Member[any]{Name: name, Value: value}) }
	add(keyState, wireState(st.State))
	if st.Version != "" {
		add(keyVersion, st.Version)
	}
	switch st.State {
	case buildd.Idle:
		return members
	case buildd.Building:
		add(keyBuildID, st.BuildID)
		add(keyLogTail, st.LogTail)
	case buildd.Aborting:
		add(keyBuildID, st.BuildID)
	case buildd.Waiting:
		add(keyOutcome, buildPrefix+string(st.Outcome))
		add(keyBuildID, st.BuildID)
		if hasFiles(st.Outcome) {
			add(keyFileMap, st.FileMap)
			add(keyDependencies, st.Dependencies)
		}
	}
	return appendExtra(members, st.Extra)
}

// hasFiles says whether the protocol reports files with an outcome.
func hasFiles(outcome verdict.Outcome) bool {
	return outcome == verdict.OK || outcome == verdict.PackageFail || outcome == verdict.DepFail
}

// appendExtra adds the build type's own keys. One that cannot be sent is left
// out, so that it does not take the rest of the status with it.
func appendExtra(members ordered.Struct, extra map[string]any) ordered.Struct {
	if len(extra) == 0 {
		return members
	}
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		if isStandardKey(key) {
			continue
		}
		// The same depth as in the reply: inside one struct.
		if _, err := xmlrpc.AppendResponse(nil, []any{extra[key]}); err == nil {
			members = append(members, ordered.Member[any]{Name: key, Value: extra[key]})
		}
	}
	return members
}
