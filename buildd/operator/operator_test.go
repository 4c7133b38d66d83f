package operator

import (
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/config"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// rig is a builder whose daemon does not run.
type rig struct {
	*Builder
	t     *testing.T
	asked string // what the helper was asked for
}

// newRig opens a builder whose helper answers so, with these keys as --set.
func newRig(t *testing.T, answer string, set ...string) *rig {
	t.Helper()
	cache := t.TempDir()
	if err := os.MkdirAll(filepath.Join(filecache.StateDirOf(cache), "build"), 0o700); err != nil { // it ran before
		t.Fatal(err)
	}
	r := &rig{t: t, asked: filepath.Join(t.TempDir(), "asked")}
	b, err := Open(config.Sources{
		File: filepath.Join(t.TempDir(), "none"), Environ: func(string) (string, bool) { return "", false },
		Set: append([]string{"builder.architecturetag=amd64", "builder.bindport=1", "builder.filecache=" + cache}, set...),
	}, buildd.Launcher{Stock: []string{"sh", "-c", `cat >"$0"; printf '%s' "$1"`, r.asked, answer}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r.Builder = b
	return r
}

// at writes the journal of a builder in this state.
func (r *rig) at(journal map[string]any) {
	r.t.Helper()
	if err := disk.WriteJSON(r.State().Journal(), journal); err != nil {
		r.t.Fatal(err)
	}
}

// file puts a file into the cache that was last used so long ago, and returns its
// SHA-1.
func (r *rig) file(content string, ago time.Duration) string {
	r.t.Helper()
	digest := sha1.Sum([]byte(content))
	sum := hex.EncodeToString(digest[:])
	path, then := filepath.Join(r.Cache.Dir(), sum), time.Now().Add(-ago)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(path, then, then); err != nil {
		r.t.Fatal(err)
	}
	return sum
}

// has says whether a file is in the cache.
func (r *rig) has(sum string) bool {
	_, err := os.Lstat(filepath.Join(r.Cache.Dir(), sum))
	return err == nil
}

// request is what the helper was asked for, "" if nothing.
func (r *rig) request() string {
	data, _ := os.ReadFile(r.asked)
	return string(data)
}

func TestOpenSaysWhoMay(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may do everything")
	}
	_, err := Open(config.Sources{
		File: "none", Environ: func(string) (string, bool) { return "", false },
		Set: []string{"builder.architecturetag=amd64", "builder.bindport=1", "builder.filecache=/"},
	}, buildd.Launcher{})
	if err == nil || !strings.Contains(err.Error(), "run this as root or as root") {
		t.Errorf("got %v", err)
	}
}

func TestStateIsFoundDespiteOtherMistakes(t *testing.T) {
	cache := t.TempDir()
	from := config.Sources{File: "none", Environ: func(string) (string, bool) { return "", false }, Set: []string{"builder.filecache=" + cache, "limits.memory=much"}}
	if got, err := StateOf(from); err != nil || got.Path() != filecache.StateDirOf(cache) {
		t.Errorf("got %s, %v", got, err)
	}
	from.Set = []string{"builder.filecache=/nonexistent"}
	if got, err := StateOf(from); err == nil || !strings.Contains(err.Error(), "builder.filecache") {
		t.Errorf("without a cache: %s, %v", got, err)
	}
}

func TestBuildUser(t *testing.T) {
	for uid, want := range map[string]string{"0": "configured", "2001": "owner"} {
		r := newRig(t, "{}", "builder.user=configured")
		owner := *r.Owner
		owner.Uid, owner.Username = uid, "owner"
		r.Owner = &owner
		if got := r.BuildUser(); got != want {
			t.Errorf("a cache of the uid %s: got %s", uid, got)
		}
	}
}
