package apt

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/builders"
)

// answering is a target in which every command answers the same.
type answering struct {
	backends.Target // nil

	out string
	err error
}

func (a answering) Run(_ context.Context, cmd backends.Command) error {
	_, err := io.WriteString(cmd.Stdout, a.out)
	return errors.Join(err, a.err)
}

func TestAvailablePackages(t *testing.T) {
	missing, broken := &backends.ExitError{Code: 100}, errors.New("broken")
	for name, tt := range map[string]struct {
		target answering
		want   []string
		err    error
	}{
		"a package":               {answering{out: "Package: hello\nVersion: 1\n"}, []string{"hello"}, nil},
		"several":                 {answering{out: "Package: udev\n\nPackage: hello"}, []string{"hello", "udev"}, nil},
		"one of them is missing":  {answering{out: "Package: udev\n", err: missing}, []string{"udev"}, nil},
		"a virtual package":       {answering{out: "", err: missing}, nil, nil},
		"a longer name":           {answering{out: "Package: hello-traditional\n"}, nil, nil},
		"a name in a description": {answering{out: "Description: x\n Package: hello\n"}, nil, nil},
		"apt-cache cannot be run": {answering{err: broken}, nil, broken},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Available(t.Context(), builders.Env{Target: tt.target}, "hello", "udev")
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
