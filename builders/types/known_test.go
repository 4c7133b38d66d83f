package types_test

import (
	"fmt"
	"strings"
	"testing"

	"lpbuildd/builders"
	"lpbuildd/builders/types"
)

func TestWhatManagersSendIsKnown(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		for name, args := range map[string]builders.Args{"sample": sampleArgs(t, typ.Tag), "contract": c.args} {
			if names := typ.Unknown(args); names != "" {
				t.Errorf("the %s has unknown arguments: %s", name, names)
			}
		}
		for _, keys := range [][]string{c.required, c.texts, c.booleans, c.lists, c.structs} {
			for _, key := range keys {
				if typ.Unknown(builders.Args{key: nil}) != "" {
					t.Errorf("%s is unknown", key)
				}
			}
		}
	})
}

// A value of an unknown argument may be a secret, and has no type that is wrong.
func TestUnknownArgumentsAreNamedWithoutTheirValues(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		args := withArgs(c.args, builders.Args{
			"series": "noble", "zz_new": "s3cret", "aa_new": map[string]any{"s3cret": []any{int64(7), nil}},
			"a_float": 1.5, "no": nil, "data": []byte("s3cret"),
		})
		if got, want := typ.Unknown(args), "a_float, aa_new, data, no, zz_new"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if _, err := builders.ParseCommon(args, "amd64"); err != nil {
			t.Error(err)
		}
		if _, err := typ.New(args, c.files); err != nil {
			t.Error(err)
		}
	})
}

// What one type knows is news to another one.
func TestATypeKnowsItsOwnArguments(t *testing.T) {
	for tag, want := range map[string]string{
		"binarypackage": "build_path, cohort-key, environment_variables, jobs, proxy_url, recipe_text",
		"livefs":        "arch_indep, build_path, environment_variables, jobs, proxy_url, recipe_text",
		"craft":         "arch_indep, cohort-key, jobs, recipe_text",
		"ci":            "arch_indep, build_path, cohort-key, recipe_text",
	} {
		typ, err := types.Find(tag)
		if err != nil {
			t.Fatal(err)
		}
		got := typ.Unknown(builders.Args{
			"arch_indep": nil, "build_path": nil, "cohort-key": nil, "environment_variables": nil, "jobs": nil, "proxy_url": nil,
			"recipe_text": nil, "use_fetch_service": nil, "abi_tag": nil,
		})
		if got != want {
			t.Errorf("%s: got %q, want %q", tag, got, want)
		}
	}
}

func TestNamesOfUnknownArgumentsAreOneShortLine(t *testing.T) {
	typ, err := types.Find("snap")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"a\nRUN: rm -rf /\x1b[31m\u2028\u202e": "a?RUN: rm -rf /?[31m??", "": `""`, "ünïcode": "ünïcode",
		"\xff\xfe": "\ufffd\ufffd", strings.Repeat("é", 61): strings.Repeat("é", 60) + "...",
		strings.Repeat("é", 60): strings.Repeat("é", 60), strings.Repeat("x", 1<<20): strings.Repeat("x", 60) + "...",
	} {
		if got := typ.Unknown(builders.Args{name: 1}); got != want {
			t.Errorf("%.80q is shown as %q", name, got)
		}
	}
	many := builders.Args{}
	for i := range 1000 {
		many[fmt.Sprintf("x%03d", i)] = i
	}
	got := typ.Unknown(many)
	if !strings.HasPrefix(got, "x000, x001, ") || !strings.HasSuffix(got, ", x019, and 980 more") {
		t.Errorf("got %q", got)
	}
}
