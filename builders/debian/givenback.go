package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/debian/depwait"
)

const (
	// dpkgTables is where dpkg keeps its table of architectures.
	dpkgTables = "/usr/share/dpkg"
	aptHelper  = "/usr/lib/apt/apt-helper"
	aptLists   = "/var/lib/apt/lists"
	dpkgStatus = "/var/lib/dpkg/status"
	// summarySize is how much of the end of the log holds sbuild's summary.
	summarySize = 4096
)

// givenBack finds out why sbuild gave a build back before it came to the
// package itself (spec: builders.md section 2.6). What cannot be found out is
// the package's failure.
func (b *binaryPackage) givenBack(ctx context.Context, env builders.Env) error {
	finding, err := analyseLog(env)
	uninstalled := finding.Kind == depwait.Maybe || finding.Kind == depwait.Definite
	var depends string
	if err == nil && uninstalled {
		depends, err = b.waitsFor(ctx, env, finding)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		env.Say("Failed to analyse dep-wait: %v", err)
	}
	advice := "See the Fail-Stage line of sbuild's summary, and the messages of that stage."
	switch {
	case finding.Kind == depwait.GiveBack:
		return &verdict.BuildError{
			Outcome: verdict.GivenBack,
			Err:     errors.New("apt had problems that have nothing to do with the package"),
			Advice:  "Nothing to do: the build is to be tried again.",
		}
	case depends != "":
		return DependencyWait(depends)
	case err == nil && uninstalled:
		advice = "No build dependency is missing: see apt's messages above for what keeps them from being installed together."
	}
	return &verdict.BuildError{
		Outcome: verdict.PackageFail,
		Err:     errors.New("sbuild could not prepare the build (exit code 3)"),
		Advice:  advice,
	}
}

// DependencyWait is the verdict about a package whose build dependencies are not
// there yet.
func DependencyWait(depends string) *verdict.BuildError {
	return &verdict.BuildError{
		Outcome:      verdict.DepFail,
		Dependencies: depends,
		Err:          fmt.Errorf("build dependencies cannot be satisfied: %s", depends),
		Advice:       "Nothing to do if these packages are being built; otherwise correct the build dependencies.",
	}
}

func analyseLog(env builders.Env) (depwait.Finding, error) {
	tail, err := env.LogTail(summarySize)
	if err != nil {
		return depwait.Finding{}, err
	}
	log, err := env.OpenLog()
	if err != nil {
		return depwait.Finding{}, err
	}
	finding, err := depwait.AnalyseLog(log, tail)
	return finding, errors.Join(err, log.Close())
}

func (b *binaryPackage) waitsFor(ctx context.Context, env builders.Env, finding depwait.Finding) (string, error) {
	dsc, err := os.Open(filepath.Join(env.Job.Dir, b.dsc))
	if err != nil {
		return aptsWord(finding), err
	}
	depends, err := WaitsFor(ctx, env, Wanted{DSC: dsc, ArchIndep: b.archIndep}, finding)
	return depends, errors.Join(err, dsc.Close())
}

// Wanted are the build dependencies of a source package.
type Wanted struct {
	DSC       io.Reader
	ArchIndep bool
}

// WaitsFor is what a build waits for, "" if nothing: the build dependencies that no
// package satisfies, or else what apt names, if it is not there. Without knowing
// what there is, apt is believed where it is definite.
func WaitsFor(ctx context.Context, env builders.Env, w Wanted, finding depwait.Finding) (string, error) {
	available := depwait.Available{Arch: env.Common.ABI}
	depends, err := unsatisfied(ctx, env, w, &available)
	named := finding.Depends
	switch {
	case err != nil:
		return aptsWord(finding), err
	case depends != "" || named == "":
		return depends, nil
	case finding.Kind == depwait.Maybe && available.Knows(named):
		return "", nil
	}
	if there, err := available.Satisfies(named); there || err != nil {
		return "", err
	}
	return named, nil
}

// aptsWord is the dependency that apt is sure about.
func aptsWord(finding depwait.Finding) string {
	if finding.Kind == depwait.Definite {
		return finding.Depends
	}
	return ""
}

// unsatisfied compares build dependencies with what the target's package indexes
// offer (spec: builders.md section 2.7) and with what is installed, which an
// archive need not have.
func unsatisfied(ctx context.Context, env builders.Env, w Wanted, available *depwait.Available) (string, error) {
	table, err := depwait.LoadArchTable(dpkgTables)
	if err != nil {
		return "", err
	}
	if err := readIndexes(ctx, env, available); err != nil {
		return "", err
	}
	if err := readInTarget(ctx, env, dpkgStatus, available); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return depwait.Unsatisfied(w.DSC, available, env.Common.ABI, w.ArchIndep, table)
}

// readIndexes reads every package index of the target, with apt's help where
// its apt is new enough.
func readIndexes(ctx context.Context, env builders.Env, available *depwait.Available) error {
	hasHelper, err := backends.Exists(ctx, env.Target, aptHelper)
	if err != nil {
		return err
	}
	if hasHelper {
		paths, err := backends.Output(ctx, env.Target, backends.Command{
			Argv:   []string{"apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"},
			Stderr: env.Log,
		})
		if err == nil {
			return readWithHelper(ctx, env, strings.Fields(string(paths)), available)
		}
	}
	return readLists(ctx, env, available)
}

// readWithHelper lets apt decompress its indexes.
func readWithHelper(ctx context.Context, env builders.Env, paths []string, available *depwait.Available) error {
	for _, path := range paths {
		content, output := io.Pipe()
		parsed := make(chan error, 1)
		go func() {
			err := available.Read(content)
			parsed <- err
			_ = content.CloseWithError(err) // never fails
		}()
		err := env.Target.Run(ctx, backends.Command{
			Argv: []string{aptHelper, "cat-file", path}, Stdout: output, Stderr: env.Log,
		})
		_ = output.Close() // never fails
		if err := errors.Join(err, <-parsed); err != nil {
			return fmt.Errorf("cannot read %s in the target: %w", path, err)
		}
	}
	return nil
}

// readLists reads the indexes that old versions of apt keep uncompressed.
func readLists(ctx context.Context, env builders.Env, available *depwait.Available) error {
	names, err := backends.Find(ctx, env.Target, aptLists, backends.FindOptions{MaxDepth: 1, Name: "*_Packages"})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := readInTarget(ctx, env, aptLists+"/"+name, available); err != nil {
			return err
		}
	}
	return nil
}

// readInTarget reads one file of the target that nobody has to decompress.
func readInTarget(ctx context.Context, env builders.Env, path string, available *depwait.Available) error {
	content, err := env.Target.CopyOut(ctx, path)
	if err == nil {
		err = errors.Join(available.Read(content), content.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot read %s in the target: %w", path, err)
	}
	return nil
}
