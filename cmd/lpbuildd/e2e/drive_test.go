//go:build integration

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/rpc/wire"
)

// status asks a daemon that must answer.
func (b *builder) status() buildd.Status {
	b.t.Helper()
	st, err := b.client.Status(b.t.Context())
	must(b.t, err)
	return st
}

// build starts work.
func (b *builder) build(id string, w work) {
	b.t.Helper()
	b.accepts(w.request(id))
}

// accepts starts a build. A builder that is busy with what the last one has left
// refuses it after a while, as it may on a busy machine, and is asked again.
func (b *builder) accepts(r buildd.Request) {
	b.t.Helper()
	b.eventually("the build is accepted", func() bool {
		err := b.client.Build(b.t.Context(), r)
		if err != nil && !strings.Contains(err.Error(), "still being undone") {
			b.t.Fatal(err)
		}
		return err == nil
	})
}

// settled waits until no build runs. It bears a daemon that does not answer.
func (b *builder) settled() buildd.Status {
	b.t.Helper()
	var st buildd.Status
	b.eventually("the build ends", func() bool {
		var err error
		st, err = b.client.Status(b.t.Context())
		return err == nil && (st.State == buildd.Waiting || st.State == buildd.Idle)
	})
	return st
}

// finish waits for the end of a build, which must have this outcome.
func (b *builder) finish(outcome string) buildd.Status {
	b.t.Helper()
	st := b.settled()
	if st.State != buildd.Waiting || string(st.Outcome) != outcome {
		b.t.Fatalf("the build ended as %s %s, not as %s; its log:\n%s", st.State, st.Outcome, outcome, b.log())
	}
	return st
}

// run does work from beginning to end and returns the log.
func (b *builder) run(id string, w work, outcome string) (buildd.Status, string) {
	b.t.Helper()
	b.build(id, w)
	return b.finish(outcome), b.log()
}

// clean brings a builder that waits to rest, and checks that nothing is left.
func (b *builder) clean() {
	b.t.Helper()
	must(b.t, b.client.Clean(b.t.Context()))
	b.checkLeaks()
}

// log is the build log so far.
func (b *builder) log() string {
	b.t.Helper()
	data, err := b.download(wire.BuildLog)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(b.t, err)
	return string(data)
}

// reaches waits until the log has a text.
func (b *builder) reaches(text string) {
	b.t.Helper()
	b.eventually("the log says "+text, func() bool { return strings.Contains(b.log(), text) })
}

func (b *builder) download(name string) ([]byte, error) {
	file, err := b.client.OpenFile(context.WithoutCancel(b.t.Context()), name, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
}

// verify says what is wrong with the results and the log of a build that
// nobody disturbed.
func (b *builder) verify(w work, st buildd.Status) error {
	want, got := slices.Sorted(maps.Keys(w.results)), slices.Sorted(maps.Keys(st.FileMap))
	if !slices.Equal(want, got) {
		return fmt.Errorf("the results are %q and not %q", got, want)
	}
	for name, sum := range st.FileMap {
		if known := w.results[name]; known != "" && known != sum {
			return fmt.Errorf("the result %s is %s and not %s", name, sum, known)
		}
		data, err := b.download(sum)
		if err != nil || sha1Of(data) != sum {
			return fmt.Errorf("the result %s (%s) cannot be had: %d bytes, %w", name, sum, len(data), err)
		}
	}
	return inOrder(b.log(), w.lines)
}

// inOrder says which line is missing in a log.
func inOrder(log string, lines []string) error {
	for _, line := range lines {
		_, rest, found := strings.Cut(log, line)
		if !found {
			return fmt.Errorf("the log lacks %q, or has it too early", line)
		}
		log = line[len(line)-1:] + rest // lines share their ends
	}
	return nil
}

// cached tells whether the cache has a file.
func (b *builder) cached(sum string) bool {
	_, err := os.Stat(filepath.Join(b.cache, sum))
	return err == nil
}

// checkLog fails if the log lacks one of the texts.
func checkLog(t *testing.T, log string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(log, text) {
			t.Errorf("the log lacks %q:\n%s", text, log)
		}
	}
}
