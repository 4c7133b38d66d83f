package disk

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSpace(t *testing.T) {
	for _, test := range []struct {
		name   string
		statfs unix.Statfs_t
		want   Space
		lacks  string
	}{
		{
			"both are counted",
			unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 1 << 18, Files: 4000, Ffree: 2000},
			Space{Free: Room{1 << 30, 2000}, Total: Room{4 << 30, 4000}},
			"",
		},
		{
			"the bytes are short",
			unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 768, Files: 4000, Ffree: 0},
			Space{Free: Room{3 << 20, 0}, Total: Room{4 << 30, 4000}},
			"3 MiB",
		},
		{
			"the inodes are short",
			unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 1 << 18, Files: 4000, Ffree: 399},
			Space{Free: Room{1 << 30, 399}, Total: Room{4 << 30, 4000}},
			"399 inodes",
		},
		{
			"inodes are made as they are needed",
			unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 1 << 18},
			Space{Free: Room{1 << 30, Uncounted}, Total: Room{4 << 30, Uncounted}},
			"",
		},
		{
			"inodes are counted, but have no end",
			unix.Statfs_t{Bsize: 4096, Blocks: 1 << 20, Bavail: 1 << 18, Files: 7, Ffree: math.MaxUint64},
			Space{Free: Room{1 << 30, Uncounted}, Total: Room{4 << 30, Uncounted}},
			"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := of(test.statfs)
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			// A tenth of 4 GiB, and so of 4,000.
			reserve := got.Reserve(got.Total.Bytes/10 + 1)
			if lacks := got.Free.Lacks(reserve); lacks != test.lacks {
				t.Errorf("lacks %q of %+v, want %q", lacks, reserve, test.lacks)
			}
		})
	}
}

func TestAReserveLargerThanTheDiskIsAllOfIt(t *testing.T) {
	s := Space{Free: Room{1 << 30, 10}, Total: Room{1 << 30, 1000}}
	if got, want := s.Reserve(1<<40), (Room{1 << 40, 1000}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestInodesWithoutEndAreNeverMissing: what is missing is made less again and again.
func TestInodesWithoutEndAreNeverMissing(t *testing.T) {
	missing := Room{Bytes: 1 << 20, Inodes: 1}.Minus(Room{Bytes: 0, Inodes: Uncounted})
	for range 5 {
		missing = missing.Minus(Room{Bytes: 1 << 18, Inodes: 2})
		if missing.Inodes > 0 {
			t.Fatalf("%d inodes are missing", missing.Inodes)
		}
	}
	if missing.Positive() || missing.Bytes != -1<<18 {
		t.Errorf("got %+v", missing)
	}
}

func TestOf(t *testing.T) {
	if s, err := Of(t.TempDir()); err != nil || s.Total.Bytes <= 0 || s.Free.Bytes > s.Total.Bytes {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := Of(t.TempDir() + "/none"); err == nil {
		t.Error("a path that is not there has space")
	}
}
