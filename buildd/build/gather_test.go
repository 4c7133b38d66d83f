package build

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// meddler writes to a file as soon as somebody has read of it.
type meddler struct {
	*os.File
	meddle func()
}

// Read implements io.Reader.
func (m *meddler) Read(p []byte) (int, error) {
	n, err := m.File.Read(p)
	if m.meddle != nil {
		m.meddle()
		m.meddle = nil
	}
	return n, err
}

func TestResults(t *testing.T) {
	grow := func(path string) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("more")
		}
		if err != nil || f.Close() != nil {
			panic(err)
		}
	}
	for _, c := range []struct {
		name   string
		size   int64
		limit  int64
		meddle func(path string)
		status verdict.Outcome
		cause  string
	}{
		{"as it is", 10, 10, nil, "OK", ""},
		{"an empty one", 0, 0, nil, "OK", ""},
		{"one that grows", 10, 0, grow, "PACKAGEFAIL", "cannot store a.deb: cannot store a file in the cache: it was written to while it was gathered"},
		{"one that shrinks", 1 << 20, 0, func(path string) { _ = os.Truncate(path, 5) }, "PACKAGEFAIL", "cannot store a.deb: cannot store a file in the cache: it was written to while it was gathered"},
		{"a larger one than the limit", 11, 10, nil, "PACKAGEFAIL", "the build was ended: its results have more than 10 bytes (limit [limits] results)"},
		{"a sparse terabyte", 1 << 40, 64 << 30, nil, "PACKAGEFAIL", "the build was ended: its results have more than 68719476736 bytes (limit [limits] results)"},
		{"more than the disk has", 1 << 42, 0, nil, "BUILDERFAIL", "cannot store a.deb: 4398046511104 bytes do not fit on the disk of the file cache, which has "},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.request.Settings.ResultLimit = c.limit
			path := filepath.Join(t.TempDir(), "result")
			r.stub.gather = func(add func(string, io.ReadCloser) error) error {
				f, err := os.Create(path)
				if err == nil {
					err = f.Truncate(c.size)
				}
				if err != nil {
					return err
				}
				m := &meddler{File: f}
				if c.meddle != nil {
					m.meddle = func() { c.meddle(path) }
				}
				return add("a.deb", m)
			}
			o := r.run()
			if o.Status != c.status || !strings.HasPrefix(o.Cause, c.cause) || (o.FileMap["a.deb"] != "") != (c.status == "OK") {
				t.Errorf("the outcome is %+v", o)
			}
		})
	}
}

// TestTheLimitCountsAllResults, also those whose size nobody knows beforehand.
func TestTheLimitCountsAllResults(t *testing.T) {
	r := newRig(t)
	r.request.Settings.ResultLimit = 15
	r.stub.gather = func(add func(string, io.ReadCloser) error) error {
		for _, name := range []string{"a", "b"} {
			if err := add(name, io.NopCloser(strings.NewReader(strings.Repeat(name, 10)))); err != nil {
				return err
			}
		}
		return nil
	}
	if o := r.run(); o.Status != "PACKAGEFAIL" || !strings.Contains(o.Cause, "[limits] results") || o.FileMap["a"] == "" || o.FileMap["b"] != "" {
		t.Errorf("the outcome is %+v", o)
	}
}

// TestNothingRunsWhileResultsAreGathered.
func TestNothingRunsWhileResultsAreGathered(t *testing.T) {
	r := newRig(t)
	var order []string
	r.kill = func(context.Context) error {
		order = append(order, "kill")
		return nil
	}
	r.stub.build = func(context.Context, builders.Env) error {
		order = append(order, "build")
		return nil
	}
	r.stub.gather = func(func(string, io.ReadCloser) error) error {
		order = append(order, "gather")
		return nil
	}
	r.run()
	if want := []string{"build", "kill", "gather", "kill"}; !slices.Equal(order, want) {
		t.Errorf("got %v", order)
	}
}

func TestWhatIsNoResult(t *testing.T) {
	for name, c := range map[string]struct {
		count int64
		cause string
		open  func(t *testing.T) (io.ReadCloser, error)
	}{
		"one too many": {maxResults, "it has more than 250000 results", func(*testing.T) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("x")), nil
		}},
		"a folder": {0, "it is no regular file", func(t *testing.T) (io.ReadCloser, error) { return os.Open(t.TempDir()) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.replace(StageBuild, func(_ context.Context, b *build) error {
				b.books.stored.count = c.count
				return nil
			})
			r.stub.gather = func(add func(string, io.ReadCloser) error) error {
				content, err := c.open(t)
				if err != nil {
					return err
				}
				return add("a.deb", content)
			}
			if o := r.run(); o.Status != "PACKAGEFAIL" || !strings.Contains(o.Cause, c.cause) || len(o.FileMap) != 0 {
				t.Errorf("the outcome is %+v", o)
			}
		})
	}
}
