package depwait

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ArchTable knows how dpkg splits architecture names into ABI, C library,
// kernel and processor. It never changes; safe for concurrent use.
type ArchTable struct {
	tuples map[string][4]string
}

// LoadArchTable reads dpkg's cputable and tupletable from dir, which is
// /usr/share/dpkg where dpkg is installed.
func LoadArchTable(dir string) (*ArchTable, error) {
	cpus, err := tableRows(filepath.Join(dir, "cputable"), 5)
	if err != nil {
		return nil, fmt.Errorf("cannot read the architectures: %w", err)
	}
	rows, err := tableRows(filepath.Join(dir, "tupletable"), 2)
	if err != nil {
		return nil, fmt.Errorf("cannot read the architectures: %w", err)
	}
	t := &ArchTable{tuples: map[string][4]string{}}
	archs := map[string]bool{} // the tuples that have a name already
	for _, row := range rows {
		if !strings.Contains(row[0], "<cpu>") {
			t.tuples[row[1]] = splitTuple(row[0])
			archs[row[0]] = true
			continue
		}
		for _, cpu := range cpus {
			tuple := strings.Replace(row[0], "<cpu>", cpu[0], 1)
			name := strings.Replace(row[1], "<cpu>", cpu[0], 1)
			if _, known := t.tuples[name]; known || archs[tuple] {
				continue
			}
			t.tuples[name] = splitTuple(tuple)
			archs[tuple] = true
		}
	}
	return t, nil
}

// tableRows returns the words of every line that has at least that many.
func tableRows(path string, words int) ([][]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for line := range strings.Lines(string(data)) {
		row := strings.Fields(line)
		if len(row) >= words && !strings.HasPrefix(line, "#") {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s is empty", path)
	}
	return rows, nil
}

func splitTuple(text string) [4]string {
	var tuple [4]string
	copy(tuple[:], strings.SplitN(text, "-", 4))
	return tuple
}

// Matches answers like "dpkg-architecture -a<arch> -i<wildcard>": case matters,
// and an architecture that dpkg does not know matches nothing, not even itself.
func (t *ArchTable) Matches(arch, wildcard string) bool {
	a, known := t.tuple(arch)
	if !known {
		return false
	}
	if wildcard == arch || wildcard == "any" {
		return true
	}
	w, known := t.wildcardTuple(wildcard)
	if !known {
		return false
	}
	for i, part := range w {
		if part != "any" && part != a[i] {
			return false
		}
	}
	return true
}

// tuple splits the name of an architecture; dpkg still takes "linux-arm64".
func (t *ArchTable) tuple(arch string) ([4]string, bool) {
	if cpu, ok := strings.CutPrefix(arch, "linux-"); ok {
		arch, _, _ = strings.Cut(cpu, "-")
	}
	tuple, known := t.tuples[arch]
	return tuple, known
}

// wildcardTuple fills the parts that a wildcard leaves out at its start.
func (t *ArchTable) wildcardTuple(wildcard string) ([4]string, bool) {
	parts := strings.SplitN(wildcard, "-", 4)
	if !slices.Contains(parts, "any") {
		return t.tuple(wildcard)
	}
	tuple := [4]string{"any", "any", "any", "any"}
	copy(tuple[4-len(parts):], parts)
	return tuple, true
}
