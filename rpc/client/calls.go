package client

import (
	"context"
	"errors"
	"fmt"

	"lpbuildd/buildd"
	"lpbuildd/rpc/wire"
)

// Echo returns its arguments as the builder understood them.
func (c *Client) Echo(ctx context.Context, params ...any) ([]any, error) {
	value, err := c.Call(ctx, "echo", params...)
	if err != nil {
		return nil, err
	}
	echoed, ok := value.([]any)
	if !ok {
		return nil, fmt.Errorf("cannot understand the reply to echo: expected an array, got a %T", value)
	}
	return echoed, nil
}

// Info asks for the architecture and the build types.
func (c *Client) Info(ctx context.Context) (buildd.Info, error) {
	value, err := c.Call(ctx, "info")
	if err != nil {
		return buildd.Info{}, err
	}
	return wire.DecodeInfo(value)
}

// Status asks what the builder is doing. That an idle builder takes no builds is
// no error, but said in the result.
func (c *Client) Status(ctx context.Context) (buildd.Status, error) {
	value, err := c.Call(ctx, "status")
	if fault := (*Fault)(nil); errors.As(err, &fault) {
		if st, ok := wire.DecodeStatusFault(fault.String); ok {
			return st, nil
		}
	}
	if err != nil {
		return buildd.Status{}, err
	}
	return wire.DecodeStatus(value)
}

// ProxyInfo asks for what the build was told about its proxy.
func (c *Client) ProxyInfo(ctx context.Context) (buildd.ProxyInfo, error) {
	value, err := c.Call(ctx, "proxy_info")
	if err != nil {
		return buildd.ProxyInfo{}, err
	}
	return wire.DecodeProxyInfo(value)
}

// EnsurePresent has the builder fetch a file, which may take minutes. That the
// file could not be had is no error, but said in the result.
func (c *Client) EnsurePresent(ctx context.Context, sum string, src buildd.Source) (buildd.Presence, error) {
	value, err := c.Call(ctx, "ensurepresent", sum, wire.OrNil(src.URL), src.Username, src.Password)
	if err != nil {
		return buildd.Presence{}, err
	}
	return wire.DecodePresence(value)
}

// Build starts a build. A *buildd.UnknownTypeError or *buildd.UnknownSumError
// says that the builder cannot do it now.
func (c *Client) Build(ctx context.Context, r buildd.Request) error {
	args := r.Args
	if args == nil {
		args = map[string]any{}
	}
	value, err := c.Call(ctx, "build", r.BuildID, r.Tag, r.Image, r.Files, args)
	if err != nil {
		return err
	}
	return wire.DecodeBuild(r, value)
}

// Abort stops the current build. It does not wait for the end of it.
func (c *Client) Abort(ctx context.Context) error {
	_, err := c.Call(ctx, "abort")
	return err
}

// Clean removes the results of a build that has ended.
func (c *Client) Clean(ctx context.Context) error {
	_, err := c.Call(ctx, "clean")
	return err
}
