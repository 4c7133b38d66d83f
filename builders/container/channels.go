package container

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lpbuildd/builders"
)

// ReadChannels reads which snaps are installed from which channels. Their order
// means nothing (spec: builders.md section 6).
func ReadChannels(r *builders.Reader) map[string]string {
	channels := r.StringMap("channels").Plain()
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		key := "channels." + name
		if name == "" || strings.HasPrefix(name, "-") {
			r.Note(fmt.Errorf("%s: expected the name of a snap", key))
		}
		if channels[name] == "" {
			r.Note(fmt.Errorf("%s is required", key))
		}
		r.Note(errors.Join(builders.CheckLine(key, name), builders.CheckLine(key, channels[name])))
	}
	return channels
}
