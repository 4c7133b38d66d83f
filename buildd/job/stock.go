package job

import "time"

// StockRequest asks the helper that runs as root for what is kept on this
// machine for later builds: unpacked base images, imported ones, the trash.
type StockRequest struct {
	// Do is one of the Stock... words.
	Do string `json:"do"`
	// Image is the SHA-1 of the base image that StockRemove is about.
	Image string `json:"image,omitempty"`
	// MaxRoots and Container say what the configuration allows.
	MaxRoots  int       `json:"keep_roots"`
	Container Container `json:"container"`
}

// What a StockRequest can be about.
const (
	// StockList changes nothing, and tells what StockCollect would remove.
	StockList = "list"
	// StockCollect removes what the configuration does not allow.
	StockCollect = "collect"
	// StockRemove removes what is kept of one image. If a build uses any of it,
	// that stays.
	StockRemove = "remove"
)

// Kinds of a Stock.
const (
	StockRoot  = "unpacked image"
	StockTorn  = "half-unpacked image"
	StockImage = "imported image"
	StockTrash = "trash"
)

// Stock is one thing that is kept.
type Stock struct {
	Kind string `json:"kind"`
	// Image is the SHA-1 of its base image, "" where there is none.
	Image string `json:"image,omitempty"`
	// Engine is the container engine that has an imported image.
	Engine string    `json:"engine,omitempty"`
	Bytes  int64     `json:"bytes"`
	Used   time.Time `json:"used,omitzero"`
	InUse  bool      `json:"in_use,omitempty"`
	// Gone says that it was removed, or, to StockList, that it would be.
	Gone bool `json:"gone,omitempty"`
}

// StockReport is the answer.
type StockReport struct {
	Stock []Stock `json:"stock"`
	// Problems are what could not be looked at or removed, one line each.
	Problems []string `json:"problems,omitempty"`
}
