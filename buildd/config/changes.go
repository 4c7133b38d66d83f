package config

import "slices"

// restartKeys are the keys that only a restart changes.
func restartKeys() []string {
	return []string{"builder.architecturetag", "builder.filecache", "builder.bindhost", "builder.bindport"}
}

// Changes are the keys whose values differ between two readings of the
// configuration.
type Changes struct {
	// Now are those that can change while the daemon runs, Restart those that
	// cannot.
	Now, Restart []string
	// InEffect are the origins of what is in effect: the later ones, but the earlier
	// ones of the keys in Restart.
	InEffect []Origin
}

// Compare compares what is in effect with a later reading.
func Compare(inEffect, later []Origin) Changes {
	before := map[string]Origin{}
	for _, o := range inEffect {
		if o.Warning == "" {
			before[o.Key] = o
		}
	}
	c := Changes{InEffect: slices.Clone(later)}
	for i, o := range later {
		old := before[o.Key]
		switch {
		case o.Warning != "" || old.Value == o.Value:
		case slices.Contains(restartKeys(), o.Key):
			c.Restart = append(c.Restart, o.Key)
			c.InEffect[i] = old
		default:
			c.Now = append(c.Now, o.Key)
		}
	}
	return c
}
