package main

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"

	"lpbuildd/ordered"
)

// arguments are those of a build, in the making. What the user said in a file
// stands, unless a flag that the user gave says otherwise.
type arguments struct {
	values  map[string]any
	changed func(flag string) bool
}

// set sets an argument to the value of a flag, or its default.
func (a arguments) set(flag, key string, value any) {
	if _, there := a.values[key]; !there || a.changed(flag) {
		a.values[key] = value
	}
}

// setGiven sets an argument to the value of a flag, if there is one.
func (a arguments) setGiven(flag, key string, value any) {
	if a.changed(flag) {
		a.values[key] = value
	}
}

// merge adds the pairs of a flag to those of the file.
func (a arguments) merge(flag, key string, texts []string) error {
	if len(texts) == 0 {
		return nil
	}
	all := a.members(key)
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return fmt.Errorf("--%s %q: want NAME=VALUE", flag, text)
		}
		all.Set(name, value)
	}
	a.values[key] = all.Map()
	return nil
}

// members are those that a struct has already, if there is one.
func (a arguments) members(key string) (all ordered.Builder[any]) {
	old, _ := ordered.AsStruct(a.values[key])
	all.SetAll(old)
	return all
}

// given are the arguments of --args and --arg.
func (o *runOptions) given() (file, single map[string]any, err error) {
	if single, err = parseArgs(o.args); err != nil || o.argsFile == "" {
		return map[string]any{}, single, err
	}
	text, err := os.ReadFile(o.argsFile)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the arguments: %w", err)
	}
	v, err := parseJSON(string(text))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the JSON in %s: %w", o.argsFile, err)
	}
	members, ok := v.(ordered.Struct)
	if !ok {
		return nil, nil, fmt.Errorf("cannot use the arguments in %s: want a JSON object", o.argsFile)
	}
	return members.Plain(), single, nil
}

// requestArgs makes the arguments of the build (spec: lifecycle.md section 3,
// builders.md sections 2.1, 6 and 7).
func (o *runOptions) requestArgs(w *work, file, single map[string]any) (map[string]any, error) {
	a := arguments{values: maps.Clone(file), changed: o.changed}
	a.replaceSource(w)
	o.architecture(a)
	a.set("private", "archive_private", o.private)
	a.setGiven("image-type", "image_type", o.imageType)
	a.setGiven("archive", "archives", list(o.archives))
	if err := o.release(a); err != nil {
		return nil, err
	}
	if _, given := file["suite"]; !given && !w.target.hasSuite() {
		delete(a.values, "suite")
	}
	keys, err := o.trustedKeys()
	if err != nil {
		return nil, err
	}
	a.setGiven("key", "trusted_keys", list(keys))
	switch {
	case w.target.tag == binaryPackage:
		o.packageArgs(a, w)
	case w.target.hasRepository():
		err = o.repositoryArgs(a, w)
	default:
		err = o.proxyArgs(a)
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(a.values, single)
	return a.values, nil
}

// architecture tells for what to build. As from a manager, the old tag is that of
// the variant, if there is one.
func (o *runOptions) architecture(a arguments) {
	if a.changed("arch") {
		delete(a.values, "abi_tag")
		delete(a.values, "isa_tag")
	}
	a.set("arch", "arch_tag", o.arch)
	if !a.changed("variant") {
		return
	}
	if abi, _ := a.values["abi_tag"].(string); abi == "" {
		a.values["abi_tag"] = a.values["arch_tag"]
	}
	a.values["isa_tag"], a.values["arch_tag"] = o.variant, o.variant
}

// replaceSource replaces the source that the file names by one of the command
// line.
func (a arguments) replaceSource(w *work) {
	if w.repository != nil || w.args["git_repository"] != nil {
		for _, key := range []string{"git_repository", "git_path", "branch"} {
			delete(a.values, key)
		}
	}
	maps.Copy(a.values, w.args)
}

// packageArgs are those of binarypackage.
func (o *runOptions) packageArgs(a arguments, w *work) {
	a.set("component", "ogrecomponent", o.component)
	a.set("archive-purpose", "archive_purpose", o.purpose)
	a.set("arch-indep", "arch_indep", o.archIndep || w.indep && !a.changed("arch-indep"))
	a.set("debug-symbols", "build_debug_symbols", o.debugSymbols)
}

// repositoryArgs are those of all types that build from a repository.
func (o *runOptions) repositoryArgs(a arguments, w *work) error {
	if w.target.hasName() {
		a.set("name", "name", cmp.Or(o.name, w.name))
	}
	delete(a.values, "suite")
	a.setGiven("private", "private", o.private)
	a.setGiven("target-arch", "target_architectures", list(o.targetArch))
	a.setGiven("source-tarball", "build_source_tarball", o.sourceTarball)
	a.setGiven("build-file", "build_file", o.buildFile)
	a.setGiven("build-path", "build_path", o.buildPath)
	err := errors.Join(a.merge("channel", "channels", o.channels), a.merge("build-arg", "build_args", o.buildArgs))
	if err != nil {
		return err
	}
	if w.target.tag == "oci" {
		a.describeArch()
	}
	return o.proxyArgs(a)
}

// describeArch adds the build argument that managers always give.
func (a arguments) describeArch() {
	const key = "LAUNCHPAD_BUILD_ARCH"
	all := a.members("build_args")
	if all.Get(key) == nil {
		all.Set(key, a.values["arch_tag"])
	}
	a.values["build_args"] = all.Map()
}

// proxyArgs are those about the proxy of the build.
func (o *runOptions) proxyArgs(a arguments) error {
	a.setGiven("proxy-url", "proxy_url", o.proxy)
	if proxy := os.Getenv("LPBUILD_PROXY_URL"); proxy != "" && a.values["proxy_url"] == nil {
		a.values["proxy_url"] = proxy
	}
	a.setGiven("revocation-endpoint", "revocation_endpoint", o.revocation)
	a.setGiven("disable-proxy-after-pull", "disable_proxy_after_pull", o.disableProxy)
	if o.certificate == "" {
		return nil
	}
	certificate, err := os.ReadFile(o.certificate)
	if err != nil {
		return fmt.Errorf("cannot use the certificate: %w", err)
	}
	secrets := a.members("secrets")
	secrets.Set("fetch_service_mitm_certificate", base64.StdEncoding.EncodeToString(certificate))
	a.values["secrets"], a.values["use_fetch_service"] = secrets.Map(), true
	return nil
}

// trustedKeys are the files of --key, encoded.
func (o *runOptions) trustedKeys() ([]string, error) {
	var keys []string
	for _, path := range o.keys {
		key, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot use the key: %w", err)
		}
		keys = append(keys, base64.StdEncoding.EncodeToString(key))
	}
	return keys, nil
}

// release finds out the suite and the series. What one of them does not say
// comes from the other one.
func (o *runOptions) release(a arguments) error {
	a.setGiven("suite", "suite", o.suite)
	a.setGiven("series", "series", o.series)
	suite, _ := a.values["suite"].(string)
	series, _ := a.values["series"].(string)
	if suite == "" {
		suite = series
	}
	if suite == "" && len(o.archives) > 0 {
		suite = suiteOf(o.archives[0])
	}
	if suite == "" {
		return errors.New("say with --series for which series to build, e.g. --series bookworm")
	}
	if series == "" {
		series, _, _ = strings.Cut(suite, "-")
	}
	a.values["suite"], a.values["series"] = suite, series
	return nil
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
