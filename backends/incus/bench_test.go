//go:build integration

package incus_test

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/incus"
)

// onPools runs a benchmark on each engine and pool that there is.
func onPools(b *testing.B, f func(b *testing.B, p *place)) {
	b.Helper()
	for engine := range engines() {
		for _, pool := range []string{"btrfs", "default"} {
			b.Run(engine+"/"+pool, func(b *testing.B) {
				p := newPlace(b, engine)
				if _, err := p.try(b, "storage", "show", pool); err != nil {
					b.Skipf("%s has no pool %s", engine, pool)
				}
				p.pool = pool
				f(b, p)
			})
		}
	}
}

// peak is the highest resident memory of this process so far, in bytes.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	check(b, err)
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	check(b, err)
	return float64(kb) * 1024
}

// BenchmarkImport converts and uploads a real base image. The reference takes
// 14 s and 602 MB for one of 558 MB.
func BenchmarkImport(b *testing.B) {
	for engine := range engines() {
		b.Run(engine, func(b *testing.B) {
			p := newPlace(b, engine)
			image := realImage(b)
			image.SHA1 = "be0c" + image.SHA1[4:]
			check(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
			idle := peak(b)
			for b.Loop() {
				p.forget(b, image)
				c := p.container(b)
				check(b, c.Create(b.Context(), image))
				check(b, c.Remove(b.Context()))
			}
			b.ReportMetric((peak(b)-idle)/(1<<20), "MiB-above-idle")
			p.forget(b, image)
		})
	}
}

// BenchmarkWarmBuild is what a build costs apart from what it does, when its
// image is there: until the first command has run, and until all is gone.
// Baseline: the reference takes about 24 s with the import, 10 s without.
func BenchmarkWarmBuild(b *testing.B) {
	onPools(b, func(b *testing.B, p *place) {
		image := realImage(b)
		cfg := p.config(b)
		network(b, &cfg)
		var ready, gone time.Duration
		cycle := func() {
			check(b, os.MkdirAll(cfg.BuildDir, 0o750))
			c, err := incus.New(b.Context(), cfg)
			check(b, err)
			begin := time.Now()
			start(b, c, image)
			check(b, c.Run(b.Context(), backends.Command{Argv: []string{"true"}}))
			up := time.Now()
			takeAway(b, c)
			ready += up.Sub(begin)
			gone += time.Since(up)
		}
		cycle()
		ready, gone = 0, 0
		for b.Loop() {
			cycle()
		}
		b.ReportMetric(ready.Seconds()/float64(b.N), "s-until-ready")
		b.ReportMetric(gone.Seconds()/float64(b.N), "s-until-gone")
	})
}

// BenchmarkRun is one command, and a small file in and out.
func BenchmarkRun(b *testing.B) {
	for engine := range engines() {
		b.Run(engine, func(b *testing.B) {
			p := newPlace(b, engine)
			c := p.container(b)
			start(b, c, bootable(b, p))
			b.Run("command", func(b *testing.B) {
				for b.Loop() {
					check(b, c.Run(b.Context(), backends.Command{Argv: []string{"true"}}))
				}
			})
			b.Run("file", func(b *testing.B) {
				for b.Loop() {
					check(b, backends.WriteFile(b.Context(), c, "/tmp/f", []byte("x"), 0o644))
					_, err := backends.ReadFile(b.Context(), c, "/tmp/f", 10)
					check(b, err)
				}
			})
			const size = 200 << 20
			b.Run("push", func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					check(b, c.CopyIn(b.Context(), io.LimitReader(zeros{}, size), "/tmp/big", 0o644))
				}
			})
			b.Run("pull", func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					f, err := c.CopyOut(b.Context(), "/tmp/big")
					check(b, err)
					_, err = io.Copy(io.Discard, f)
					check(b, errors.Join(err, f.Close()))
				}
			})
			takeAway(b, c)
		})
	}
}

// zeros never ends.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
