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

// images imports base images and evicts them.
type images struct {
	*guest
	// image is the one of this build, and fingerprint its name in the engine, from
	// Create on.
	image       backends.Image
	fingerprint string
}

// use makes an image the one of this build.
func (m *images) use(ctx context.Context, image backends.Image) (err error) {
	m.image = image
	m.fingerprint, err = m.findOrImport(ctx, image)
	return err
}

// findOrImport returns the fingerprint of the image that is kept of a base
// image, after importing it if there is none, and evicts others.
func (m *images) findOrImport(ctx context.Context, image backends.Image) (string, error) {
	list, err := ask(ctx, m.server, "list images", func(e engine) ([]api.Image, error) { return e.GetImages() })
	if err != nil {
		return "", err
	}
	alias := aliasName(image, m.cfg.Series, m.cfg.Arch)
	fingerprint := withAlias(list, alias)
	if fingerprint == "" {
		if fingerprint, err = m.importImage(ctx, image, alias); err != nil {
			return "", err
		}
		if !slices.ContainsFunc(list, isOurs) {
			m.recommendPool(ctx) // once is enough
		}
		list = append(list, api.Image{Fingerprint: fingerprint, Aliases: []api.ImageAlias{{Name: alias}}})
	}
	m.evict(ctx, list, fingerprint)
	return fingerprint, nil
}

// aliasName names the image that is kept of a base image. What is uploaded as
// it is depends on nothing else than the file.
func aliasName(image backends.Image, series, arch string) string {
	if image.Type != chrootImage {
		return aliasPrefix + sanitize(image.SHA1) + "-" + sanitize(image.Type)
	}
	return aliasPrefix + sanitize(image.SHA1) + "-" + converterVersion + "-" + sanitize(series) + "-" + sanitize(arch)
}

// importImage uploads a base image and gives it its alias.
func (m *images) importImage(ctx context.Context, image backends.Image, alias string) (string, error) {
	begin := time.Now()
	fingerprint, err := m.upload(ctx, image, alias)
	if err != nil {
		return "", err
	}
	err = tell(ctx, m.server, "name the image", func(e engine) error {
		return e.CreateImageAlias(api.ImageAliasesPost{ImageAliasesEntry: api.ImageAliasesEntry{
			Name: alias, ImageAliasesEntryPut: api.ImageAliasesEntryPut{Description: alias, Target: fingerprint},
		}})
	})
	// Another builder may have been quicker.
	if err != nil && !api.StatusErrorCheck(err, http.StatusConflict) && !strings.Contains(err.Error(), "already exists") {
		return "", err
	}
	m.cfg.Log.Info("Imported base image", "alias", alias, "duration", time.Since(begin).Round(time.Millisecond))
	return fingerprint, nil
}

// upload streams a base image to the engine and returns its fingerprint. An
// image with the same content, which the engine refuses, is as good.
func (m *images) upload(ctx context.Context, image backends.Image, alias string) (string, error) {
	r, w := io.Pipe()
	sum := sha256.New()
	result := make(chan error, 1)
	go func() {
		err := m.produce(ctx, io.MultiWriter(w, sum), image)
		_ = w.CloseWithError(err)
		result <- err
	}()
	id, sendErr := m.send(ctx, r, marks(image, alias))
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
		return "", m.server.fault("import the base image", err)
	}
	fingerprint := hex.EncodeToString(sum.Sum(nil))
	if _, err = m.server.wait(ctx, "import the base image", id, importTime); err == nil {
		return fingerprint, nil
	}
	list, listErr := ask(ctx, m.server, "list images", func(e engine) ([]api.Image, error) { return e.GetImages() })
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
func (m *images) produce(ctx context.Context, w io.Writer, image backends.Image) error {
	if image.Type == chrootImage {
		return convertFile(ctx, w, image.Path, m.cfg.Series, m.cfg.Arch)
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
func (m *images) send(ctx context.Context, r io.ReadCloser, properties map[string]string) (string, error) {
	body, bound := newUpload(ctx, r, uploadIdle)
	defer func() { _ = body.Close() }()
	op, err := m.server.with(bound).CreateImage(
		api.ImagesPost{ImagePut: api.ImagePut{Properties: properties}},
		&client.ImageCreateArgs{MetaFile: body, MetaName: "image.tar"},
	)
	if err != nil {
		if bound.Err() != nil {
			err = context.Cause(bound)
		}
		return "", m.server.explain(ctx, "import the base image", err)
	}
	return op.Get().ID, nil
}

// evict deletes images that are kept no longer. What goes wrong is logged: a
// later build tries again.
func (m *images) evict(ctx context.Context, list []api.Image, keep string) {
	used, err := imagesInUse(ctx, m.server)
	if err != nil {
		m.cfg.Log.Warn("Cannot evict images", "error", err)
		return
	}
	used[keep] = true
	for _, fingerprint := range evictable(list, used, m.cfg.MaxImages, m.cfg.MaxImageAge, time.Now()) {
		if err := deleteImage(ctx, m.server, fingerprint); err != nil {
			m.cfg.Log.Warn("Cannot delete a base image", "fingerprint", fingerprint, "error", err)
			continue
		}
		m.cfg.Log.Info("Deleted base image", "fingerprint", fingerprint)
	}
}

// recommendPool says what another storage pool would save, where it would.
func (m *images) recommendPool(ctx context.Context) {
	pool, err := ask(ctx, m.server, "look at the storage pool", func(e engine) (*api.StoragePool, error) {
		pool, _, err := e.GetStoragePool(m.cfg.Pool)
		return pool, err
	})
	if err != nil || pool.Driver != "dir" {
		return
	}
	program := "incus"
	if m.server.engine == "LXD" {
		program = "lxc"
	}
	m.cfg.Log.Warn("Storage pool without copy-on-write", "pool", m.cfg.Pool, "driver", pool.Driver)
	m.cfg.Notice(fmt.Sprintf("The storage pool %q has the driver dir, which unpacks the base image again for each build. "+
		"With a copy-on-write pool builds start and end several seconds sooner: run %q on the builder, "+
		"and set \"pool = fast\" in the section [backend] of its configuration.",
		m.cfg.Pool, program+" storage create fast btrfs size=50GiB"))
}
