package recipe

import (
	"bufio"
	"context"
	"crypto/md5" // what apt's indexes are made of
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/debian/depwait"
)

// dependencyFields are copied from a package's control file to the index
// (weakness L7: also those for one kind of binary packages).
var dependencyFields = []string{
	"Build-Depends", "Build-Depends-Indep", "Build-Depends-Arch",
	"Build-Conflicts", "Build-Conflicts-Indep", "Build-Conflicts-Arch",
}

// offerSource gives apt in the target an archive with one source package, which
// has the build dependencies of a tree (spec: builders.md section 3.2).
func offerSource(ctx context.Context, env builders.Env, name, control string) error {
	archive := workOf(env).archive
	dsc := "Format: 1.0\nSource: " + name + "\nArchitecture: any\nVersion: 99:0\nMaintainer: invalid@example.org\n" +
		dependencies(control) + "\n"
	sources := sourceIndex(name, dsc)
	line := "deb-src [trusted=yes] file://" + archive + " ./\n"
	list := archive + "/buildrecipe-archive.list"
	if err := env.InTarget(ctx, "mkdir", "-p", archive); err != nil {
		return err
	}
	for _, file := range []struct{ path, text string }{
		{archive + "/" + name + ".dsc", dsc},
		{archive + "/Sources", sources},
		{archive + "/Release", releaseFile(sources)},
		{list, line},
	} {
		if err := builders.WriteText(ctx, env, file.path, file.text); err != nil {
			return err
		}
	}
	err := apt.Get(ctx, env, "-o", "Dir::Etc::sourcelist="+list, "-o", "APT::Get::List-Cleanup=false", "update")
	if err != nil {
		return err
	}
	return env.InTarget(ctx, "mv", list, "/etc/apt/sources.list.d/buildrecipe-archive.list")
}

// dependencies returns the fields about build dependencies in the first
// paragraph of a control file, without its comments.
func dependencies(control string) string {
	fields := map[string]string{}
	current := ""
	for line := range strings.Lines(control) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if len(fields) > 0 {
				return inOrder(fields)
			}
		case line[0] == ' ' || line[0] == '\t':
			fields[current] += line + "\n"
		default:
			key, _, _ := strings.Cut(line, ":")
			current = strings.ToLower(strings.TrimSpace(key))
			fields[current] = line + "\n"
		}
	}
	return inOrder(fields)
}

func inOrder(fields map[string]string) string {
	var text strings.Builder
	for _, field := range dependencyFields {
		text.WriteString(fields[strings.ToLower(field)])
	}
	return text.String()
}

// sourceIndex is the Sources file of an archive with one .dsc.
func sourceIndex(name, dsc string) string {
	_, fields, _ := strings.Cut(dsc, "Source: "+name+"\n")
	size := len(dsc)
	return fmt.Sprintf("Package: %s\nFormat: 1.0\n%sDirectory: .\nFiles:\n %x %d %s.dsc\nChecksums-Sha1:\n %x %d %s.dsc\nChecksums-Sha256:\n %x %d %s.dsc\n\n",
		name, strings.TrimSuffix(fields, "\n"),
		md5.Sum([]byte(dsc)), size, name, sha1.Sum([]byte(dsc)), size, name, sha256.Sum256([]byte(dsc)), size, name)
}

func releaseFile(sources string) string {
	return fmt.Sprintf("Origin: buildrecipe-archive\nLabel: buildrecipe-archive\nSuite: invalid\nCodename: invalid\n"+
		"Date: %s\nDescription: buildrecipe temporary archive\nMD5Sum:\n %x %d Sources\nSHA256:\n %x %d Sources\n",
		time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"),
		md5.Sum([]byte(sources)), len(sources), sha256.Sum256([]byte(sources)), len(sources))
}

// unmet finds a dependency in the line after apt's announcement (spec:
// builders.md section 3.3).
var unmet = regexp.MustCompile(`.*: Depends: ([^ ]*( \([^)]*\))?)`)

// maxLogLine limits what is looked at of one line of the log.
const maxLogLine = 64 << 10

// unmetDependency is the first one that apt has complained about, or "": without
// a qualifier such as ":any", with which no package would ever end the wait
// (weakness L6).
func unmetDependency(env builders.Env) (string, error) {
	log, err := env.OpenLog()
	if err != nil {
		return "", err
	}
	depends, err := firstUnmet(log)
	return depwait.Strip(depends), errors.Join(err, log.Close())
}

func firstUnmet(log io.Reader) (string, error) {
	lines := bufio.NewReaderSize(log, maxLogLine)
	announced := false
	for {
		line, partial, err := lines.ReadLine()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if announced {
			if found := unmet.FindSubmatch(line); found != nil {
				return string(found[1]), nil
			}
		}
		announced = strings.HasSuffix(string(line), "The following packages have unmet dependencies:")
		for partial && err == nil {
			_, partial, err = lines.ReadLine()
		}
	}
}
