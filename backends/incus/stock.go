package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/lxc/incus/v6/shared/api"
)

// StockImage is an imported base image.
type StockImage struct {
	Fingerprint string
	// Engine has it: "LXD" or "Incus".
	Engine string
	// SHA1 is that of the base image, "" if the image never got its name.
	SHA1 string
	// Bytes is its size as the engine keeps it.
	Bytes int64
	Used  time.Time
	// InUse says that a container was made from it, Excess that the limits do
	// not allow it.
	InUse, Excess bool
}

// Installed says whether there is an engine to ask: a remote one, or the socket
// of one.
func Installed(cfg Config) bool {
	return cfg.Remote != "" || slices.ContainsFunc(candidates(cfg), func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, fs.ErrNotExist)
	})
}

// Stock is the images of an engine that are ours, whichever builder imported
// them.
type Stock struct {
	cfg    Config
	server *server
}

// OpenStock connects to the engine.
func OpenStock(ctx context.Context, cfg Config) (*Stock, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	server, err := connect(ctx, cfg)
	if err != nil {
		return nil, endedOr(ctx, err)
	}
	return &Stock{cfg: cfg, server: server}, nil
}

// Images lists the images.
func (s *Stock) Images(ctx context.Context) ([]StockImage, error) {
	list, used, err := survey(ctx, s.server)
	if err != nil {
		return nil, err
	}
	excess := evictable(list, used, s.cfg.MaxImages, s.cfg.MaxImageAge, time.Now())
	var all []StockImage
	for _, image := range list {
		sha1, named := baseOf(image)
		if !named && !slices.Contains(excess, image.Fingerprint) {
			continue
		}
		all = append(all, StockImage{
			Fingerprint: image.Fingerprint, Engine: s.server.engine, SHA1: sha1, Bytes: image.Size, Used: lastUse(image),
			InUse: used[image.Fingerprint], Excess: slices.Contains(excess, image.Fingerprint),
		})
	}
	return all, nil
}

// Remove deletes an image. One that is missing is fine.
func (s *Stock) Remove(ctx context.Context, image StockImage) error {
	err := deleteImage(ctx, s.server, image.Fingerprint)
	if missing(err) {
		return nil
	}
	return err
}

// survey lists the images, and those that containers were made from.
func survey(ctx context.Context, s *server) (list []api.Image, used map[string]bool, err error) {
	if list, err = ask(ctx, s, "list images", func(e engine) ([]api.Image, error) { return e.GetImages() }); err != nil {
		return nil, nil, err
	}
	used, err = imagesInUse(ctx, s)
	return list, used, err
}

// Host is what a container engine says about itself.
type Host struct {
	// Engine is "LXD" or "Incus".
	Engine, Version string
	// Pool is the storage pool of builds, Driver what it is made of.
	Pool, Driver string
}

// CopyOnWrite says whether a container is made from an image without copying it.
func (h Host) CopyOnWrite() bool {
	return slices.Contains([]string{"btrfs", "zfs", "ceph", "lvm"}, h.Driver)
}

// String is for people.
func (h Host) String() string {
	return fmt.Sprintf("%s %s, pool %q (%s)", h.Engine, h.Version, h.Pool, h.Driver)
}

// Describe asks the engine what builds would get.
func (s *Stock) Describe(ctx context.Context) (Host, error) {
	info, err := ask(ctx, s.server, "ask for the version", func(e engine) (*api.Server, error) {
		info, _, err := e.GetServer()
		return info, err
	})
	if err != nil {
		return Host{}, err
	}
	h := Host{Engine: s.server.engine, Version: info.Environment.ServerVersion, Pool: s.cfg.Pool}
	pool, err := ask(ctx, s.server, "look at the storage pool", func(e engine) (*api.StoragePool, error) {
		pool, _, err := e.GetStoragePool(s.cfg.Pool)
		return pool, err
	})
	if err == nil {
		h.Driver = pool.Driver
	}
	return h, err
}
