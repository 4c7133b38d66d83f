package job

import "time"

// KeptRequest asks the helper that runs as root for what is kept on this
// machine for later builds: unpacked base images, imported ones, the trash.
type KeptRequest struct {
	// Do is one of the Kept... words.
	Do string `json:"do"`
	// Image is the SHA-1 of the base image that KeptRemove is about.
	Image string `json:"image,omitempty"`
	// KeepRoots and Container say what the configuration allows.
	KeepRoots int       `json:"keep_roots"`
	Container Container `json:"container"`
}

// What a KeptRequest can be about.
const (
	// KeptList changes nothing, and tells what KeptCollect would remove.
	KeptList = "list"
	// KeptCollect removes what the configuration does not allow.
	KeptCollect = "collect"
	// KeptRemove removes what is kept of one image. If a build uses any of it,
	// that stays.
	KeptRemove = "remove"
)

// Kinds of a Kept.
const (
	KeptRoot  = "unpacked image"
	KeptTorn  = "half-unpacked image"
	KeptImage = "imported image"
	KeptTrash = "trash"
)

// Kept is one thing that is kept.
type Kept struct {
	Kind string `json:"kind"`
	// Image is the SHA-1 of its base image, "" where there is none.
	Image string `json:"image,omitempty"`
	// Engine is the container engine that has an imported image.
	Engine string    `json:"engine,omitempty"`
	Bytes  int64     `json:"bytes"`
	Used   time.Time `json:"used,omitzero"`
	InUse  bool      `json:"in_use,omitempty"`
	// Gone says that it was removed, or, to KeptList, that it would be.
	Gone bool `json:"gone,omitempty"`
}

// KeptReport is the answer.
type KeptReport struct {
	Kept []Kept `json:"kept"`
	// Problems are what could not be looked at or removed, one line each.
	Problems []string `json:"problems,omitempty"`
}
