package depwait

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Available is what can be installed: for each package name its versions, and
// whether something provides it without a version. The zero value offers
// nothing. It is not safe for concurrent use while Read runs.
type Available struct {
	// Arch leaves out packages of other architectures, which an index of an
	// image with several has too, unless they are made to serve all. "" takes
	// them all.
	Arch     string
	packages map[string]*offer
}

// offer is what is available under one name. Versions may repeat: finding that
// out costs more than it saves.
type offer struct {
	versions []string
	bare     bool // provided without a version
}

// Read adds one uncompressed Packages index, or dpkg's own list of packages, of
// which only those count that are installed. Entries of Provides with
// alternatives or with an operator other than "=" do not count. What was read
// before an error stays.
func (a *Available) Read(packages io.Reader) error {
	if a.packages == nil {
		a.packages = map[string]*offer{}
	}
	fields := []string{"Package", "Version", "Provides", "Architecture", "Multi-Arch", "Status"}
	err := readStanzas(packages, fields, func(v [][]byte) error {
		name, version, provides := v[0], v[1], v[2]
		if !a.serves(string(v[3]), string(v[4])) || !installed(v[5]) {
			return nil
		}
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

// serves says whether a package of some architecture can satisfy a dependency.
func (a *Available) serves(arch, multiArch string) bool {
	return a.Arch == "" || arch == "" || arch == "all" || arch == a.Arch || multiArch == "foreign"
}

// installed reads the field Status, which only dpkg's own list has.
func installed(status []byte) bool {
	return len(status) == 0 || bytes.HasSuffix(status, []byte(" installed"))
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
