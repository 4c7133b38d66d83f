package rpc

import (
	"cmp"
	"context"
	"fmt"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/wire"
)

// ensurePresent ends with the client's connection: others that wait for the
// same file go on.
func (s *Server) ensurePresent(ctx context.Context, params []any) (any, error) {
	// It may take long, and must not keep the memory of a large call for that time.
	if size := sizeOf(params); size > smallBody {
		return nil, fmt.Errorf("sha1, url, username and password: expected at most %d bytes together, got %d", smallBody, size)
	}
	sum, err := text("sha1", params[0])
	if err != nil {
		return nil, err
	}
	var src buildd.Source
	if src.URL, err = textOrNil("url", params[1]); err != nil {
		return nil, err
	}
	if src.Username, err = textOrEmpty("username", params[2]); err != nil {
		return nil, err
	}
	if src.Password, err = textOrEmpty("password", params[3]); err != nil {
		return nil, err
	}
	presence, err := s.controller.EnsurePresent(ctx, sum, src)
	return wire.EncodePresence(presence), err
}

// The methods below change the state. They are carried out even if the client
// does not wait for the answer, lest one of them stops half-way.

func (s *Server) build(ctx context.Context, params []any) (any, error) {
	request, err := buildRequest(params)
	if err != nil {
		return nil, err
	}
	err = s.controller.Build(context.WithoutCancel(ctx), request)
	return wire.EncodeBuild(request.BuildID, err)
}

// buildRequest checks the types only. What is wrong with all but the build type
// goes on in the request, because other errors are to be reported before that.
func buildRequest(params []any) (buildd.Request, error) {
	var r buildd.Request
	var err error
	if r.Tag, err = text("build type", params[1]); err != nil {
		return r, err
	}
	r.BadInputs = readInputs(&r, params[2], params[3])
	id, idErr := textOrEmpty("build id", params[0])
	args, argsErr := structure("args", params[4])
	if argsErr == nil {
		_, argsErr = plain("args", args)
		r.Args = args.Plain()
		wire.ReadAcceptance(&r)
	}
	r.BuildID, r.Malformed = id, cmp.Or(idErr, argsErr)
	return r, nil
}

func readInputs(r *buildd.Request, image, filemap any) (err error) {
	if r.Image, err = text("chroot", image); err != nil {
		return err
	}
	files, err := structure("filemap", filemap)
	if err != nil {
		return err
	}
	r.Files = make(ordered.Map[string], 0, len(files))
	for _, m := range files {
		sum, err := text("filemap: "+m.Name, m.Value)
		if err != nil {
			return err
		}
		r.Files = append(r.Files, ordered.Member[string]{Name: m.Name, Value: sum})
	}
	return nil
}

func (s *Server) abort(ctx context.Context, _ []any) (any, error) {
	return wire.State(buildd.Aborting), s.controller.Abort(context.WithoutCancel(ctx))
}

func (s *Server) clean(ctx context.Context, _ []any) (any, error) {
	return wire.State(buildd.Idle), s.controller.Clean(context.WithoutCancel(ctx))
}
