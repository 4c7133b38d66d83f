package buildlog_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// Law: the output does not depend on how the input is split into writes, and
// without patterns it is the input with every byte of an occurrence replaced.
func FuzzChunking(f *testing.F) {
	for _, c := range patternCases {
		f.Add([]byte(c.in+" "+c.in+c.in), "hunter22", "u:p@", uint64(1))
	}
	f.Add([]byte("abcabcabd abcabdabcd"), "abca", "bcabd", uint64(2))
	f.Add([]byte("aaaaaaaaaaaaaaaa"), "aaaa", "aaaaaa", uint64(3))
	f.Fuzz(func(t *testing.T, input []byte, one, two string, seed uint64) {
		secrets := []string{one, two}
		random := rand.New(rand.NewPCG(seed, 0))
		for _, private := range []bool{false, true} {
			want := redact(t, private, secrets, string(input))
			if got := redactChunks(t, private, secrets, string(input), 1); got != want {
				t.Errorf("private %v: byte by byte %q, at once %q", private, got, want)
			}
			sizes := []int{random.IntN(9), random.IntN(9), random.IntN(99)}
			if got := redactChunks(t, private, secrets, string(input), sizes...); got != want {
				t.Errorf("private %v: in pieces of %v %q, at once %q", private, sizes, got, want)
			}
		}
	})
}

// Law: no value of the safe alphabet survives, neither given as a secret,
// wherever it stands, nor as the password of a URL of a private build.
func FuzzNoSecretSurvives(f *testing.F) {
	f.Add("se/c:r@t", "before", "after", uint64(1))
	f.Add("a/b@c", "x,proxyauth=u:", "@y", uint64(2))
	f.Add("@@/:", "://", "://", uint64(3))
	f.Add("dddd", "ddd", "dddd", uint64(4))
	f.Fuzz(func(t *testing.T, secret, before, after string, seed uint64) {
		secret = "s" + safe(secret) + "_end"
		random := rand.New(rand.NewPCG(seed, 1))
		sizes := []int{random.IntN(9), random.IntN(30)}
		for _, private := range []bool{false, true} {
			got := redactChunks(t, private, []string{secret}, before+secret+after, sizes...)
			if strings.Contains(got, secret) {
				t.Errorf("private %v: %q survives in %q", private, secret, got)
			}
		}
		if strings.Contains(secret, "://") {
			return
		}
		in := "GET http://user:" + secret + "@host.test/path\n"
		if got := redactChunks(t, true, nil, in, sizes...); got != "GET http://host.test/path\n" {
			t.Errorf("%q became %q", in, got)
		}
	})
}

// The law of FuzzChunking for texts made of what patterns and secrets consist of.
func TestChunkingOfTextsFullOfMarks(t *testing.T) {
	parts := []string{
		"://", ":", "/", "@", ",proxyauth=", ",", ",proxy", " ", "\n", "80", "a", "b.c", "u:p@", "[", "hunter22", "hun", "p@b.c/",
	}
	secrets := []string{"hunter22", "hunter22/", "p@b.c", "2://"}
	random := rand.New(rand.NewPCG(5, 5))
	for range 800 {
		var b strings.Builder
		for range random.IntN(20) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		want := redact(t, true, secrets, b.String())
		sizes := []int{1 + random.IntN(6), 1 + random.IntN(6), 1 + random.IntN(30)}
		if got := redactChunks(t, true, secrets, b.String(), sizes...); got != want {
			t.Fatalf("%q in pieces of %v\n got %q\nwant %q", b.String(), sizes, got, want)
		}
	}
}

// safe maps every byte to one that may be in a password.
func safe(s string) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~+=:@/"
	return string(bytes.Map(func(r rune) rune {
		return rune(alphabet[int(uint32(r)%uint32(len(alphabet)))])
	}, []byte(s)))
}

// The filter does the same as replacing, in the whole text, every run of
// overlapping occurrences.
func TestValuesAgreeWithASimpleSearch(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab%"[random.IntN(3)]
		}
		return string(b)
	}
	for range 800 {
		secrets := []string{word(4 + random.IntN(3)), word(4 + random.IntN(9)), word(4 + random.IntN(3))}
		in := word(random.IntN(60))
		got := redactChunks(t, false, secrets, in, 1+random.IntN(5), 1+random.IntN(9))
		if want := simple(in, secrets); got != want {
			t.Fatalf("secrets %q in %q\n got %q\nwant %q", secrets, in, got, want)
		}
	}
}

// simple replaces runs of overlapping secrets; their other forms cannot occur
// in the alphabet of the test except the one with a quoted %.
func simple(in string, secrets []string) string {
	var forms []string
	for _, s := range secrets {
		forms = append(forms, s, strings.ReplaceAll(s, "%", "%25"))
	}
	var out strings.Builder
	end := 0
	for i := range len(in) {
		for _, s := range forms {
			if !strings.HasPrefix(in[i:], s) {
				continue
			}
			if i >= end {
				out.WriteString("[redacted]")
			}
			end = max(end, i+len(s))
		}
		if i >= end {
			out.WriteByte(in[i])
		}
	}
	return out.String()
}

func TestSeedsAreThere(t *testing.T) {
	for _, target := range []string{"FuzzChunking", "FuzzNoSecretSurvives"} {
		entries, err := os.ReadDir("testdata/fuzz/" + target)
		if err != nil || len(entries) == 0 {
			t.Errorf("%s has no seeds: %v", target, err)
		}
	}
}
