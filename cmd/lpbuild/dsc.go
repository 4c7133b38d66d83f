package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// largestDSC is the size in bytes behind which a .dsc is not believed to be
// one. Those of some generated packages have megabytes.
const largestDSC = 64 << 20

// onlyIndep finds the field of a source package that says that all its packages
// are for every architecture.
var onlyIndep = regexp.MustCompile(`(?mi)^Architecture:[ \t]*all[ \t\r]*$`)

// readSource hashes a .dsc and the files it names, which are beside it. The
// .dsc is the first. Indep says that it makes nothing but packages for every
// architecture.
func readSource(ctx context.Context, path string) (files []localFile, indep bool, err error) {
	dsc, err := hashFile(ctx, path)
	if err != nil {
		return nil, false, fmt.Errorf("cannot read the source package: %w", err)
	}
	if !strings.HasSuffix(dsc.name, ".dsc") {
		return nil, false, fmt.Errorf("cannot build %s: want a Debian source package, a file that ends in .dsc", path)
	}
	if dsc.size > largestDSC {
		return nil, false, fmt.Errorf("cannot build %s: a .dsc of more than %d bytes cannot be right", path, largestDSC)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	sums := dscFiles(string(text))
	if len(sums) == 0 {
		return nil, false, fmt.Errorf("cannot build %s: it names no files in a field Checksums-Sha1", path)
	}
	files = []localFile{dsc}
	for _, s := range sums {
		if s.name != filepath.Base(s.name) || !filepath.IsLocal(s.name) {
			return nil, false, fmt.Errorf("cannot build %s: it names the file %q, which is not beside it", path, s.name)
		}
		f, err := hashFile(ctx, filepath.Join(filepath.Dir(path), s.name))
		if err != nil {
			return nil, false, fmt.Errorf("cannot read a file of %s: %w", dsc.name, err)
		}
		if f.sha1 != s.sha1 {
			return nil, false, fmt.Errorf("cannot build %s: %s has SHA-1 %s, but %s says %s; fetch the source again", path, s.name, f.sha1, dsc.name, s.sha1)
		}
		files = append(files, f)
	}
	return files, onlyIndep.MatchString(string(text)), nil
}

// dscFiles returns the names and checksums of the field Checksums-Sha1 of a
// control file, signed or not.
func dscFiles(text string) []localFile {
	var files []localFile
	inField := false
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			name, _, _ := strings.Cut(line, ":")
			inField = strings.EqualFold(name, "Checksums-Sha1")
			continue
		}
		if words := strings.Fields(line); inField && len(words) == 3 {
			files = append(files, localFile{sha1: strings.ToLower(words[0]), name: words[2]})
		}
	}
	return files
}
