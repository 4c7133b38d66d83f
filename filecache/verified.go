package filecache

import (
	"io/fs"
	"sync"
	"syscall"
)

// fingerprint is what changes when somebody else replaces an entry or writes to
// it. The time of modification can be set back, that of the last change of the
// inode cannot; a new mode or name changes it too, which costs one look at the
// content.
type fingerprint struct {
	size, modified, changed int64
	inode                   uint64
}

func fingerprintOf(info fs.FileInfo) fingerprint {
	fp := fingerprint{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		fp.inode, fp.changed = st.Ino, st.Ctim.Nano()
	}
	return fp
}

// verified remembers which entries were hashed since Open, and what they were
// then. Its zero value knows of none.
type verified struct {
	mu sync.Mutex
	as map[string]fingerprint // guarded by mu
}

func (v *verified) trust(name string, fp fingerprint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.as == nil {
		v.as = map[string]fingerprint{}
	}
	v.as[name] = fp
}

func (v *verified) forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.as, name)
}

// trusts says whether an entry is still what was hashed.
func (v *verified) trusts(name string, now fingerprint) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	fp, ok := v.as[name]
	return ok && fp == now
}
