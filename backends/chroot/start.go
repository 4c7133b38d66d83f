package chroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"lpbuildd/buildd/verdict"
)

// hostFiles are copied from the host into every chroot.
func hostFiles() []string { return []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"} }

// Start mounts the file systems that programs expect and copies in the host's
// names and resolvers. A mount point that the image lacks is an error. What is
// mounted before an error stays until Stop.
func (c *Chroot) Start(ctx context.Context) error {
	for _, m := range mountPoints() {
		if err := m.mount(c.Root()); err != nil {
			return err
		}
	}
	for _, path := range hostFiles() {
		if err := c.copyFromHost(ctx, path); err != nil {
			return err
		}
	}
	return nil
}

// copyFromHost copies a file of the host, which links may lead to. A host
// without it is fine.
func (c *Chroot) copyFromHost(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		c.cfg.Notice("The builder has no " + path + " to copy.")
		return nil
	}
	if err != nil {
		return &verdict.HostFault{Err: fmt.Errorf("cannot read %s: %w", path, err), Advice: "Make " + path + " readable on the builder."}
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", path, err)
	}
	return c.CopyIn(ctx, f, path, st.Mode().Perm())
}
