package leftovers

import (
	"context"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/state"
)

// Discard moves a path into the trash of the state folder, to be deleted later; one on
// another file system is deleted at once. Nothing is mounted below it any more: mounts
// end with the namespace that they were made in.
func Discard(ctx context.Context, folder state.Folder, path string) error {
	return chroot.Discard(ctx, path, folder.Trash())
}
