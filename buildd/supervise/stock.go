package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/filecache"
)

// stockLimit is how long the container engine may take for all of its images.
const stockLimit = 10 * time.Minute

// maxStockRequest is more than any request takes.
const maxStockRequest = 1 << 20

// Stock reads a job.StockRequest and answers it with a job.StockReport, for the
// build folder that is the working directory. It disturbs no build.
func Stock(ctx context.Context, in io.Reader, out io.Writer) error {
	dir, err := caller.WorkingFolder()
	if err != nil {
		return err
	}
	var request job.StockRequest
	if err := json.NewDecoder(backends.Limited(in, maxStockRequest)).Decode(&request); err != nil {
		return fmt.Errorf("cannot read the request: %w", err)
	}
	k := stocktaker{
		request: request,
		roots:   chroot.Stock{RootsDir: dir.State().Roots(), TrashDir: dir.State().Trash(), MaxRoots: request.MaxRoots},
	}
	switch request.Do {
	case job.StockList, job.StockCollect:
	case job.StockRemove:
		if err := filecache.CheckName(request.Image); err != nil {
			return err
		}
	default:
		return fmt.Errorf("cannot do %q: only %s, %s and %s are known", request.Do, job.StockList, job.StockCollect, job.StockRemove)
	}
	k.problem(k.doRoots(ctx))
	if incus.Installed(leftovers.Engine(request.Container)) {
		k.problem(k.doImages(ctx))
	}
	return json.NewEncoder(out).Encode(k.report)
}

// stocktaker works on one request.
type stocktaker struct {
	request job.StockRequest
	roots   chroot.Stock
	report  job.StockReport
}

func (k *stocktaker) problem(err error) {
	if err != nil {
		k.report.Problems = append(k.report.Problems, err.Error())
	}
}

func (k *stocktaker) add(kept job.Stock) { k.report.Stock = append(k.report.Stock, kept) }

// doRoots looks after the unpacked images and the trash.
func (k *stocktaker) doRoots(ctx context.Context) error {
	switch k.request.Do {
	case job.StockCollect:
		gone, trash, err := k.roots.Collect(ctx)
		for _, r := range gone {
			r.Excess = true
			k.add(stockRoot(r))
		}
		k.addTrash(trash)
		return err
	case job.StockRemove:
		freed, err := k.roots.RemoveRoot(ctx, k.request.Image)
		if freed > 0 {
			k.add(job.Stock{Kind: job.StockRoot, Image: k.request.Image, Bytes: freed, Gone: true})
		}
		return err
	}
	all, err := k.roots.Roots()
	for _, r := range all {
		k.add(stockRoot(r))
	}
	k.addTrash(k.roots.Trash())
	return err
}

func (k *stocktaker) addTrash(bytes int64) {
	if bytes > 0 {
		k.add(job.Stock{Kind: job.StockTrash, Bytes: bytes, Gone: true})
	}
}

func stockRoot(r chroot.StockRoot) job.Stock {
	kind := job.StockRoot
	if r.Torn {
		kind = job.StockTorn
	}
	return job.Stock{Kind: kind, Image: r.SHA1, Bytes: r.Bytes, Used: r.Used, InUse: r.InUse, Gone: r.Excess}
}

// doImages looks after the images that the container engine has.
func (k *stocktaker) doImages(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stockLimit)
	defer cancel()
	stock, err := incus.OpenStock(ctx, leftovers.Engine(k.request.Container))
	if err != nil {
		return err
	}
	all, err := stock.Images(ctx)
	for _, image := range all {
		gone, removal := k.doomed(image)
		if gone && k.request.Do != job.StockList {
			removal = stock.Remove(ctx, image)
			gone = removal == nil
		}
		if gone || k.request.Do == job.StockList {
			k.add(job.Stock{
				Kind: job.StockImage, Image: image.SHA1, Engine: image.Engine,
				Bytes: image.Bytes, Used: image.Used, InUse: image.InUse, Gone: gone,
			})
		}
		err = errors.Join(err, removal)
	}
	return err
}

// doomed says whether an image is to be removed.
func (k *stocktaker) doomed(image incus.StockImage) (bool, error) {
	switch {
	case k.request.Do != job.StockRemove:
		return image.Excess, nil
	case image.SHA1 != k.request.Image:
		return false, nil
	case image.InUse:
		return false, fmt.Errorf("cannot delete the imported image of %s from %s: a container uses it", image.SHA1, image.Engine)
	}
	return true, nil
}
