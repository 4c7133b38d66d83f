package buildd

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/buildlog"
	"lpbuildd/filecache"
)

// snapshot is what status and proxy_info show. It is replaced as a whole, so
// that no call ever waits for another.
type snapshot struct {
	status Status // without LogTail
	tag    string
	proxy  ProxyInfo
	tailer *buildlog.Tailer // in Building

	// accepted is when the build that runs was, the zero time without one.
	accepted time.Time
	inUse    []string // cache entries that must not be evicted
}

// board is what the slot shows to everyone. Only the slot writes on it; reading is
// safe for concurrent use, and waits for nobody.
type board struct {
	version string
	log     string // path of the build log
	types   []Type
	cache   *filecache.Cache
	changed func()

	now        atomic.Pointer[snapshot]
	loss       loss       // of a build, in a crash
	protecting sync.Mutex // held while the cache is told what is in use
}

// show shows a journal.
func (b *board) show(j *journal) {
	old := b.now.Load()
	s := &snapshot{
		status: Status{State: j.State, Version: b.version},
		tag:    j.Tag,
		proxy:  j.ProxyInfo,
		inUse:  j.inUse(),

		accepted: j.running(),
	}
	if j.State != Idle {
		s.status.BuildID = j.BuildID
	}
	if j.State == Building {
		s.tailer = buildlog.NewTailer(b.log, j.Private)
	}
	if o := j.Outcome; o != nil {
		s.status.Outcome, s.status.FileMap = o.Status, o.FileMap
		s.status.Dependencies, s.status.Extra = o.Dependencies, o.Extra
	} else if old != nil && old.status.BuildID == s.status.BuildID {
		s.status.Extra = old.status.Extra
	}
	if j.State != Idle {
		s.status.Extra = b.extra(j.Tag, s.status.Extra)
	}
	b.now.Store(s)
	if old != nil {
		old.close()
	}
	b.changed()
	b.protect()
}

// note shows what a supervisor told about its build.
func (b *board) note(extra map[string]any) {
	s := *b.now.Load()
	s.status.Extra = b.extra(s.tag, extra)
	b.now.Store(&s)
	b.changed()
}

// extra adds to what is told of a build what its type has from the start.
func (b *board) extra(tag string, told map[string]any) map[string]any {
	t, err := findType(b.types, tag)
	if err != nil || len(t.Extra) == 0 {
		return told
	}
	all := maps.Clone(t.Extra)
	maps.Copy(all, told)
	return all
}

// protect tells the cache what must not be evicted from now on.
func (b *board) protect() {
	b.protecting.Lock()
	defer b.protecting.Unlock()
	s := b.now.Load()
	b.cache.SetInUse(s.inUse, inUseSince(s.accepted))
}

func (s *snapshot) close() {
	if s.tailer != nil {
		s.tailer.Close()
	}
}

// findType looks a build type up.
func findType(types []Type, tag string) (Type, error) {
	var known []string
	for _, t := range types {
		if t.Tag == tag {
			return t, nil
		}
		known = append(known, t.Tag)
	}
	return Type{}, &UnknownTypeError{Tag: tag, Known: known}
}
