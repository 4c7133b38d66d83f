package depwait

import (
	"fmt"
	"io"
	"strings"
)

// Available is what can be installed: for each package name its versions, and
// whether something provides it without a version. The zero value offers
// nothing. It is not safe for concurrent use while Read runs.
type Available struct {
	packages map[string]*offer
}

// offer is what is available under one name. Versions may repeat: finding that
// out costs more than it saves.
type offer struct {
	versions []string
	bare     bool // provided without a version
}

// Read adds one uncompressed Packages index. Entries of Provides with
// alternatives or with an operator other than "=" do not count. What was read
// before an error stays.
func (a *Available) Read(packages io.Reader) error {
	if a.packages == nil {
		a.packages = map[string]*offer{}
	}
	err := readStanzas(packages, []string{"Package", "Version", "Provides"}, func(v [][]byte) error {
		name, version, provides := v[0], v[1], v[2]
		if len(name) > 0 && len(version) > 0 {
			o := a.offer(name)
			o.versions = append(o.versions, string(version))
		}
		if len(provides) > 0 {
			a.provide(decode(provides))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot read a package index: %w", err)
	}
	return nil
}

// Versions returns the versions under this name, in the order read, possibly
// repeated, and whether something provides the name without a version.
func (a *Available) Versions(name string) (versions []string, unversioned bool) {
	o, ok := a.packages[name]
	if !ok {
		return nil, false
	}
	return o.versions, o.bare
}

func (a *Available) offer(name []byte) *offer {
	o := a.packages[string(name)]
	if o == nil {
		o = &offer{}
		a.packages[string(name)] = o
	}
	return o
}

func (a *Available) provide(field string) {
	for entry := range strings.SplitSeq(field, ",") {
		alternatives := parseGroup(entry)
		if len(alternatives) != 1 {
			continue
		}
		switch r := alternatives[0]; r.op {
		case "":
			a.offer([]byte(r.name)).bare = true
		case "=":
			o := a.offer([]byte(r.name))
			o.versions = append(o.versions, r.version)
		}
	}
}
