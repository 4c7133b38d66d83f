package backends_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"lpbuildd/backends"
)

func TestLimitedNeverPassesAPartForTheWhole(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		err        string
	}{
		"nothing":        {"", "", ""},
		"less":           {"123", "123", ""},
		"what just fits": {"12345", "12345", ""},
		"a byte more":    {"123456", "12345", "it is larger than 5 bytes"},
		"much more":      {strings.Repeat("x", 10_000), "xxxxx", "it is larger than 5 bytes"},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"at once":          func(r io.Reader) io.Reader { return r },
			"byte by byte":     iotest.OneByteReader,
			"EOF with the end": iotest.DataErrReader,
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				r := backends.Limited(reader(strings.NewReader(c.text)), 5)
				for _, want := range []string{c.want, ""} { // an error comes again
					data, err := io.ReadAll(r)
					if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
						t.Fatalf("got %v, want %q", err, c.err)
					}
					if string(data) != want {
						t.Fatalf("got %q, want %q", data, want)
					}
				}
			})
		}
	}
	broken := errors.New("the disk is broken")
	if _, err := backends.ReadAll(iotest.ErrReader(broken), 5); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
