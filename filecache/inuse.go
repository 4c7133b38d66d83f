package filecache

import (
	"sync"
	"time"
)

// inUse knows which entries must stay, whatever the limits are.
type inUse struct {
	mu    sync.Mutex
	pins  map[string]int      // guarded by mu
	names map[string]struct{} // guarded by mu
	since time.Time           // guarded by mu
}

// set replaces what was said before: these names stay, and all that was stored or
// used at since or later, unless that is the zero time.
func (u *inUse) set(names []string, since time.Time) {
	set := make(map[string]struct{}, len(names))
	for _, n := range names {
		set[n] = struct{}{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.names, u.since = set, since
}

// pin protects the entry until the function is called.
func (u *inUse) pin(name string) (unpin func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.pins == nil {
		u.pins = map[string]int{}
	}
	u.pins[name]++
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.pins[name]--; u.pins[name] == 0 {
			delete(u.pins, name)
		}
	}
}

func (u *inUse) protects(e Entry) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, used := u.names[e.Name]
	return used || u.pins[e.Name] > 0 || !u.since.IsZero() && !e.Used.Before(u.since)
}
