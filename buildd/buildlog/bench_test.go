package buildlog_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/buildlog"
)

// typicalLog is 1 MiB of what apt, dpkg and a C compiler say.
func typicalLog() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	lines := []string{
		"Get:%d http://ftpmaster.internal/ubuntu noble/main amd64 libc6-dev amd64 2.39-0ubuntu8 [2124 kB]\n",
		"Get:%d http://user:secret@private-ppa.test/team/ppa/ubuntu noble/main amd64 Packages [5012 B]\n",
		"Unpacking libmodule-%d-perl (1.2.3-1) over (1.2.2-9) ...\n",
		"gcc -DHAVE_CONFIG_H -I. -I../lib%d -Wdate-time -D_FORTIFY_SOURCE=3 -g -O2 -ffile-prefix-map=/build/hello-2.10=. " +
			"-fstack-protector-strong -Wformat -Werror=format-security -Wl,-Bsymbolic-functions,-z,relro -c -o lib/obj.o lib/obj.c\n",
		"../lib/regex%d.c:123:45: warning: comparison of integer expressions of different signedness: 'int' and 'size_t' [-Wsign-compare]\n",
		"checking whether the C compiler works %d... yes\n",
		"make[2]: Entering directory '/build/hello-2.10/po%d'\n",
		"PASS: tests/test-%d\n",
	}
	var b strings.Builder
	for b.Len() < 1<<20 {
		// Lines with credentials are one in a hundred.
		if i := random.IntN(100); i == 0 {
			fmt.Fprintf(&b, lines[1], i)
			continue
		}
		i := random.IntN(len(lines) - 1)
		if i == 1 {
			i = len(lines) - 1
		}
		fmt.Fprintf(&b, lines[i], random.IntN(1000))
	}
	return []byte(b.String())
}

// macaroons are secrets of the length and alphabet that managers use.
func macaroons(n int) []string {
	random := rand.New(rand.NewPCG(3, 4))
	secrets := make([]string, n)
	for i := range secrets {
		b := make([]byte, 12+random.IntN(200))
		for j := range b {
			b[j] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[random.IntN(64)]
		}
		secrets[i] = string(b)
	}
	return secrets
}

func benchmarkRedact(b *testing.B, private bool, secrets []string) {
	for _, size := range []int{100, 4 << 10, 32 << 10} {
		b.Run(fmt.Sprintf("writes=%d", size), func(b *testing.B) {
			log := typicalLog()
			r := buildlog.NewRedactor(io.Discard, private, secrets)
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			for b.Loop() {
				for rest := log; len(rest) > 0; {
					n := min(size, len(rest))
					if _, err := r.Write(rest[:n]); err != nil {
						b.Fatal(err)
					}
					rest = rest[n:]
				}
			}
		})
	}
}

func BenchmarkRedactPublic(b *testing.B)    { benchmarkRedact(b, false, macaroons(10)) }
func BenchmarkRedactPrivate(b *testing.B)   { benchmarkRedact(b, true, macaroons(10)) }
func BenchmarkRedact64Secrets(b *testing.B) { benchmarkRedact(b, true, macaroons(64)) }

// Short secrets are the worst case of the search, which moves on by less.
func BenchmarkRedactShortSecrets(b *testing.B) {
	benchmarkRedact(b, true, []string{"ab-1", "hunter22", "changeme"})
}

func BenchmarkTail(b *testing.B) {
	path := filepath.Join(b.TempDir(), "buildlog")
	if err := os.WriteFile(path, typicalLog(), 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("kept open", func(b *testing.B) {
		t := buildlog.NewTailer(path, true)
		defer t.Close()
		b.SetBytes(2048)
		b.ReportAllocs()
		for b.Loop() {
			_ = t.Tail()
		}
	})
	b.Run("opened each time", func(b *testing.B) {
		b.SetBytes(2048)
		b.ReportAllocs()
		for b.Loop() {
			_ = statusTail(path, true)
		}
	})
}
