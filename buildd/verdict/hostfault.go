package verdict

import (
	"errors"
	"syscall"
)

// HostFault marks an error as the builder's own: a full disk, a missing
// program, a kernel without overlayfs. Find it with errors.As.
type HostFault struct {
	Err error
	// Advice is one line for the operator: what to do about it.
	Advice string
}

// Error is the text of the cause.
func (e *HostFault) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *HostFault) Unwrap() error { return e.Err }

// hostFaults are the system errors that are never a package's or an image's
// fault, with the advice for each.
func hostFaults() map[syscall.Errno]string {
	return map[syscall.Errno]string{
		syscall.ENOSPC: "Free disk space (and inodes) on the builder.",
		syscall.EDQUOT: "Raise the disk quota on the builder.",
		syscall.EROFS:  "Check the builder's disk: a file system is read-only.",
		syscall.EIO:    "Check the builder's disk: it reports input/output errors.",
		syscall.EMFILE: "Raise the limit of open files on the builder.",
		syscall.ENFILE: "Raise the limit of open files on the builder.",
		syscall.ENOMEM: "Give the builder more memory.",
		syscall.EAGAIN: "Raise the limit of processes on the builder.",
		syscall.ENOSYS: "Run the builder on Linux 5.6 or newer.",
	}
}

// MarkHostFault wraps err as a *HostFault if a system error in it says that
// the machine is to blame (a full or broken disk, exhausted limits, an old
// kernel), and returns it unchanged otherwise. Use it only for system
// calls of our own on the host.
func MarkHostFault(err error) error {
	var fault *HostFault
	var errno syscall.Errno
	if errors.As(err, &fault) || !errors.As(err, &errno) {
		return err
	}
	if advice, ok := hostFaults()[errno]; ok {
		return &HostFault{Err: err, Advice: advice}
	}
	return err
}
