package incus

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
	"lpbuildd/backends/archive"
	"lpbuildd/buildd/verdict"
)

// Types of base images (spec: lifecycle.md section 3).
const (
	chrootImage = "chroot"
	lxdImage    = "lxd"
)

const (
	// importTime is how long the engine may work on an image that it has got
	// completely, or on unpacking one.
	importTime = 15 * time.Minute
	deleteTime = 5 * time.Minute
	// orphanAge is from when on an image without its alias counts as left
	// behind by a crash. The alias follows at once.
	orphanAge = 10 * time.Minute
)

// findOrImport returns the fingerprint of the image that is kept of a base
// image, after importing it if there is none, and evicts others.
func (c *Container) findOrImport(ctx context.Context, image backends.Image) (string, error) {
	list, err := ask(ctx, c.server, "list images", func(e engine) ([]api.Image, error) { return e.GetImages() })
	if err != nil {
		return "", err
	}
	alias := aliasName(image, c.cfg.Series, c.cfg.Arch)
	fingerprint := withAlias(list, alias)
	if fingerprint == "" {
		if fingerprint, err = c.importImage(ctx, image, alias); err != nil {
			return "", err
		}
		if !slices.ContainsFunc(list, isOurs) {
			c.recommendPool(ctx) // once is enough
		}
		list = append(list, api.Image{Fingerprint: fingerprint, Aliases: []api.ImageAlias{{Name: alias}}})
	}
	c.evict(ctx, list, fingerprint)
	return fingerprint, nil
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

// importImage uploads a base image and gives it its alias.
func (c *Container) importImage(ctx context.Context, image backends.Image, alias string) (string, error) {
	begin := time.Now()
	fingerprint, err := c.upload(ctx, image, alias)
	if err != nil {
		return "", err
	}
	err = tell(ctx, c.server, "name the image", func(e engine) error {
		return e.CreateImageAlias(api.ImageAliasesPost{ImageAliasesEntry: api.ImageAliasesEntry{
			Name: alias, ImageAliasesEntryPut: api.ImageAliasesEntryPut{Description: alias, Target: fingerprint},
		}})
	})
	// Another builder may have been quicker.
	if err != nil && !api.StatusErrorCheck(err, http.StatusConflict) && !strings.Contains(err.Error(), "already exists") {
		return "", err
	}
	c.cfg.Log.Info("Imported base image", "alias", alias, "duration", time.Since(begin).Round(time.Millisecond))
	return fingerprint, nil
}

// upload streams a base image to the engine and returns its fingerprint. An
// image with the same content, which the engine refuses, is as good.
func (c *Container) upload(ctx context.Context, image backends.Image, alias string) (string, error) {
	r, w := io.Pipe()
	sum := sha256.New()
	result := make(chan error, 1)
	go func() {
		err := c.produce(ctx, io.MultiWriter(w, sum), image)
		_ = w.CloseWithError(err)
		result <- err
	}()
	id, sendErr := c.send(ctx, r, marks(image, alias))
	_ = r.CloseWithError(errUploadClosed)
	err := <-result
	var write *archive.WriteError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil && !errors.As(err, &write):
		return "", err
	case sendErr != nil:
		return "", sendErr
	case err != nil:
		return "", c.server.fault("import the base image", err)
	}
	fingerprint := hex.EncodeToString(sum.Sum(nil))
	if _, err = c.server.wait(ctx, "import the base image", id, importTime); err == nil {
		return fingerprint, nil
	}
	list, listErr := ask(ctx, c.server, "list images", func(e engine) ([]api.Image, error) { return e.GetImages() })
	if listErr == nil && slices.ContainsFunc(list, func(i api.Image) bool { return i.Fingerprint == fingerprint }) {
		return fingerprint, nil
	}
	return "", err
}

// marks are the properties to give to an image. The daemons of both engines
// crash when there are some and its own metadata has none; ours has.
func marks(image backends.Image, alias string) map[string]string {
	if image.Type != chrootImage {
		return nil
	}
	return map[string]string{imageProperty: alias}
}

// produce writes what is to be uploaded.
func (c *Container) produce(ctx context.Context, w io.Writer, image backends.Image) error {
	if image.Type == chrootImage {
		return convertFile(ctx, w, image.Path, c.cfg.Series, c.cfg.Arch)
	}
	f, err := os.Open(image.Path)
	if err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot read the image: %w", err))
	}
	defer func() { _ = f.Close() }()
	dst := &marked{w: w}
	_, err = io.CopyBuffer(dst, struct{ io.Reader }{f}, make([]byte, 1<<20))
	if dst.err != nil {
		return &archive.WriteError{Err: dst.err}
	}
	return verdict.MarkHostFault(err)
}

// send uploads what it reads and returns the operation that works on it.
func (c *Container) send(ctx context.Context, r io.ReadCloser, properties map[string]string) (string, error) {
	body, bound := newUpload(ctx, r, uploadIdle)
	defer func() { _ = body.Close() }()
	op, err := c.server.with(bound).CreateImage(
		api.ImagesPost{ImagePut: api.ImagePut{Properties: properties}},
		&client.ImageCreateArgs{MetaFile: body, MetaName: "image.tar"},
	)
	if err != nil {
		if bound.Err() != nil {
			err = context.Cause(bound)
		}
		return "", c.server.explain(ctx, "import the base image", err)
	}
	return op.Get().ID, nil
}

// evict deletes images that are kept no longer. What goes wrong is logged: a
// later build tries again.
func (c *Container) evict(ctx context.Context, list []api.Image, keep string) {
	used, err := imagesInUse(ctx, c.server)
	if err != nil {
		c.cfg.Log.Warn("Cannot evict images", "error", err)
		return
	}
	used[keep] = true
	for _, fingerprint := range evictable(list, used, c.cfg.MaxImages, c.cfg.MaxImageAge, time.Now()) {
		if err := deleteImage(ctx, c.server, fingerprint); err != nil {
			c.cfg.Log.Warn("Cannot delete a base image", "fingerprint", fingerprint, "error", err)
			continue
		}
		c.cfg.Log.Info("Deleted base image", "fingerprint", fingerprint)
	}
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

// isOurs says whether an image is a base image that we keep.
func isOurs(image api.Image) bool {
	return slices.ContainsFunc(image.Aliases, func(a api.ImageAlias) bool { return strings.HasPrefix(a.Name, aliasPrefix) })
}

func lastUse(image api.Image) time.Time {
	if image.LastUsedAt.After(image.UploadedAt) {
		return image.LastUsedAt
	}
	return image.UploadedAt
}

// recommendPool says what another storage pool would save, where it would.
func (c *Container) recommendPool(ctx context.Context) {
	pool, err := ask(ctx, c.server, "look at the storage pool", func(e engine) (*api.StoragePool, error) {
		pool, _, err := e.GetStoragePool(c.cfg.Pool)
		return pool, err
	})
	if err != nil || pool.Driver != "dir" {
		return
	}
	program := "incus"
	if c.server.engine == "LXD" {
		program = "lxc"
	}
	c.cfg.Log.Warn("Storage pool without copy-on-write", "pool", c.cfg.Pool, "driver", pool.Driver)
	c.cfg.Notice(fmt.Sprintf("The storage pool %q has the driver dir, which unpacks the base image again for each build. "+
		"With a copy-on-write pool builds start and end several seconds sooner: run %q on the builder, "+
		"and set \"pool = fast\" in the section [backend] of its configuration.",
		c.cfg.Pool, program+" storage create fast btrfs size=50GiB"))
}
