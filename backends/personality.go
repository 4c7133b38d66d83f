package backends

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// cpuTable is where dpkg keeps the word size of each processor.
const cpuTable = "/usr/share/dpkg/cputable"

// Personality is the prefix of every command in a target: linux32 or linux64,
// which are looked up inside the target, and --uname-2.6 for series that know
// no newer kernels (spec: backends.md section 2). It is empty for an empty
// architecture. It reads a file of dpkg: keep the result.
func Personality(arch, series string) ([]string, error) {
	if arch == "" {
		return nil, nil
	}
	bits, err := WordSize(arch)
	if err != nil {
		return nil, err
	}
	prefix := []string{"linux" + bits}
	switch series {
	case "hardy", "lucid", "maverick", "natty", "oneiric", "precise":
		prefix = append(prefix, "--uname-2.6")
	}
	return prefix, nil
}

// WordSize is "32" or "64", the bits of an architecture by its Debian name;
// x32 counts as 64.
func WordSize(arch string) (string, error) {
	if strings.HasSuffix(arch, "x32") {
		return "64", nil
	}
	// The processor is the last part of names such as kfreebsd-amd64.
	cpu := arch[strings.LastIndex(arch, "-")+1:]
	if alias, ok := archCPUs()[cpu]; ok {
		cpu = alias
	}
	if table, err := os.ReadFile(cpuTable); err == nil {
		if bits, ok := lookupBits(table, cpu); ok {
			return bits, nil
		}
	}
	if bits, ok := knownBits()[cpu]; ok {
		return bits, nil
	}
	return "", fmt.Errorf("cannot tell the word size of the unknown architecture %q", arch)
}

// lookupBits finds a processor in dpkg's table: column 1 is its name, column 4
// its bits.
func lookupBits(table []byte, cpu string) (string, bool) {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) >= 4 && f[0] == cpu && (f[3] == "32" || f[3] == "64") {
			return f[3], true
		}
	}
	return "", false
}

// archCPUs names the processor of architectures that are not called after it.
func archCPUs() map[string]string {
	return map[string]string{
		"armel": "arm", "armhf": "arm", "arm64ilp32": "arm", "mipsn32": "mips",
		"mipsn32el": "mipsel", "powerpcspe": "powerpc",
		"amd64v2": "amd64", "amd64v3": "amd64", "amd64v4": "amd64",
	}
}

// knownBits serves where dpkg is missing or too old.
func knownBits() map[string]string {
	return map[string]string{
		"amd64": "64", "arm64": "64", "loong64": "64", "ppc64": "64", "ppc64el": "64",
		"riscv64": "64", "s390x": "64", "sparc64": "64", "mips64el": "64",
		"i386": "32", "arm": "32", "powerpc": "32", "mips": "32", "mipsel": "32", "hppa": "32",
	}
}
