package depwait

import (
	"errors"
	"fmt"
	"io"
	"strings"

	version "github.com/knqyf263/go-deb-version"
)

// Matcher decides whether an architecture fits a wildcard such as "linux-any",
// without regard to negation. ArchTable is one.
type Matcher interface {
	Matches(arch, wildcard string) bool
}

// Unsatisfied returns the direct build dependencies of a .dsc that what is
// available cannot satisfy on arch, stripped and joined like a dependency
// field, "" if there are none. Build-Depends-Indep counts with archIndep only.
// No build profile is active. The rules are those of spec: builders.md section
// 2.7; an error, for instance about an unknown operator, means that there is no
// result.
func Unsatisfied(dsc io.Reader, avail *Available, arch string, archIndep bool, matches Matcher) (string, error) {
	field, err := buildDepends(dsc, archIndep)
	if err != nil {
		return "", err
	}
	s := solver{avail: avail, arch: arch, matches: matches}
	var open []group
	for _, g := range parseGroups(field) {
		ok, err := s.anySatisfied(g)
		if err != nil {
			return "", fmt.Errorf("cannot judge the build dependency %q: %w", g, err)
		}
		if !ok {
			open = append(open, g)
		}
	}
	return format(open), nil
}

// Satisfies says whether what is available satisfies a dependency in apt's own
// words, such as Finding.Depends, in which "<" is what control files call "<<".
// An error means that nobody can tell.
func (a *Available) Satisfies(depends string) (bool, error) {
	s := solver{avail: a}
	for _, g := range parseGroups(depends) {
		for i := range g {
			if op := g[i].op; op == "<" || op == ">" {
				g[i].op = op + op
			}
		}
		if ok, err := s.anySatisfied(g); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// Knows says whether any package that a dependency names is available, in whatever
// version.
func (a *Available) Knows(depends string) bool {
	for _, g := range parseGroups(depends) {
		for _, r := range g {
			if a.packages[r.name] != nil {
				return true
			}
		}
	}
	return false
}

type solver struct {
	avail   *Available
	arch    string
	matches Matcher
}

func (s solver) anySatisfied(g group) (bool, error) {
	for _, r := range g {
		if ok, err := s.satisfied(r); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func (s solver) satisfied(r relation) (bool, error) {
	if r.archs != nil && !s.applies(r.archs) || needsProfile(r.profiles) {
		return true, nil
	}
	if !r.wellFormed() { // nothing could end a wait for it
		return false, errors.New("it is malformed")
	}
	versions, unversioned := s.avail.Versions(r.name)
	if len(versions) == 0 && !unversioned {
		return false, nil
	}
	if r.op == "" {
		return true, nil
	}
	return anyVersion(versions, r.op, r.version)
}

// applies goes through an architecture list in order: the first entry that
// matches decides.
func (s solver) applies(archs []string) bool {
	applies := false
	for _, entry := range archs {
		wildcard, negated := strings.CutPrefix(entry, "!")
		if s.matches.Matches(s.arch, wildcard) {
			return !negated
		}
		applies = applies || negated
	}
	return applies
}

// needsProfile says that every restriction list wants some profile to be
// active, which none is.
func needsProfile(lists [][]string) bool {
	for _, terms := range lists {
		if !wantsProfile(terms) {
			return false
		}
	}
	return len(lists) > 0
}

func wantsProfile(terms []string) bool {
	for _, t := range terms {
		if !strings.HasPrefix(t, "!") {
			return true
		}
	}
	return false
}

// anyVersion says whether a version satisfies the constraint. An available
// version that is malformed satisfies none.
func anyVersion(available []string, op, wanted string) (bool, error) {
	fits, err := operator(op)
	if err != nil {
		return false, err
	}
	limit, err := version.NewVersion(wanted)
	if err != nil {
		return false, fmt.Errorf("bad version %q: %w", wanted, err)
	}
	for _, text := range available {
		if v, err := version.NewVersion(text); err == nil && fits(v.Compare(limit)) {
			return true, nil
		}
	}
	return false, nil
}

// operator returns the test for what Version.Compare says.
func operator(op string) (func(order int) bool, error) {
	switch op {
	case "<<":
		return func(order int) bool { return order < 0 }, nil
	case "<=":
		return func(order int) bool { return order <= 0 }, nil
	case "=":
		return func(order int) bool { return order == 0 }, nil
	case ">=":
		return func(order int) bool { return order >= 0 }, nil
	case ">>":
		return func(order int) bool { return order > 0 }, nil
	}
	return nil, fmt.Errorf("unknown operator %q", op)
}
