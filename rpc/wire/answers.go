package wire

import (
	"fmt"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

// EncodeInfo makes the answer to info.
func EncodeInfo(info buildd.Info) []any { return []any{protocolVersion, info.Arch, info.Tags} }

// DecodeInfo reads it. The version of the protocol has only ever been one.
func DecodeInfo(value any) (buildd.Info, error) {
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

// EncodeProxyInfo makes the answer to proxy_info.
func EncodeProxyInfo(info buildd.ProxyInfo) ordered.Struct {
	return ordered.Struct{
		{Name: keyFetchService, Value: OrNil(info.UseFetchService)},
		{Name: keyRevocation, Value: OrNil(info.RevocationEndpoint)},
	}
}

// DecodeProxyInfo reads it.
func DecodeProxyInfo(value any) (buildd.ProxyInfo, error) {
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

// EncodePresence makes the answer to ensurepresent.
func EncodePresence(p buildd.Presence) []any { return []any{p.Present, p.Info} }

// DecodePresence reads it.
func DecodePresence(value any) (buildd.Presence, error) {
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

// OrNil is what a pointer points to, as XML-RPC has it.
func OrNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func badReply(method string, value any) error {
	return fmt.Errorf("cannot understand the reply to %s: %.200s", method, fmt.Sprintf("%v", value))
}
