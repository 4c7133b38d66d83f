//go:build integration

package chroot_test

import (
	"os"
	"path/filepath"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/chroot"
)

// BenchmarkWarmCreateStartStopRemove is what a build costs apart from what it
// does, when its image is unpacked already. Baseline: the reference unpacks for
// each build, which takes about 5 s for a real image. The variable BENCH_IMAGE
// may name one.
func BenchmarkWarmCreateStartStopRemove(b *testing.B) {
	path := os.Getenv("BENCH_IMAGE")
	if path == "" {
		path = backendtest.MiniImage(b)
	}
	for name, change := range modes() {
		b.Run(name, func(b *testing.B) {
			p := newPlace(b)
			cycle := func() {
				c := p.chroot(b, change)
				check(b, c.Create(b.Context(), image(path, "1")))
				check(b, c.Start(b.Context()))
				check(b, c.Run(b.Context(), backends.Command{Argv: []string{"true"}}))
				takeAway(b, c)
			}
			cycle()
			b.ReportAllocs()
			for b.Loop() {
				cycle()
			}
		})
	}
}

// BenchmarkRun is one command in a chroot.
func BenchmarkRun(b *testing.B) {
	p := newPlace(b)
	c := p.chroot(b, nil)
	check(b, c.Create(b.Context(), image(backendtest.MiniImage(b), "1")))
	check(b, c.Start(b.Context()))
	b.ReportAllocs()
	for b.Loop() {
		check(b, c.Run(b.Context(), backends.Command{Argv: []string{"true"}}))
	}
	takeAway(b, c)
}

// BenchmarkEmptyTrash deletes a tree of 10,000 files.
func BenchmarkEmptyTrash(b *testing.B) {
	trash := b.TempDir()
	for b.Loop() {
		b.StopTimer()
		for i := range 100 {
			dir := filepath.Join(trash, "t", string(rune('0'+i/10)), string(rune('0'+i%10)))
			check(b, os.MkdirAll(dir, 0o750))
			for j := range 100 {
				check(b, os.WriteFile(filepath.Join(dir, string(rune('A'+j))), nil, 0o600))
			}
		}
		b.StartTimer()
		check(b, chroot.EmptyTrash(b.Context(), trash))
	}
}
