package builders

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// readChannels reads which snaps are installed from which channels. Their order
// means nothing (spec: builders.md section 6).
func readChannels(r *Reader) map[string]string {
	channels := r.stringMap("channels").Plain()
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		key := "channels." + name
		if name == "" || strings.HasPrefix(name, "-") {
			r.note(fmt.Errorf("%s: expected the name of a snap", key))
		}
		if channels[name] == "" {
			r.note(fmt.Errorf("%s is required", key))
		}
		r.note(errors.Join(checkLine(key, name), checkLine(key, channels[name])))
	}
	return channels
}
