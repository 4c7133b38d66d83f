//go:build integration

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"lpbuildd/backends/backendtest"
	"lpbuildd/buildd"
)

// BenchmarkStatusBuilding asks a daemon that builds for its status, over kept
// connections. The log's tail is as long as it can be. Clients and daemon share
// the processors.
func BenchmarkStatusBuilding(b *testing.B) {
	d := startDaemon(b)
	d.hold(b)
	const perProcessor = 8
	b.Run(fmt.Sprintf("connections=%d", perProcessor*runtime.GOMAXPROCS(0)), func(b *testing.B) {
		b.SetParallelism(perProcessor)
		b.RunParallel(d.askAll(b))
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	})
}

// askAll is one client of BenchmarkStatusBuilding.
func (d *benchDaemon) askAll(b *testing.B) func(*testing.PB) {
	return func(pb *testing.PB) {
		client, err := newPoller(b.Context(), d.host, "BuilderStatus.BUILDING")
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = client.conn.Close() }()
		for pb.Next() {
			if err := client.ask(); err != nil {
				b.Error(err)
				return
			}
		}
	}
}

// hold starts a build that says much and then sleeps until the benchmark ends.
func (d *benchDaemon) hold(b *testing.B) {
	b.Helper()
	const script = "#!/bin/sh\nfor i in $(seq 100); do echo \"Get: $i http://archive.example bookworm/main\"; done\necho HOLDING\nexec sleep 600\n"
	image := d.offer(b, backendtest.MiniImage(b, backendtest.Entry{Name: "usr/bin/apt-get", Data: script}))
	path := filepath.Join(b.TempDir(), "nothing_1.dsc")
	must(b, os.WriteFile(path, []byte("Source: nothing\n"), 0o600))
	d.build(b, image, map[string]string{"nothing_1.dsc": d.offer(b, path)}, nil)
	d.await(b, 10*time.Millisecond, func(st buildd.Status) bool { return bytes.HasSuffix(st.LogTail, []byte("HOLDING\n")) })
	b.Cleanup(func() {
		ctx := context.WithoutCancel(b.Context())
		must(b, d.client.Abort(ctx))
		d.await(b, 10*time.Millisecond, isState(buildd.Waiting))
		must(b, d.client.Clean(ctx))
	})
}

// gibibyte is the size of the downloads, in mebibytes.
const gibibyte = 1024

// BenchmarkStatusDuringDownload has 200 clients ask for the status, over kept
// connections, while the daemon downloads 1 GiB as fast as it comes from
// loopback. Downloads, clients and the server of the file share the processors
// with the daemon.
//
// In "every=100ms" each client asks ten times a second, 2,000 requests a second
// in all, and a wait counts from the moment at which the request was due. In
// "every=0s" each asks again as soon as it has the answer, so that all 200 wait
// in a queue for as long as it takes to answer 200 requests.
func BenchmarkStatusDuringDownload(b *testing.B) {
	content := newBlob(gibibyte)
	sum := content.sha1()
	for _, interval := range []time.Duration{100 * time.Millisecond, 0} {
		b.Run(fmt.Sprintf("every=%s", interval), func(b *testing.B) {
			d := startDaemon(b)
			url := serveFiles(b, content.ServeHTTP)
			var all latencies
			for b.Loop() {
				p := startPollers(b, d.host, 200, interval, "BuilderStatus.IDLE")
				d.ensure(b, sum, url)
				p.finish(b)
				all.add(p)
				d.forget(b, sum)
			}
			all.report(b)
			b.SetBytes(content.size)
		})
	}
}

// forget takes a file out of the daemon's cache.
func (d *benchDaemon) forget(b *testing.B, sum string) {
	b.Helper()
	must(b, os.Remove(filepath.Join(d.cache(), sum)))
}

// BenchmarkDaemonMemory measures the daemon's resident memory: right after the
// start (idle), and at most during downloads of 64 MiB and of 1 GiB.
func BenchmarkDaemonMemory(b *testing.B) {
	small, large := newBlob(64), newBlob(gibibyte)
	sums := map[*blob]string{small: small.sha1(), large: large.sha1()}
	var idle, peakSmall, peakLarge float64
	for b.Loop() {
		b.StopTimer()
		d := startDaemon(b)
		d.await(b, time.Second, isState(buildd.Idle))
		b.StartTimer()
		idle = max(idle, d.memory(b, "VmRSS"))
		peakSmall = max(peakSmall, d.peak(b, small, sums[small]))
		peakLarge = max(peakLarge, d.peak(b, large, sums[large]))
	}
	b.ReportMetric(idle, "idle-MB")
	b.ReportMetric(peakSmall, "download-64MiB-MB")
	b.ReportMetric(peakLarge, "download-MB")
}

// peak is the most memory that the daemon had during a download.
func (d *benchDaemon) peak(b *testing.B, content *blob, sum string) float64 {
	b.Helper()
	url := serveFiles(b, content.ServeHTTP)
	d.resetPeak(b)
	d.ensure(b, sum, url)
	d.forget(b, sum)
	return d.memory(b, "VmHWM")
}
