package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// keptLimit is how long the container engine may take for all of its images.
const keptLimit = 10 * time.Minute

// maxKeptRequest is more than any request takes.
const maxKeptRequest = 1 << 20

// Kept reads a job.KeptRequest and answers it with a job.KeptReport, for the
// build folder that is the working directory. It disturbs no build.
func Kept(ctx context.Context, in io.Reader, out io.Writer) error {
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	var request job.KeptRequest
	if err := json.NewDecoder(io.LimitReader(in, maxKeptRequest)).Decode(&request); err != nil {
		return fmt.Errorf("cannot read the request: %w", err)
	}
	k := keeper{
		request: request,
		roots:   chroot.Store{RootsDir: rootsDir(dir), TrashDir: trashDir(dir), KeepRoots: request.KeepRoots},
	}
	switch request.Do {
	case job.KeptList, job.KeptCollect:
	case job.KeptRemove:
		if err := filecache.CheckName(request.Image); err != nil {
			return err
		}
	default:
		return fmt.Errorf("cannot do %q: only %s, %s and %s are known", request.Do, job.KeptList, job.KeptCollect, job.KeptRemove)
	}
	k.problem(k.doRoots(ctx))
	if incus.Installed(engine(request.Container)) {
		k.problem(k.doImages(ctx))
	}
	return json.NewEncoder(out).Encode(k.report)
}

// keeper works on one request.
type keeper struct {
	request job.KeptRequest
	roots   chroot.Store
	report  job.KeptReport
}

func (k *keeper) problem(err error) {
	if err != nil {
		k.report.Problems = append(k.report.Problems, err.Error())
	}
}

func (k *keeper) add(kept job.Kept) { k.report.Kept = append(k.report.Kept, kept) }

// doRoots looks after the unpacked images and the trash.
func (k *keeper) doRoots(ctx context.Context) error {
	switch k.request.Do {
	case job.KeptCollect:
		gone, trash, err := k.roots.Collect(ctx)
		for _, r := range gone {
			r.Excess = true
			k.add(keptRoot(r))
		}
		k.addTrash(trash)
		return err
	case job.KeptRemove:
		freed, err := k.roots.RemoveRoot(ctx, k.request.Image)
		if freed > 0 {
			k.add(job.Kept{Kind: job.KeptRoot, Image: k.request.Image, Bytes: freed, Gone: true})
		}
		return err
	}
	all, err := k.roots.Roots()
	for _, r := range all {
		k.add(keptRoot(r))
	}
	k.addTrash(k.roots.Trash())
	return err
}

func (k *keeper) addTrash(bytes int64) {
	if bytes > 0 {
		k.add(job.Kept{Kind: job.KeptTrash, Bytes: bytes, Gone: true})
	}
}

func keptRoot(r chroot.KeptRoot) job.Kept {
	kind := job.KeptRoot
	if r.Torn {
		kind = job.KeptTorn
	}
	return job.Kept{Kind: kind, Image: r.SHA1, Bytes: r.Bytes, Used: r.Used, InUse: r.InUse, Gone: r.Excess}
}

// doImages looks after the images that the container engine has.
func (k *keeper) doImages(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keptLimit)
	defer cancel()
	store, err := incus.OpenStore(ctx, engine(k.request.Container))
	if err != nil {
		return err
	}
	all, err := store.Images(ctx)
	for _, image := range all {
		gone, removal := k.doomed(image)
		if gone && k.request.Do != job.KeptList {
			removal = store.Remove(ctx, image)
			gone = removal == nil
		}
		if gone || k.request.Do == job.KeptList {
			k.add(job.Kept{
				Kind: job.KeptImage, Image: image.SHA1, Engine: image.Engine,
				Bytes: image.Bytes, Used: image.Used, InUse: image.InUse, Gone: gone,
			})
		}
		err = errors.Join(err, removal)
	}
	return err
}

// doomed says whether an image is to be removed.
func (k *keeper) doomed(image incus.KeptImage) (bool, error) {
	switch {
	case k.request.Do != job.KeptRemove:
		return image.Excess, nil
	case image.SHA1 != k.request.Image:
		return false, nil
	case image.InUse:
		return false, fmt.Errorf("cannot delete the imported image of %s from %s: a container uses it", image.SHA1, image.Engine)
	}
	return true, nil
}
