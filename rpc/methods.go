package rpc

import (
	"context"
	"fmt"
)

// methodTable lists what can be called (spec: protocol.md section 4). The
// introspection methods are for people at a Python prompt.
func methodTable() []method {
	return []method{
		{
			"echo", -1, (*Server).echo,
			"echo(...): returns its arguments as an array. Works in every state.",
			[]string{"array"},
		},
		{
			"info", 0, (*Server).info,
			"info(): returns [protocol version, architecture, [build types]].",
			[]string{"array"},
		},
		{
			"status", 0, (*Server).status,
			"status(): returns a struct that says what the builder is doing and how the last build ended.",
			[]string{"struct"},
		},
		{
			"proxy_info", 0, (*Server).proxyInfo,
			"proxy_info(): returns use_fetch_service and revocation_endpoint of the current build; each may be nil.",
			[]string{"struct"},
		},
		{
			"ensurepresent", 4, (*Server).ensurePresent,
			"ensurepresent(sha1, url, username, password): fetches a file into the cache unless it is there. " +
				"All but sha1 may be nil; without a url it only looks. Returns [present, info].",
			[]string{"array", "string", "string", "string", "string"},
		},
		{
			"build", 5, (*Server).build,
			"build(build id, build type, base image's sha1, {file name: sha1}, arguments): starts a build. " +
				"The files must be in the cache. Returns [status, info] at once; poll status() for the result.",
			[]string{"array", "string", "string", "string", "struct", "struct"},
		},
		{
			"abort", 0, (*Server).abort,
			"abort(): stops the current build. Returns at once; poll status() until BuilderStatus.WAITING.",
			[]string{"string"},
		},
		{
			"clean", 0, (*Server).clean,
			"clean(): removes the results of a build that has ended and makes the builder idle.",
			[]string{"string"},
		},
		{
			"system.listMethods", 0, (*Server).listMethods,
			"system.listMethods(): returns the names of all methods.",
			[]string{"array"},
		},
		{
			"system.methodHelp", 1, (*Server).methodHelp,
			"system.methodHelp(name): returns what a method is for.",
			[]string{"string", "string"},
		},
		{
			"system.methodSignature", 1, (*Server).methodSignature,
			"system.methodSignature(name): returns an array of signatures: the type of the result, then those of the parameters.",
			[]string{"array", "string"},
		},
	}
}

func (s *Server) listMethods(context.Context, []any) (any, error) {
	names := make([]string, len(s.methods))
	for i, m := range s.methods {
		names[i] = m.name
	}
	return names, nil
}

func (s *Server) methodHelp(_ context.Context, params []any) (any, error) {
	m, err := s.named(params[0])
	return m.help, err
}

func (s *Server) methodSignature(_ context.Context, params []any) (any, error) {
	m, err := s.named(params[0])
	signature := make([]any, len(m.signature))
	for i, t := range m.signature {
		signature[i] = t
	}
	return []any{signature}, err
}

func (s *Server) named(param any) (method, error) {
	name, err := text("name", param)
	if err != nil {
		return method{}, err
	}
	m, known := s.byName[name]
	if !known {
		return method{}, fmt.Errorf("there is no method %.60q", name)
	}
	return m, nil
}
