//go:build integration

package incus_test

import (
	"errors"
	"fmt"
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
					b.Skipf("needs a pool %s of %s", pool, engine)
				}
				p.pool = pool
				f(b, p)
			})
		}
	}
}

// resident is the memory of this process, and peak the most that it was since
// resetPeak, in bytes.
func resident(b *testing.B) float64 { b.Helper(); return memory(b, "VmRSS:") }
func peak(b *testing.B) float64     { b.Helper(); return memory(b, "VmHWM:") }

func resetPeak(b *testing.B) {
	b.Helper()
	check(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
}

func memory(b *testing.B, key string) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	check(b, err)
	_, rest, _ := strings.Cut(string(status), key)
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	check(b, err)
	return float64(kb) * 1024
}

// cycle is a build that does nothing, with its parts timed.
type cycle struct {
	unpack, ready, gone time.Duration
	// grown is by how much memory grew at most while the image was imported.
	grown float64
}

// build runs one. Its metrics are sums.
func (y *cycle) build(b *testing.B, cfg incus.Config, image backends.Image) {
	b.Helper()
	check(b, os.MkdirAll(cfg.BuildDir, 0o750))
	c, err := incus.New(cfg)
	check(b, err)
	resetPeak(b)
	idle, begin := resident(b), time.Now()
	check(b, c.Create(b.Context(), image))
	y.grown = max(y.grown, peak(b)-idle)
	unpacked := time.Now()
	check(b, c.Start(b.Context()))
	check(b, c.Run(b.Context(), backends.Command{Argv: []string{"true"}}))
	up := time.Now()
	takeAway(b, c)
	y.unpack += unpacked.Sub(begin)
	y.ready += up.Sub(begin)
	y.gone += time.Since(up)
}

func (y *cycle) report(b *testing.B) {
	b.Helper()
	n := float64(b.N)
	b.ReportMetric(y.unpack.Seconds()/n, "import-s")
	b.ReportMetric(y.ready.Seconds()/n, "ready-s")
	b.ReportMetric(y.gone.Seconds()/n, "gone-s")
	b.ReportMetric(y.grown/(1<<20), "MiB-above-idle")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkColdBuild is what a build costs apart from what it does when the
// engine does not have its image: until that is imported, until the first
// command has run (the import included), and until all is gone. The reference
// takes 14 s and 602 MB for the import of 558 MB, 6 s and 4 s.
func BenchmarkColdBuild(b *testing.B) {
	onPools(b, func(b *testing.B, p *place) {
		image := realImage(b)
		image.SHA1 = "be0c" + image.SHA1[4:]
		cfg := p.config(b)
		network(b, &cfg)
		var y cycle
		for b.Loop() {
			p.forget(b, image)
			y.build(b, cfg, image)
		}
		y.report(b)
		p.forget(b, image)
	})
}

// BenchmarkWarmBuild is the same when the engine has the image, beside what the
// engine itself takes to copy it.
func BenchmarkWarmBuild(b *testing.B) {
	onPools(b, func(b *testing.B, p *place) {
		image := realImage(b)
		cfg := p.config(b)
		network(b, &cfg)
		var first, y cycle
		first.build(b, cfg, image)
		own := p.copyTime(b, image)
		for b.Loop() {
			y.build(b, cfg, image)
		}
		y.report(b)
		b.ReportMetric(own.Seconds(), "engine-copy-s")
	})
}

// copyTime is how long the engine's own client takes to make a container, and
// no more, from the image that is kept.
func (p *place) copyTime(b *testing.B, image backends.Image) time.Duration {
	b.Helper()
	alias, _, _ := strings.Cut(p.client(b, "image", "alias", "list", "--format", "csv", image.SHA1), ",")
	name := fmt.Sprintf("incustest-copy-%d", os.Getpid())
	begin := time.Now()
	p.client(b, "init", alias, name, "--storage", p.pool)
	took := time.Since(begin)
	p.client(b, "delete", name)
	return took
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
