package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// runOptions are the flags of run.
type runOptions struct {
	id, image, address, folder              string
	series, suite, arch, component, purpose string
	archives, keys, args                    []string
	archIndep, debugSymbols, private, keep  bool
}

// addFlags adds the flags of run.
func (o *runOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.image, "image", "", "base image: a `tarball` with a folder chroot-autobuild")
	flags.StringVar(&o.series, "series", "", "`name` of the series (default: from the suite)")
	flags.StringVar(&o.suite, "suite", "", "`name` of the suite (default: the series, or the suite of the first --archive)")
	flags.StringVar(&o.arch, "arch", "", "`architecture` (default: the builder's)")
	flags.StringVar(&o.component, "component", "main", "`component` of the archive")
	flags.StringVar(&o.purpose, "archive-purpose", "PRIMARY", "`purpose` of the archive: PRIMARY, PPA, ...")
	flags.StringArrayVar(&o.archives, "archive", nil, "`line` for sources.list; may be repeated (default: those of the image)")
	flags.StringArrayVar(&o.keys, "key", nil, "`file` with public keys for apt; may be repeated")
	flags.BoolVarP(&o.archIndep, "arch-indep", "A", false, "also build the architecture-independent packages")
	flags.BoolVar(&o.debugSymbols, "debug-symbols", false, "also build packages with debugging symbols")
	flags.BoolVar(&o.private, "private", false, "the archive is private: remove credentials from the log")
	flags.StringVar(&o.id, "id", newBuildID(), "`name` of the build")
	flags.Lookup("id").DefValue = "LOCAL-, and something random"
	flags.StringVarP(&o.folder, "output", "o", ".", "`folder` for the results")
	flags.BoolVar(&o.keep, "keep", false, "do not clean the builder afterwards")
	addArgFlag(cmd, &o.args)
	addServeFlag(cmd, &o.address)
	_ = cmd.MarkFlagRequired("image") // it exists
}

// buildArgs makes the arguments of the build (spec: lifecycle.md section 3,
// builders.md section 2.1). Those of --arg win.
func (o *runOptions) buildArgs() (map[string]any, error) {
	suite, series, err := o.release()
	if err != nil {
		return nil, err
	}
	args := map[string]any{
		"series": series, "suite": suite, "arch_tag": o.arch, "ogrecomponent": o.component,
		"archive_purpose": o.purpose, "archive_private": o.private, "arch_indep": o.archIndep,
		"build_debug_symbols": o.debugSymbols, "image_type": "chroot",
	}
	if len(o.archives) > 0 {
		args["archives"] = list(o.archives)
	}
	var keys []string
	for _, path := range o.keys {
		key, err := os.ReadFile(path) //nolint:gosec // the user names the file
		if err != nil {
			return nil, fmt.Errorf("cannot use the key: %w", err)
		}
		keys = append(keys, base64.StdEncoding.EncodeToString(key))
	}
	if len(keys) > 0 {
		args["trusted_keys"] = list(keys)
	}
	more, err := parseArgs(o.args)
	maps.Copy(args, more)
	return args, err
}

// release finds out the suite and the series.
func (o *runOptions) release() (suite, series string, err error) {
	suite = o.suite
	if suite == "" {
		suite = o.series
	}
	if suite == "" && len(o.archives) > 0 {
		suite = suiteOf(o.archives[0])
	}
	if suite == "" {
		return "", "", errors.New("say with --series for which series to build, e.g. --series bookworm")
	}
	series = o.series
	if series == "" {
		series, _, _ = strings.Cut(suite, "-")
	}
	return suite, series, nil
}

// suiteOf returns the suite of a line for sources.list, "" if it has none.
func suiteOf(line string) string {
	words := strings.Fields(regexp.MustCompile(`\[[^]]*\]`).ReplaceAllString(line, " "))
	if len(words) < 4 {
		return ""
	}
	return words[2]
}

// list is a list in the form of the protocol.
func list(texts []string) []any {
	all := make([]any, len(texts))
	for i, text := range texts {
		all[i] = text
	}
	return all
}
