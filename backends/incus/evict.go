package incus

import (
	"context"
	"slices"
	"strings"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"
)

const (
	// aliasPrefix begins the names of all images that are ours.
	aliasPrefix = "lpbuildd-"
	// imageProperty marks images as ours, even before they have their alias.
	imageProperty = "lpbuildd"
)

// orphanAge is from when on an image without its alias counts as left behind by a
// crash. The alias follows at once.
const orphanAge = 10 * time.Minute

// isOurs says whether an image is a base image that we keep.
func isOurs(image api.Image) bool {
	return slices.ContainsFunc(image.Aliases, func(a api.ImageAlias) bool { return strings.HasPrefix(a.Name, aliasPrefix) })
}

// baseOf is the SHA-1 of the base image of which this is a kept one; false if it
// is none of ours.
func baseOf(image api.Image) (string, bool) {
	for _, alias := range image.Aliases {
		if rest, ok := strings.CutPrefix(alias.Name, aliasPrefix); ok {
			sha1, _, _ := strings.Cut(rest, "-")
			return sha1, true
		}
	}
	return "", false
}

// withAlias is the fingerprint of the image with an alias, or "".
func withAlias(list []api.Image, alias string) string {
	for _, image := range list {
		if slices.ContainsFunc(image.Aliases, func(a api.ImageAlias) bool { return a.Name == alias }) {
			return image.Fingerprint
		}
	}
	return ""
}

func lastUse(image api.Image) time.Time {
	if image.LastUsedAt.After(image.UploadedAt) {
		return image.LastUsedAt
	}
	return image.UploadedAt
}

// evictable are the images of ours beyond a number, most recently used first,
// and those not used for longer than age, if that is not 0; never those in use.
// Images that never got their alias are always among them.
func evictable(list []api.Image, used map[string]bool, number int, age time.Duration, now time.Time) []string {
	var ours []api.Image
	var gone []string
	for _, image := range list {
		named := isOurs(image)
		switch {
		case named && used[image.Fingerprint]:
			number--
		case named:
			ours = append(ours, image)
		case image.Properties[imageProperty] != "" && len(image.Aliases) == 0 && !used[image.Fingerprint] &&
			now.Sub(image.UploadedAt) > orphanAge:
			gone = append(gone, image.Fingerprint)
		}
	}
	slices.SortStableFunc(ours, func(a, b api.Image) int { return lastUse(b).Compare(lastUse(a)) })
	for i, image := range ours {
		if i >= number || age > 0 && now.Sub(lastUse(image)) > age {
			gone = append(gone, image.Fingerprint)
		}
	}
	return gone
}

// imagesInUse are the fingerprints of images that containers were made from.
func imagesInUse(ctx context.Context, s *server) (map[string]bool, error) {
	running, err := ask(ctx, s, "list containers", func(e engine) ([]api.Instance, error) {
		return e.GetInstances(api.InstanceTypeAny)
	})
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, instance := range running {
		used[instance.Config["volatile.base_image"]] = true
	}
	return used, nil
}

func deleteImage(ctx context.Context, s *server, fingerprint string) error {
	return do(ctx, s, "delete an image", deleteTime, func(e engine) (client.Operation, error) {
		return e.DeleteImage(fingerprint)
	})
}
