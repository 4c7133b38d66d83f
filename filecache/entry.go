package filecache

import (
	"io/fs"
	"syscall"
	"time"

	"lpbuildd/disk"
)

// Entry is a file of the cache.
type Entry struct {
	Name string
	// Size is that of the content, Disk how many bytes its removal frees.
	Size, Disk int64
	// Used is when it was written or last used, whichever is later.
	Used time.Time
}

// inodesOfEntry are those of the content and of its record.
const inodesOfEntry = 2

// room is what the removal of the entry frees.
func (e Entry) room() disk.Room { return disk.Room{Bytes: e.Disk, Inodes: inodesOfEntry} }

// diskOf is how many bytes the removal of a file frees.
func diskOf(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 {
		return disk.Allocated(st)
	}
	return 0
}
