//go:build integration

package incus_test

import (
	"slices"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/incus"
)

// TestStockImagesOfEngines imports an image, looks at it while a container of it
// runs and when it is gone, and removes it.
func TestStockImagesOfEngines(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := bootable(t, p)
		c := p.container(t)
		start(t, c, image)
		cfg := p.config(t)
		s, err := incus.OpenStock(t.Context(), cfg)
		check(t, err)
		if got, there := find(t, s, image); !there || !got.InUse || got.Excess || got.Bytes == 0 || got.Used.IsZero() {
			t.Errorf("while it is used: %+v", got)
		}
		takeAway(t, c)
		got, there := find(t, s, image)
		if !there || got.InUse {
			t.Errorf("when it is unused: %+v", got)
		}
		cfg.MaxImageAge = 1
		limited, err := incus.OpenStock(t.Context(), cfg)
		check(t, err)
		if got, _ := find(t, limited, image); !got.Excess {
			t.Errorf("beyond the limits: %+v", got)
		}
		for range 2 {
			check(t, s.Remove(t.Context(), got))
		}
		if got, there := find(t, s, image); there {
			t.Errorf("after its removal: %+v", got)
		}
		host, err := s.Describe(t.Context())
		if err != nil || host.Version == "" || host.Driver == "" {
			t.Errorf("described as %+v, %v", host, err)
		}
	})
}

func find(t *testing.T, s *incus.Stock, image backends.Image) (incus.StockImage, bool) {
	t.Helper()
	images, err := s.Images(t.Context())
	check(t, err)
	i := slices.IndexFunc(images, func(k incus.StockImage) bool { return k.SHA1 == image.SHA1 })
	if i < 0 {
		return incus.StockImage{}, false
	}
	return images[i], true
}
