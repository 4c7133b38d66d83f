package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

const (
	// imageMembers and imageBytes are how far ImageType looks.
	imageMembers = 16
	imageBytes   = 4 << 20
)

// ImageType tells by its first members what a base image is: "chroot" for a
// tarball whose top folder is chroot-autobuild, "lxd" for a container image, ""
// for a file that is neither. It is an error when the file cannot be opened.
func ImageType(ctx context.Context, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("cannot look at the image: %w", err)
	}
	defer func() { _ = f.Close() }()
	content, _, err := NewReader(ctx, f)
	if err != nil {
		return "", nil // it is no archive
	}
	defer func() { _ = content.Close() }()
	members := tar.NewReader(io.LimitReader(content, imageBytes))
	for range imageMembers {
		member, err := members.Next()
		if err != nil {
			break
		}
		name := path.Clean(member.Name)
		top, _, _ := strings.Cut(name, "/")
		switch {
		case top == "chroot-autobuild":
			return "chroot", nil
		case name == "metadata.yaml", top == "rootfs":
			return "lxd", nil
		}
	}
	return "", nil
}
