//go:build integration

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/client"
)

// requiredArguments are those without which a type builds nothing, beside the
// series that all of them need.
func requiredArguments() map[string][]string {
	return map[string][]string{
		"binarypackage":         {"suite", "ogrecomponent"},
		"sourcepackagerecipe":   {"recipe_text", "suite", "ogrecomponent", "author_name", "author_email", "archive_purpose"},
		"translation-templates": {"branch_url"},
		"livefs":                {"project", "pocket"},
		"snap":                  {"name"},
		"oci":                   {"name"},
		"charm":                 {"name"},
		"rock":                  {"name"},
		"craft":                 {"name"},
		"ci":                    {"jobs"},
	}
}

// TestFaultsOfEveryType sends what no type can build, to a daemon that then has
// to be as idle as before.
func TestFaultsOfEveryType(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	image := b.cheapImage(1 << 10)
	info, err := b.client.Info(t.Context())
	must(t, err)
	required := requiredArguments()
	if got, want := slices.Sorted(slices.Values(info.Tags)), slices.Sorted(maps.Keys(required)); !slices.Equal(got, want) {
		t.Errorf("the types are %q and not %q", got, want)
	}
	for _, tag := range info.Tags {
		t.Run(tag, func(t *testing.T) {
			b := b.within(t)
			files := map[string]string{}
			if tag == "binarypackage" {
				files["cheap_1.dsc"] = b.put([]byte(cheapDsc))
			}
			refused := func(key string, value any) {
				t.Helper()
				args := samples(t, tag)
				args[key] = value
				if value == nil {
					delete(args, key)
				}
				b.refuses(buildd.Request{BuildID: "refused", Tag: tag, Image: image, Files: ordered.Sorted(files), Args: args}, key)
			}
			for _, key := range append(required[tag], "series") {
				refused(key, nil)
				refused(key, int64(7))
				refused(key, map[string]any{"a": "b"})
			}
			for _, key := range []string{"arch_tag", "abi_tag", "isa_tag"} {
				refused(key, int64(7))
			}
			refused("archives", "deb http://archive.invalid/ bookworm main")
			refused("trusted_keys", []any{int64(7)})
			refused("fast_cleanup", "yes")
		})
	}
}

// samples are arguments as a manager has sent them.
func samples(t *testing.T, tag string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(inTree("builders/types/testdata", tag, "sample-args.json"))
	must(t, err)
	args := map[string]any{}
	must(t, json.Unmarshal(data, &args))
	for key, value := range args { // XML-RPC knows whole numbers
		if number, ok := value.(float64); ok {
			args[key] = int64(number)
		}
	}
	delete(args, "jobs") // has more of them; see the builders' own tests
	if tag == "ci" {
		args["jobs"] = []any{[]any{[]any{"build", int64(0)}}}
	}
	return args
}

// refuses fails unless a build is refused because of an argument, and changes
// nothing.
func (b *builder) refuses(r buildd.Request, key string) {
	b.t.Helper()
	value := fmt.Sprint(r.Args[key])
	err := b.client.Build(b.t.Context(), r)
	var fault *client.Fault
	if !errors.As(err, &fault) || fault.Code != 8002 || !strings.Contains(fault.String, key) {
		b.t.Errorf("%s=%s: %v", key, value, err)
	}
	if st := b.status(); st.State != buildd.Idle || st.BuildID != "" {
		b.t.Fatalf("%s=%s: the builder is %s, with %q", key, value, st.State, st.BuildID)
	}
}
