package job_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/builders/site"
	"lpbuildd/ordered"
)

func TestAnOutcomeComesBackAsItWas(t *testing.T) {
	dir := t.TempDir()
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
			Overlay: "auto", TmpfsBytes: 1 << 40, KeepRoots: 2,
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

func TestWriteFileReplacesAFileAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, value := range []string{"first", "second"} {
		if err := job.WriteFile(path, value); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := job.ReadFile(path, &got); err != nil || got != value {
			t.Errorf("read %q, %v", got, err)
		}
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v: others could read it", info.Mode(), err)
	}
	expectNames(t, dir, "state.json")
}

func TestAFailedWriteKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := job.WriteFile(path, "old"); err != nil {
		t.Fatal(err)
	}
	if err := job.WriteFile(path, func() {}); err == nil {
		t.Error("a function was written as JSON")
	}
	var got string
	if err := job.ReadFile(path, &got); err != nil || got != "old" {
		t.Errorf("read %q, %v", got, err)
	}
	// A folder in its place cannot be replaced.
	if err := os.MkdirAll(filepath.Join(dir, "folder", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := job.WriteFile(filepath.Join(dir, "folder"), "new"); err == nil {
		t.Error("a folder was replaced")
	}
	expectNames(t, dir, "folder", "state.json")
}

func TestReadFileNamesWhatItCannotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, []byte(`{"half`), 0o600); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := job.ReadFile(path, &v); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("half a file: %v", err)
	}
}

func TestRemoveTemporariesRemovesNothingElse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".tmp-123", ".tmp-abc", "journal.json", "tmp", ".tmpfs"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := job.RemoveTemporaries(dir); err != nil {
		t.Fatal(err)
	}
	expectNames(t, dir, ".tmpfs", "journal.json", "tmp")
	if err := job.RemoveTemporaries(filepath.Join(dir, "nosuch")); err == nil {
		t.Error("a missing folder is no error")
	}
}

// expectNames compares the sorted names in a folder.
func expectNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
}

func TestAReserveHasItsRoom(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, job.ReserveName)
	if err := os.WriteFile(path, []byte("as a crash leaves it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := job.MakeReserve(dir); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 {
			t.Errorf("got %v, %v", info, err)
		}
	}
}
