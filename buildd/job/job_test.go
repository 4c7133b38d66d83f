package job_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"testing"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/builders/site"
	"lpbuildd/ordered"
)

func TestAnOutcomeComesBackAsItWas(t *testing.T) {
	dir := state.Build(t.TempDir())
	if _, err := job.ReadOutcome(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before there is one: %v", err)
	}
	want := job.Outcome{
		BuildID: "B-1", Status: "DEPFAIL", Dependencies: "libfoo (>= 1)", Stage: "build", Cause: "no libfoo",
		FileMap: map[string]string{"a&b.deb": "0b0f"}, Added: []string{"0b0f"},
		Extra: map[string]any{"revision_id": "r1", "jobs": map[string]any{"build:0": "OK"}},
	}
	if err := job.WriteOutcome(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := job.ReadOutcome(dir)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestARequestComesBackAsItWas(t *testing.T) {
	want := job.Message{Request: &job.Request{
		BuildID: "B-1", Tag: "binarypackage", Image: "1234", Files: ordered.Map[string]{{Name: "a.dsc", Value: "5678"}}, Arch: "amd64",
		Args: map[string]any{"series": "noble", "archives": []any{"deb http://a/ noble main"}, "private": true, "none": nil},
		Settings: job.Settings{
			Home: "/home/b", FileCache: "/cache", SharePath: "/share", User: "b", Site: site.Site{AptProxy: "http://p/", NTPHost: "ntp"},
			Overlay: "auto", TmpfsBytes: 1 << 40, MaxRoots: 2,
			WallLimit: time.Hour, SilenceLimit: time.Minute, LogLimit: 1 << 32, ResultLimit: 1 << 36, AbortLimit: 2 * time.Minute,
		},
	}}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got job.Message
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got.Request, err, want.Request)
	}
}
