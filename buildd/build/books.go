package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// books are what a build writes down: what has to be undone, the results, and the
// outcome.
type books struct {
	dir      state.Build // the build's folder in the state folder
	settings job.Settings
	voice    *voice
	tell     func(func(*job.Event))

	cache  *filecache.Cache
	ledger *ledger.Ledger
	// list names what batch has brought into the cache, a line each, from before it
	// is there. There may be a hundred thousand of them, so it does not go to the
	// disk at once like the ledger: a machine that crashes may lose it, and then
	// leaves files in the cache that are checked and evicted like all others.
	list  *os.File
	batch *filecache.Batch
	// remove deletes a file of undoLater.
	remove func(path string) error
	// stored is how many results there are, and how large they are together.
	stored struct{ count, bytes int64 }
	// unwritten is why there is no outcome file.
	unwritten error

	mu      sync.Mutex // guards what follows
	results map[string]string
	added   []string
	extra   map[string]any
}

func (k *books) openCache() (err error) {
	k.cache, err = filecache.Open(k.settings.FileCache, filecache.Options{Log: k.voice.daemon, BeforeNew: k.noteResult})
	return err
}

// openLedger cleans what an earlier build left (fast clean-up leaves its build
// directory), opens the ledger of this one, and begins the list of its results.
func (k *books) openLedger(ctx context.Context) (err error) {
	c := &leftovers.Cleaner{
		Dir: k.dir, Log: k.voice.daemon, Report: k.reportDamage,
		Builder: job.Builder{Home: k.settings.Home, Container: k.settings.Container},
		// That build had an outcome, or they were removed long ago: what has such a
		// name now may be an input of this one.
		KeepResults: true,
	}
	if err := c.Clean(ctx); err != nil {
		return fmt.Errorf("cannot clean up after the last build: %w", err)
	}
	if k.ledger, err = ledger.Open(k.dir.Ledger()); err != nil {
		return err
	}
	path := k.dir.Results()
	if err := disk.Remove(path); err != nil {
		return err
	}
	k.list, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	k.batch = k.cache.NewBatch()
	return err
}

const damaged = leftovers.Damaged

// reportDamage tells people of what an earlier build has left, and how.
func (k *books) reportDamage(err error) {
	k.voice.say("The builder's record of what builds leave was damaged; it cleans up after earlier ones by what it finds: %v", err)
	k.voice.daemon.Error(damaged, "error", err)
}

// record and done keep the ledger for the backends.
func (k *books) record(kind, name string) error {
	return k.ledger.Add(ledger.Entry{Kind: ledger.Kind(kind), Name: name})
}

func (k *books) done(kind, name string) error {
	return k.ledger.Done(ledger.Entry{Kind: ledger.Kind(kind), Name: name})
}

// undoLater notes a file outside the build directory, before the build type makes
// it.
func (k *books) undoLater(path string) error {
	return k.ledger.Add(ledger.Entry{Kind: ledger.File, Name: path})
}

// files are those of undoLater that are there still.
func (k *books) files() []ledger.Entry {
	if k.ledger == nil {
		return nil
	}
	return slices.DeleteFunc(k.ledger.Entries(), func(e ledger.Entry) bool { return e.Kind != ledger.File })
}

// undoFiles removes these files.
func (k *books) undoFiles() error {
	var errs []error
	for _, e := range k.files() {
		err := k.remove(e.Name)
		if err == nil {
			err = k.ledger.Done(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// noteResult is called before something new gets its name in the cache.
func (k *books) noteResult(name string) error {
	_, err := k.list.WriteString(name + "\n")
	return err
}

// addResult notes what is in the cache under a result's name.
func (k *books) addResult(name string, stored filecache.Stored) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.results[name] != "" {
		k.voice.say("The result %s comes twice; the later one counts.", name)
	}
	k.results[name] = stored.SHA1
	if stored.New {
		k.added = append(k.added, stored.SHA1)
	}
}

// sync returns when all results are on the disk. If they are not, there are none,
// and it adds that to the error of the stage that stored them.
func (k *books) sync(stored error) error {
	if k.batch == nil {
		return stored
	}
	err := k.batch.Sync()
	if err == nil {
		return stored
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.results)
	return errors.Join(stored, &verdict.HostFault{
		Err:    fmt.Errorf("the results did not reach the disk: %w", err),
		Advice: "Check the disk of the file cache.",
	})
}

// setExtra publishes a key of the extra status (spec: protocol.md section 13).
func (k *books) setExtra(key string, value any) {
	// It may tell of results. What is not on the disk ends the stage soon.
	if err := k.sync(nil); err != nil {
		k.voice.daemon.Error("Results did not reach the disk", "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	extra := maps.Clone(k.extra)
	if extra == nil {
		extra = map[string]any{}
	}
	extra[key] = value
	k.extra = extra
	k.tell(func(e *job.Event) { e.Extra = extra })
}

// fill adds the results to an outcome. An abandoned stage may still write to the
// originals.
func (k *books) fill(o *job.Outcome) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o.FileMap, o.Added, o.Extra = maps.Clone(k.results), slices.Clone(k.added), k.extra
}

// close writes the outcome. From then on the results are the daemon's, and nothing
// stands in the ledger any more unless something is left.
func (k *books) close(o job.Outcome) {
	k.unwritten = job.WriteOutcome(k.dir, o)
	if k.ledger != nil {
		open := k.ledger.Entries()
		err := errors.Join(k.closeList(), k.ledger.Close())
		if err == nil && len(open) == 0 {
			err = errors.Join(os.Remove(k.dir.Ledger()), disk.Remove(k.dir.Container()))
		}
		if err != nil {
			k.voice.daemon.Error("Cannot close the ledger", "error", err)
		}
	}
	if k.cache != nil {
		if err := k.cache.Close(); err != nil {
			k.voice.daemon.Error("Cannot close the file cache", "error", err)
		}
	}
}

// closeList forgets the list of results if the outcome, which has them, is written.
func (k *books) closeList() error {
	if k.list == nil {
		return nil
	}
	err := k.list.Close()
	if k.unwritten == nil {
		err = errors.Join(err, disk.Remove(k.list.Name()))
	}
	return err
}
