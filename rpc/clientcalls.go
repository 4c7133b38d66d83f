package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
	"lpbuildd/ordered"
)

// Echo returns its arguments as the builder understood them.
func (c *Client) Echo(ctx context.Context, params ...any) ([]any, error) {
	value, err := c.Call(ctx, "echo", params...)
	if err != nil {
		return nil, err
	}
	echoed, ok := value.([]any)
	if !ok {
		return nil, badReply("echo", value)
	}
	return echoed, nil
}

// Info asks for the architecture and the build types.
func (c *Client) Info(ctx context.Context) (buildd.Info, error) {
	value, err := c.Call(ctx, "info")
	if err != nil {
		return buildd.Info{}, err
	}
	triple, _ := value.([]any)
	if len(triple) != 3 {
		return buildd.Info{}, badReply("info", value)
	}
	arch, isText := triple[1].(string)
	tags, isList := triple[2].([]any)
	if !isText || !isList {
		return buildd.Info{}, badReply("info", value)
	}
	info := buildd.Info{Arch: arch, Tags: make([]string, len(tags))}
	for i, tag := range tags {
		info.Tags[i] = fmt.Sprint(tag)
	}
	return info, nil
}

// Status asks what the builder is doing. State and Outcome come without the
// prefixes that they have on the wire. That an idle builder takes no builds is no
// error, but said in the result.
func (c *Client) Status(ctx context.Context) (buildd.Status, error) {
	value, err := c.Call(ctx, "status")
	if fault := (*Fault)(nil); errors.As(err, &fault) {
		if why, ok := strings.CutPrefix(fault.String, "status: "); ok && takesNoBuilds(why) {
			return buildd.Status{State: buildd.Idle, Drained: why}, nil
		}
	}
	if err != nil {
		return buildd.Status{}, err
	}
	members, ok := value.(ordered.Struct)
	if !ok {
		return buildd.Status{}, badReply("status", value)
	}
	return statusFrom(members)
}

// takesNoBuilds says whether that is a reason for a builder to take none.
func takesNoBuilds(why string) bool {
	return strings.HasPrefix(why, buildd.DrainedText) || strings.HasPrefix(why, buildd.BrokenText)
}

func statusFrom(members ordered.Struct) (buildd.Status, error) {
	state, ok := strings.CutPrefix(optional[string](members, keyState), builderPrefix)
	if !ok {
		return buildd.Status{}, badReply("status", members)
	}
	st := buildd.Status{
		State:        buildd.State(state),
		Version:      optional[string](members, keyVersion),
		BuildID:      optional[string](members, keyBuildID),
		LogTail:      optional[[]byte](members, keyLogTail),
		Outcome:      verdict.Outcome(strings.TrimPrefix(optional[string](members, keyOutcome), buildPrefix)),
		Dependencies: optional[string](members, keyDependencies),
	}
	if files, ok := members.Get(keyFileMap).(ordered.Struct); ok {
		st.FileMap = make(map[string]string, len(files))
		for _, m := range files {
			st.FileMap[m.Name], _ = m.Value.(string)
		}
	}
	members = slices.DeleteFunc(members, func(m ordered.Member[any]) bool { return isStandardKey(m.Name) })
	if len(members) > 0 {
		st.Extra = members.Plain()
	}
	return st, nil
}

// ProxyInfo asks for what the build was told about its proxy.
func (c *Client) ProxyInfo(ctx context.Context) (buildd.ProxyInfo, error) {
	value, err := c.Call(ctx, "proxy_info")
	if err != nil {
		return buildd.ProxyInfo{}, err
	}
	members, ok := value.(ordered.Struct)
	if !ok {
		return buildd.ProxyInfo{}, badReply("proxy_info", value)
	}
	var info buildd.ProxyInfo
	if use, ok := members.Get(keyFetchService).(bool); ok {
		info.UseFetchService = &use
	}
	if endpoint, ok := members.Get(keyRevocation).(string); ok {
		info.RevocationEndpoint = &endpoint
	}
	return info, nil
}

// EnsurePresent has the builder fetch a file, which may take minutes. That the
// file could not be had is no error, but said in the result.
func (c *Client) EnsurePresent(ctx context.Context, sum string, src buildd.Source) (buildd.Presence, error) {
	value, err := c.Call(ctx, "ensurepresent", sum, orNil(src.URL), src.Username, src.Password)
	if err != nil {
		return buildd.Presence{}, err
	}
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return buildd.Presence{}, badReply("ensurepresent", value)
	}
	present, isBool := pair[0].(bool)
	info, isText := pair[1].(string)
	if !isBool || !isText {
		return buildd.Presence{}, badReply("ensurepresent", value)
	}
	return buildd.Presence{Present: present, Info: info}, nil
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
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return badReply("build", value)
	}
	info, _ := pair[1].(string)
	switch pair[0] {
	case wireState(buildd.Building):
		return nil
	case unknownBuilder:
		return &buildd.UnknownTypeError{Tag: r.Tag, Known: knownTypes(info)}
	case unknownSum:
		return missingFile(r, info)
	}
	return badReply("build", value)
}

// knownTypes reads the list in the text behind UNKNOWNBUILDER.
func knownTypes(info string) []string {
	_, list, found := strings.Cut(info, " not in ['")
	if !found {
		return nil
	}
	return strings.Split(strings.TrimSuffix(list, "']"), "', '")
}

// missingFile finds the file that the text behind UNKNOWNSUM speaks of.
func missingFile(r buildd.Request, info string) error {
	first, _, _ := strings.Cut(info, "\n")
	if sum, isImage := strings.CutPrefix(first, imageLabel); isImage {
		return &buildd.UnknownSumError{Sum: sum}
	}
	sum := strings.TrimPrefix(first, fileLabel)
	for _, file := range r.Files {
		if file.Value == sum {
			return &buildd.UnknownSumError{Name: file.Name, Sum: sum}
		}
	}
	return badReply("build", info)
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

// optional is a member of a type, or that type's zero value.
func optional[T any](members ordered.Struct, key string) T {
	value, _ := members.Get(key).(T)
	return value
}

func badReply(method string, value any) error {
	return fmt.Errorf("cannot understand the reply to %s: %.200s", method, fmt.Sprintf("%v", value))
}
