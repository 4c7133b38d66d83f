package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ulikunitz/xz"

	"lpbuildd/backends"
)

// newXZ decompresses by the program xz, which takes half the time of the
// library, or by the library where it is missing.
func newXZ(ctx context.Context, in io.Reader) (io.Reader, func() error, error) {
	program, err := backends.Host{}.LookPath("xz")
	if err != nil {
		r, err := xz.NewReader(in)
		return r, func() error { return nil }, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	out, feed := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = feed.CloseWithError(runXZ(ctx, program, in, feed))
	}()
	stop := func() error {
		cancel(errors.New("the archive is closed"))
		_ = out.Close()
		<-done
		return nil
	}
	return out, stop, nil
}

// runXZ runs the program; its own words explain a failure.
func runXZ(ctx context.Context, program string, in io.Reader, out io.Writer) error {
	var said bytes.Buffer
	err := backends.Host{}.Run(ctx, backends.Command{
		Argv: []string{program, "-dc", "-T0"}, Env: []string{"LC_ALL=C"},
		Stdin: in, Stdout: out, Stderr: &said,
	})
	var exit *backends.ExitError
	if errors.As(err, &exit) {
		return errors.New(strings.TrimSpace(said.String()))
	}
	if err != nil {
		return fmt.Errorf("cannot decompress by xz: %w", err)
	}
	return nil
}
