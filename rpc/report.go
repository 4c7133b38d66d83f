package rpc

import (
	"context"

	"lpbuildd/rpc/wire"
)

func (s *Server) echo(_ context.Context, params []any) (any, error) { return params, nil }

func (s *Server) info(context.Context, []any) (any, error) {
	return wire.EncodeInfo(s.reporter.Info()), nil
}

func (s *Server) proxyInfo(context.Context, []any) (any, error) {
	info, err := s.reporter.ProxyInfo()
	return wire.EncodeProxyInfo(info), err
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
	return wire.EncodeStatus(st)
}
