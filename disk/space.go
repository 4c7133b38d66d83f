package disk

import (
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Room is an amount of bytes and of inodes: a file system that has run out of
// either takes no more files.
type Room struct{ Bytes, Inodes int64 }

// Uncounted is the number of inodes of a file system that makes them as it
// needs them, such as btrfs.
const Uncounted = math.MaxInt64

// Space is a file system's.
type Space struct{ Free, Total Room }

// Of is the space of the file system that a path is on, as far as users who are
// not root may have it.
func Of(path string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Space{}, fmt.Errorf("cannot find the free space of %s: %w", path, err)
	}
	return of(st), nil
}

func of(st unix.Statfs_t) Space {
	s := Space{
		Free:  Room{Bytes: int64(st.Bavail) * st.Bsize, Inodes: Uncounted}, // blocks of a real file system fit
		Total: Room{Bytes: int64(st.Blocks) * st.Bsize, Inodes: Uncounted},
	}
	// Some count their inodes and call the possible number infinite.
	if all, free := st.Files, st.Ffree; all > 0 && all < math.MaxInt64 && free < math.MaxInt64 {
		s.Free.Inodes, s.Total.Inodes = int64(free), int64(all)
	}
	return s
}

// Allocated is how many bytes a file takes on the disk.
func Allocated(st *syscall.Stat_t) int64 {
	const unit = 512 // of st_blocks, whatever the file system
	return st.Blocks * unit
}

// Reserve is so many bytes, and the same share of the inodes.
func (s Space) Reserve(bytes int64) Room {
	r := Room{Bytes: bytes}
	if s.Total.Inodes != Uncounted && s.Total.Bytes > 0 {
		r.Inodes = int64(float64(s.Total.Inodes) * min(1, float64(bytes)/float64(s.Total.Bytes)))
	}
	return r
}

// Lacks says what is left when something is scarcer than in least, as "3 MiB" or
// "12 inodes", and "" when there is enough of both.
func (r Room) Lacks(least Room) string {
	switch {
	case r.Bytes < least.Bytes:
		return fmt.Sprintf("%d MiB", r.Bytes>>20)
	case r.Inodes < least.Inodes:
		return fmt.Sprintf("%d inodes", r.Inodes)
	}
	return ""
}

// Plus is the sum, of amounts that are counted.
func (r Room) Plus(more Room) Room {
	return Room{Bytes: r.Bytes + more.Bytes, Inodes: r.Inodes + more.Inodes}
}

// Minus is the difference; less may be uncounted, and so may what was taken away
// before it: less than nothing stays that.
func (r Room) Minus(less Room) Room {
	return Room{Bytes: minus(r.Bytes, less.Bytes), Inodes: minus(r.Inodes, less.Inodes)}
}

// minus does not wrap around when much is taken away.
func minus(a, b int64) int64 {
	if b > 0 && a < math.MinInt64+b {
		return math.MinInt64
	}
	return a - b
}

// Positive says whether there is some of either.
func (r Room) Positive() bool { return r.Bytes > 0 || r.Inodes > 0 }
