package rpc_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/fake"
	"lpbuildd/rpc/xmlrpc"
)

// wireStatus is the struct that status answers.
func wireStatus(t *testing.T, st buildd.Status) map[string]any {
	t.Helper()
	value, err := xmlrpc.DecodeResponse(post(t, handler(fake.New(st)), encode(t, "status")).Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return value.(ordered.Struct).Plain()
}

func TestStatusKeys(t *testing.T) {
	for _, test := range []struct {
		name string
		st   buildd.Status
		want string
	}{
		{"idle", buildd.Status{State: buildd.Idle}, "builder_status"},
		{"idle, with what is left of a build", buildd.Status{State: buildd.Idle, BuildID: "X", Outcome: "OK", Extra: map[string]any{"a": "b"}}, "builder_status"},
		{"a known version", buildd.Status{State: buildd.Idle, Version: "254"}, "builder_status builder_version"},
		{"building", buildd.Status{State: buildd.Building, BuildID: "X"}, "build_id builder_status logtail"},
		{"aborting", buildd.Status{State: buildd.Aborting, BuildID: "X", LogTail: []byte("x")}, "build_id builder_status"},
		{"a build that went well", buildd.Status{State: buildd.Waiting, Outcome: "OK"}, "build_id build_status builder_status dependencies filemap"},
		{"a package that failed", buildd.Status{State: buildd.Waiting, Outcome: "PACKAGEFAIL"}, "build_id build_status builder_status dependencies filemap"},
		{"missing dependencies", buildd.Status{State: buildd.Waiting, Outcome: "DEPFAIL"}, "build_id build_status builder_status dependencies filemap"},
		{"given back", buildd.Status{State: buildd.Waiting, Outcome: "GIVENBACK", FileMap: map[string]string{"a": "b"}}, "build_id build_status builder_status"},
		{"a bad image", buildd.Status{State: buildd.Waiting, Outcome: "CHROOTFAIL"}, "build_id build_status builder_status"},
		{"a bad builder", buildd.Status{State: buildd.Waiting, Outcome: "BUILDERFAIL"}, "build_id build_status builder_status"},
		{"aborted", buildd.Status{State: buildd.Waiting, Outcome: "ABORTED"}, "build_id build_status builder_status"},
		{"extra keys", buildd.Status{State: buildd.Aborting, Extra: map[string]any{"revision_id": "8d5e", "jobs": map[string]any{}}}, "build_id builder_status jobs revision_id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(slices.Sorted(maps.Keys(wireStatus(t, test.st))), " ")
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestStatusValues(t *testing.T) {
	got := wireStatus(t, buildd.Status{
		State: buildd.Waiting, Version: "254", BuildID: "SNAPBUILD-4321", Outcome: "OK",
		FileMap: map[string]string{"hello_1_amd64.snap": "0b0f"}, Extra: map[string]any{"revision_id": "8d5e"},
	})
	want := map[string]any{
		"builder_status": "BuilderStatus.WAITING", "builder_version": "254", "build_status": "BuildStatus.OK",
		"build_id": "SNAPBUILD-4321", "filemap": ordered.Struct{{Name: "hello_1_amd64.snap", Value: "0b0f"}}, "dependencies": "",
		"revision_id": "8d5e",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStatusCanAlwaysBeRead(t *testing.T) {
	deep := any("x")
	for range 70 {
		deep = []any{deep}
	}
	got := wireStatus(t, buildd.Status{
		State: buildd.Waiting, BuildID: "X\x00", Outcome: "OK", Dependencies: "a\x1b[0m\xff",
		FileMap: map[string]string{"odd\x07name": "s"},
		Extra: map[string]any{
			"build_id": "replaced", "logtail": "smuggled", "deep": deep, "large": int64(1) << 40, "strange": struct{}{}, "fine": 1.5,
		},
	})
	want := map[string]any{
		"builder_status": "BuilderStatus.WAITING", "build_status": "BuildStatus.OK", "build_id": "X\uFFFD",
		"filemap": ordered.Struct{{Name: "odd\uFFFDname", Value: "s"}}, "dependencies": "a\uFFFD[0m\uFFFD", "fine": 1.5,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStatusOfADrainedBuilderIsAFault(t *testing.T) {
	why := buildd.DrainedText + " (new kernel)"
	fault, header := faultOf(t, handler(fake.New(buildd.Status{State: buildd.Idle, Drained: why})), encode(t, "status"))
	if want := "status: " + why; fault.Code != 8002 || fault.String != want || header != want {
		t.Errorf("got %+v, %q", fault, header)
	}
}
