package pointercheck_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"lpbuildd/builders/debian/pointercheck"
)

const (
	declared  = "foo.c:23: warning: implicit declaration of function `bar'\n"
	converted = "foo.c:23: warning: assignment makes pointer from integer without a cast\n"
	message   = "Function `bar' implicitly converted to pointer at foo.c:23\n"
	closing   = "\n\n\n\nOur automated build log filter"
)

// filter passes input through a Writer in pieces of at most size bytes. The
// output is cut after the fixed words of the explanation.
func filter(t *testing.T, input string, size int, warnOnly bool) (output string, failed bool) {
	t.Helper()
	var out bytes.Buffer
	w := pointercheck.NewWriter(&out)
	for rest := input; rest != ""; {
		piece := rest[:min(size, len(rest))]
		if n, err := io.WriteString(w, piece); n != len(piece) || err != nil {
			t.Fatalf("wrote %d of %d: %v", n, len(piece), err)
		}
		rest = rest[len(piece):]
	}
	failed, err := w.Finish(warnOnly)
	if err != nil {
		t.Fatal(err)
	}
	before, after, found := strings.Cut(out.String(), closing)
	if !found {
		return before, failed
	}
	if !strings.Contains(after, "http://wiki.debian.org/ImplicitPointerConversions") {
		t.Errorf("no link in the explanation %q", after)
	}
	return before + closing, failed
}

func TestWriterReportsConversions(t *testing.T) {
	end := strings.TrimSuffix(message, "\n") + closing
	at := func(text string) string { return "foo.c:23: warning: " + text + "\n" }
	tests := []struct{ name, input, want string }{
		{"nothing", "", ""},
		{"other output", "make\n\xff\xfe\r\x00\n", "make\n\xff\xfe\r\x00\n"},
		{"a declaration alone", declared, declared},
		{"a conversion alone", converted, converted},
		{"both", declared + converted, declared + converted + message + end},
		{"other lines between them", declared + "x\n" + converted + "y\n", declared + "x\n" + converted + message + "y\n" + end},
		{
			"both twice", declared + converted + converted,
			declared + converted + message + converted + message + message + end,
		},
		{"an initialization", declared + at("initialization makes pointer from integer without a cast"), declared +
			at("initialization makes pointer from integer without a cast") + message + end},
		{"a return", declared + at("return makes pointer from integer without a cast"), declared +
			at("return makes pointer from integer without a cast") + message + end},
		{"an argument", declared + at("passing arg 12 of `baz' makes pointer from integer without a cast"), declared +
			at("passing arg 12 of `baz' makes pointer from integer without a cast") + message + end},
		{"an argument of a pointer", declared + at("passing arg 1 of pointer to function makes pointer from integer without a cast"), declared +
			at("passing arg 1 of pointer to function makes pointer from integer without a cast") + message + end},
		{"a cast", declared + at("cast to pointer from integer of different size [-W]"), declared +
			at("cast to pointer from integer of different size [-W]") + message + end},
		{
			"columns and the other quotation mark",
			"foo.c:23:5: warning: implicit declaration of function 'bar' [-W]\nfoo.c:23:9: warning: return makes pointer from integer without a cast [-W]\n",
			"foo.c:23:5: warning: implicit declaration of function 'bar' [-W]\nfoo.c:23:9: warning: return makes pointer from integer without a cast [-W]\n" +
				message + end,
		},
		{"bytes that are no UTF-8 around it", "\xff\n" + declared + converted + "\xfe", "\xff\n" + declared + converted + message + "\xfe\n" + end},
		{"a last line without its end", declared + strings.TrimSuffix(converted, "\n"), declared + converted + message + end},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, failed := filter(t, tt.input, len(tt.input), false)
			if got != tt.want {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
			if want := strings.HasSuffix(tt.want, closing); failed != want {
				t.Errorf("failed is %v", failed)
			}
			if got, failed = filter(t, tt.input, len(tt.input), true); got != tt.want || failed {
				t.Errorf("with warnings only: failed is %v, got %q", failed, got)
			}
		})
	}
}

func TestWriterLeavesOtherWarningsAlone(t *testing.T) {
	tests := []struct{ name, declared, converted string }{
		{"another line", declared, "foo.c:24: warning: assignment makes pointer from integer without a cast\n"},
		{"another file", declared, "bar.c:23: warning: assignment makes pointer from integer without a cast\n"},
		{"another declaration between them", declared + "foo.c:25: warning: implicit declaration of function `x'\n", converted},
		{"something before the location", " x:" + declared, " x:" + converted},
		{"another column form", "foo.c:23:x: warning: implicit declaration of function `bar'\n", converted},
		{"no number of the line", "foo.c:: warning: implicit declaration of function `bar'\n", converted},
		{"typographic quotes", "foo.c:23: warning: implicit declaration of function ‘bar’\n", converted},
		{"no end of the name", "foo.c:23: warning: implicit declaration of function `bar\n", converted},
		{"an error", "foo.c:23: error: implicit declaration of function `bar'\n", converted},
		{"an unknown thing", declared, "foo.c:23: warning: comparison makes pointer from integer without a cast\n"},
		{"an argument without a number", declared, "foo.c:23: warning: passing arg x of `f' makes pointer from integer without a cast\n"},
		{"an argument of something else", declared, "foo.c:23: warning: passing arg 1 of 'f' makes pointer from integer without a cast\n"},
		{"a pointer to an integer", declared, "foo.c:23: warning: return makes integer from pointer without a cast\n"},
		{"a line that ends early", declared, "foo.c:23: warning: passing arg 1\nfoo.c:23\nfoo.c:23:\nfoo.c:23:4\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			input := tt.declared + tt.converted
			if got, failed := filter(t, input, len(input), false); got != input || failed {
				t.Errorf("failed is %v, got %q", failed, got)
			}
		})
	}
}

func TestWriterPassesPartsOfLinesOnAtOnce(t *testing.T) {
	var out bytes.Buffer
	w := pointercheck.NewWriter(&out)
	for _, part := range []string{"5 ", "10 ", "15 percent", "\nfoo.c:2", ""} {
		before := out.Len()
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("wrote %d: %v", n, err)
		}
		if got := out.String()[before:]; got != part {
			t.Errorf("after %q came %q", part, got)
		}
	}
}

func TestWriterLooksAtTheStartOfLongLinesOnly(t *testing.T) {
	for _, size := range []int{1 << 10, 1 << 20} {
		long := strings.TrimSuffix(converted, "\n") + strings.Repeat("x", 200_000) + "\n"
		if _, failed := filter(t, declared+long, size, false); !failed {
			t.Errorf("pieces of %d: a long line was not looked at", size)
		}
		long = strings.Repeat("x", 70_000) + converted
		deep := strings.Repeat("x", 70_000) + declared
		if got, failed := filter(t, deep+long, size, false); failed || got != deep+long {
			t.Errorf("pieces of %d: a match so deep in a line counted", size)
		}
	}
}

func TestWriterKeepsABoundedNumberOfMessages(t *testing.T) {
	const lines = 30_000
	var out bytes.Buffer
	w := pointercheck.NewWriter(&out)
	if _, err := io.WriteString(w, declared+strings.Repeat(converted, lines)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), message); got != lines {
		t.Errorf("%d messages, want %d", got, lines)
	}
	before := out.Len()
	failed, err := w.Finish(false)
	if err != nil || !failed {
		t.Errorf("failed is %v: %v", failed, err)
	}
	end := out.String()[before:]
	if len(end) > 2<<20 || !strings.Contains(end, " more\n\n\n\nOur automated") {
		t.Errorf("the end has %d bytes", len(end))
	}
}

// fewWrites fails after a number of writes.
type fewWrites int

func (f *fewWrites) Write(p []byte) (int, error) {
	if *f <= 0 {
		return 0, io.ErrShortWrite
	}
	*f--
	return len(p), nil
}

func TestWriterReportsErrorsOfItsDestination(t *testing.T) {
	input := []byte("a\n" + declared + converted + "b\n")
	upTo := len(input) - len("b\n")
	for writes, passed := range []int{0, upTo, upTo} {
		dst := fewWrites(writes)
		n, err := pointercheck.NewWriter(&dst).Write(input)
		if n != passed || !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("after %d writes: got %d, %v; want %d", writes, n, err, passed)
		}
	}
	dst := fewWrites(1)
	w := pointercheck.NewWriter(&dst)
	half := len(declared) + 3
	input = []byte(declared + converted)
	if _, err := w.Write(input[:half]); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(input[half:]); n != 0 || err == nil {
		t.Errorf("in the middle of a line: got %d, %v", n, err)
	}
	if failed, err := w.Finish(false); !failed || err == nil {
		t.Errorf("at the end: failed is %v, error %v", failed, err)
	}
}

// FuzzWriter checks that the size of the writes changes nothing, and that all
// input comes through in order.
func FuzzWriter(f *testing.F) {
	f.Add(declared+converted, uint8(7))
	f.Add("x"+declared+converted+declared, uint8(1))
	f.Add("\xff: warning: \n\n"+converted+converted, uint8(30))
	f.Add(declared+"foo.c:23:4: warning: passing arg 1 of `f' makes pointer from integer without a cast", uint8(200))
	f.Fuzz(func(t *testing.T, input string, size uint8) {
		whole, failed := filter(t, input, len(input), false)
		pieces, failedToo := filter(t, input, int(size)+1, false)
		if whole != pieces || failed != failedToo {
			t.Fatalf("at once: %q %v\npieces of %d: %q %v", whole, failed, int(size)+1, pieces, failedToo)
		}
		rest := whole
		for line := range strings.Lines(input) {
			_, after, found := strings.Cut(rest, line)
			if !found {
				t.Fatalf("the line %q is missing from %q", line, rest)
			}
			rest = after
		}
		if !failed && whole != input {
			t.Fatalf("%q became %q", input, whole)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	compile := "gcc -DHAVE_CONFIG_H -I. -I.. -g -O2 -Wformat -Werror=format-security -c -o src/hello.o src/hello.c\n"
	plain := strings.Repeat(compile, 20)
	noisy := plain + "src/hello.c:12:3: warning: unused variable 'x' [-Wunused-variable]\n"
	for name, text := range map[string]string{"no warnings": plain, "a warning in 21 lines": noisy} {
		data := []byte(strings.Repeat(text, 1<<20/len(text)))
		for _, size := range []int{4 << 10, 32 << 10} {
			b.Run(name+" in writes of "+map[int]string{4 << 10: "4KiB", 32 << 10: "32KiB"}[size], func(b *testing.B) {
				w := pointercheck.NewWriter(io.Discard)
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					for rest := data; len(rest) > 0; {
						n, err := w.Write(rest[:min(size, len(rest))])
						if err != nil {
							b.Fatal(err)
						}
						rest = rest[n:]
					}
				}
			})
		}
	}
}
