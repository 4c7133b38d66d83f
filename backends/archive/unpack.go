package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// pipeSize is the size of the pipe to tar. It is the most that Linux gives to
// everyone, and lets decompression run ahead of tar.
const pipeSize = 1 << 20

// Unpack unpacks the archive at path into the folder dir, with owners (by
// number), permissions, extended attributes, ACLs and devices; that takes root.
// Decompression is ours, the rest is GNU tar's. An error names the file. It is
// a *verdict.HostFault when the machine is to blame, such as a full disk.
// What was unpacked before an error stays.
func Unpack(ctx context.Context, path, dir string) error {
	err := unpack(ctx, path, dir)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return verdict.MarkHostFault(fmt.Errorf("cannot unpack %s: %w", path, err))
}

func unpack(ctx context.Context, path, dir string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	in, _, err := NewReader(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	enlarge(w)
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, in)
		copied <- errors.Join(err, w.Close())
	}()
	tarErr := runTar(ctx, r, dir)
	// Without readers the copy above ends, in case tar did not read to the end.
	_ = r.Close()
	copyErr := <-copied
	var write *WriteError
	if copyErr != nil && !errors.As(copyErr, &write) {
		return copyErr
	}
	return tarErr
}

// enlarge makes a pipe hold more; if not, things only get slower.
func enlarge(w *os.File) {
	conn, err := w.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize)
	})
}

// runTar unpacks a plain tar stream.
func runTar(ctx context.Context, in *os.File, dir string) error {
	said := &firstBytes{}
	err := backends.Host{}.Run(ctx, backends.Command{
		Argv: []string{
			"tar", "-x", "-f", "-", "-C", dir, "--blocking-factor=512", "--numeric-owner",
			"--same-owner", "-p", "--xattrs", "--xattrs-include=*", "--acls",
		},
		Env: []string{"LC_ALL=C"}, Stdin: in, Stderr: said,
	})
	var exit *backends.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	line, _, _ := strings.Cut(string(said.data), "\n")
	err = fmt.Errorf("%s (exit code %d)", line, exit.Code)
	if full(dir) {
		return &verdict.HostFault{
			Err:    fmt.Errorf("the disk is full: %w", err),
			Advice: "Free disk space (and inodes) on the builder.",
		}
	}
	return err
}

// full tells whether the file system of dir has no room left. tar reports that
// only in words.
func full(dir string) bool {
	space, err := disk.Of(dir)
	return err == nil && space.Free.Lacks(disk.Room{Bytes: 1 << 20, Inodes: 16}) != ""
}

// firstBytes keeps the beginning of what is written: the first complaint
// explains the later ones.
type firstBytes struct{ data []byte }

// Write implements io.Writer; it never fails.
func (f *firstBytes) Write(p []byte) (int, error) {
	room := 2048 - len(f.data)
	f.data = append(f.data, p[:max(0, min(room, len(p)))]...)
	return len(p), nil
}
