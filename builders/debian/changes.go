package debian

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

const (
	// maxChanges limits the size of a .changes file. Real ones have some
	// kilobytes, and some megabytes where a changelog was generated.
	maxChanges = 64 << 20
	// maxListed limits how many files it names, and maxFilesLine the line of
	// one of them. Other lines may be of any length.
	maxListed    = 250_000
	maxFilesLine = 64 << 10
)

// Gather hands over the .changes file and the files that it lists (spec:
// builders.md section 2.10).
func (b *binaryPackage) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) error {
	if err := b.checkBuiltFor(env); err != nil {
		return err
	}
	return gatherChanges(ctx, env.Job.Dir, b.changesName(env.Common.ISA()), add)
}

func (b *binaryPackage) changesName(arch string) string {
	return strings.TrimSuffix(b.dsc, ".dsc") + "_" + arch + ".changes"
}

// gatherChanges adds a .changes file of the build directory, and every file
// listed in it (spec: lifecycle.md section 11). They were made by the package,
// so only regular files directly in that directory count (weakness H6).
func gatherChanges(ctx context.Context, dir, name string, add func(name string, content io.ReadCloser) error) error {
	listed, err := changesFiles(dir, name)
	if err != nil {
		return err
	}
	for _, file := range append([]string{name}, listed...) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		content, err := openProduct(dir, file)
		if err != nil {
			return fmt.Errorf("cannot gather %s: %w", file, err)
		}
		if err := add(file, content); err != nil {
			return fmt.Errorf("cannot gather %s: %w", file, err)
		}
	}
	return nil
}

// noChanges is the error of a build that made no .changes file of this name.
func noChanges(name string) error {
	return fmt.Errorf("cannot gather %s: the build succeeded without making it", name)
}

func changesFiles(dir, name string) ([]string, error) {
	f, err := openProduct(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noChanges(name)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot gather %s: %w", name, err)
	}
	listed, err := ParseChanges(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	return listed, nil
}

// ParseChanges returns the names in the Files field, each once.
func ParseChanges(r io.Reader) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	inFiles := false
	err := eachLine(backends.Limited(r, maxChanges), maxFilesLine, func(line []byte, long bool) error {
		switch {
		case !startsWithBlank(line):
			inFiles = isFiles(line)
		case inFiles && long:
			return fmt.Errorf("a line of its field Files is longer than %d bytes", maxFilesLine)
		case inFiles && len(names) == maxListed:
			return fmt.Errorf("it names more than %d files", maxListed)
		case inFiles:
			if name := lastWord(line); name != "" && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

// eachLine calls do for every line of r, until that fails. A line may be of any
// length; of one that is longer than size only the start comes, and long is
// true.
func eachLine(r io.Reader, size int, do func(line []byte, long bool) error) error {
	lines := bufio.NewReaderSize(r, size)
	for {
		line, long, err := lines.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = do(line, long)
		}
		for long && err == nil {
			_, long, err = lines.ReadLine()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

// startsWithBlank tells the lines that go on with a field.
func startsWithBlank(line []byte) bool {
	return len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
}

func isFiles(line []byte) bool {
	name, _, colon := bytes.Cut(line, []byte(":"))
	return colon && strings.EqualFold(string(name), "Files")
}

func lastWord(line []byte) string {
	words := bytes.Fields(line)
	if len(words) == 0 {
		return ""
	}
	return string(words[len(words)-1])
}

// openProduct opens a regular file in dir. It follows no symbolic link: the
// package could point one at any file of the host.
func openProduct(dir, name string) (io.ReadCloser, error) {
	if err := builders.CheckFileName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return nil, errors.New("it is a symbolic link")
	case err != nil:
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkBuiltFor checks that a build for a variant made results with its name, and
// tells packages for the ABI from none at all (spec: 2026.md section 4.5).
func (b *binaryPackage) checkBuiltFor(env builders.Env) error {
	made := func(arch string) bool {
		_, err := os.Lstat(filepath.Join(env.Job.Dir, b.changesName(arch)))
		return err == nil
	}
	abi, variant := env.Common.ABI, env.Common.Variant
	if variant == "" || made(variant) {
		return nil
	}
	err := noChanges(b.changesName(variant))
	if made(abi) {
		err = fmt.Errorf("%w, but %s: the packages were built for %s and not for the variant %s", err, b.changesName(abi), abi, variant)
	}
	return &verdict.BuildError{
		Outcome: verdict.PackageFail, Err: err,
		Advice: "Look for what in the package, or in the dpkg of the base image, ignores " + variantOption + ".",
	}
}
