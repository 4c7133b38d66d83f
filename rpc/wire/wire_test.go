package wire_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
	"lpbuildd/ordered"
	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

// sent is a value as the other side gets it.
func sent(t *testing.T, value any) any {
	t.Helper()
	doc, err := xmlrpc.AppendResponse(nil, value)
	if err != nil {
		t.Fatal(err)
	}
	got, err := xmlrpc.DecodeResponse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, st := range []buildd.Status{
		{State: buildd.Idle},
		{State: buildd.Idle, Version: "255"},
		{State: buildd.Building, BuildID: "X-1", LogTail: []byte("a\xff")},
		{State: buildd.Aborting, BuildID: "X-1", Extra: map[string]any{"revision_id": "r"}},
		{State: buildd.Waiting, BuildID: "X-1", Outcome: verdict.OK, FileMap: map[string]string{"a": "1", "b": "2"}},
		{State: buildd.Waiting, BuildID: "X-1", Outcome: verdict.DepFail, FileMap: map[string]string{}, Dependencies: "libfoo-dev (>= 2)"},
		{State: buildd.Waiting, BuildID: "X-1", Outcome: verdict.PackageFail, FileMap: map[string]string{}},
		{State: buildd.Waiting, BuildID: "X-1", Outcome: verdict.Aborted},
	} {
		members, err := wire.EncodeStatus(st)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := wire.DecodeStatus(sent(t, members)); err != nil || !reflect.DeepEqual(got, st) {
			t.Errorf("got %+v, %v, want %+v", got, err, st)
		}
	}
	info := buildd.Info{Arch: "amd64", Tags: []string{"a", "b"}}
	if got, err := wire.DecodeInfo(sent(t, wire.EncodeInfo(info))); err != nil || !reflect.DeepEqual(got, info) {
		t.Errorf("got %+v, %v", got, err)
	}
	presence := buildd.Presence{Present: true, Info: "Cache"}
	if got, err := wire.DecodePresence(sent(t, wire.EncodePresence(presence))); err != nil || got != presence {
		t.Errorf("got %+v, %v", got, err)
	}
	no, endpoint := false, "http://proxy.test/"
	for _, p := range []buildd.ProxyInfo{{}, {UseFetchService: &no}, {UseFetchService: &no, RevocationEndpoint: &endpoint}} {
		if got, err := wire.DecodeProxyInfo(sent(t, wire.EncodeProxyInfo(p))); err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
	}
}

func TestWhatCameOfABuildIsRead(t *testing.T) {
	request := buildd.Request{BuildID: "X-1", Tag: "snap", Image: "s0", Files: ordered.Map[string]{{Name: "a", Value: "s1"}, {Name: "b", Value: "s2"}}}
	for _, want := range []error{
		nil,
		&buildd.UnknownTypeError{Tag: "snap", Known: []string{"oci", "charm"}},
		&buildd.UnknownSumError{Sum: "s0"},
		&buildd.UnknownSumError{Name: "b", Sum: "s2"},
	} {
		pair, err := wire.EncodeBuild("X-1", want)
		if err != nil {
			t.Fatal(err)
		}
		if got := wire.DecodeBuild(request, sent(t, pair)); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	other := errors.New("no")
	if _, err := wire.EncodeBuild("X-1", other); !errors.Is(err, other) {
		t.Errorf("got %v", err)
	}
}

// The texts behind two answers are pinned, white space and quotes included.
func TestTextsOfRefusedBuilds(t *testing.T) {
	for want, err := range map[string]error{
		"x not in []":                          &buildd.UnknownTypeError{Tag: "x"},
		`x not in ['a', "b'c", '"\'', 'd\\n']`: &buildd.UnknownTypeError{Tag: "x", Known: []string{"a", "b'c", `"'`, `d\n`}},
		"CHROOTSUM -> s\n            ***** INFO *****\n            No URL\n            ****************\n            ":               &buildd.UnknownSumError{Sum: "s"},
		"FILESUM -> s\n                ***** INFO *****\n                No URL\n                ****************\n                ": &buildd.UnknownSumError{Name: "f", Sum: "s"},
	} {
		pair, encodeErr := wire.EncodeBuild("X-1", err)
		if encodeErr != nil || pair[1] != want {
			t.Errorf("got  %q, %v\nwant %q", pair, encodeErr, want)
		}
	}
}

func TestAnIdleBuilderThatTakesNoBuildsIsAFault(t *testing.T) {
	for why, want := range map[string]bool{
		buildd.DrainedText + "; because": true,
		buildd.BrokenText + ": disk":     true,
		"something else":                 false,
	} {
		st := buildd.Status{State: buildd.Idle, Drained: why}
		_, err := wire.EncodeStatus(st)
		var fault *buildd.Fault
		if !errors.As(err, &fault) {
			t.Fatalf("%q: %v", why, err)
		}
		if got, ok := wire.DecodeStatusFault(fault.Reason); ok != want || ok && !reflect.DeepEqual(got, st) {
			t.Errorf("%q: got %+v, %v", why, got, ok)
		}
		if _, ok := wire.DecodeStatusFault(why); ok {
			t.Errorf("%q: a fault of another method was taken for one of status", why)
		}
	}
}

func TestOddRepliesAreErrors(t *testing.T) {
	request := buildd.Request{Files: ordered.Map[string]{{Name: "a", Value: "s1"}}}
	decode := map[string]func(any) error{
		"info":          func(v any) error { _, err := wire.DecodeInfo(v); return err },
		"status":        func(v any) error { _, err := wire.DecodeStatus(v); return err },
		"proxy_info":    func(v any) error { _, err := wire.DecodeProxyInfo(v); return err },
		"ensurepresent": func(v any) error { _, err := wire.DecodePresence(v); return err },
		"build":         func(v any) error { return wire.DecodeBuild(request, v) },
	}
	replies := map[string][]any{
		"info":          {[]any{"1.0", "amd64"}, []any{"1.0", int64(1), []any{}}, []any{"1.0", "amd64", "snap"}},
		"status":        {ordered.Struct{}, ordered.Struct{{Name: "builder_status", Value: "IDLE"}}, ordered.Struct{{Name: "builder_status", Value: int64(1)}}},
		"proxy_info":    {[]any{}},
		"ensurepresent": {[]any{true}, []any{"true", "Cache"}, []any{true, nil}},
		"build": {
			[]any{"BuilderStatus.BUILDING"}, []any{"BuilderStatus.IDLE", "X"}, []any{"BuilderStatus.UNKNOWNSUM", "FILESUM -> s2\n"},
		},
	}
	for method, f := range decode {
		for _, reply := range append(replies[method], nil, "text", int64(7)) {
			if err := f(reply); err == nil || !strings.HasPrefix(err.Error(), "cannot understand the reply to "+method+": ") {
				t.Errorf("%s %v: got %v", method, reply, err)
			}
		}
	}
	if err := decode["info"](strings.Repeat("x", 1000)); len(err.Error()) > 300 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}
