package builders_test

import (
	"encoding/json"
	"strings"
	"testing"

	"lpbuildd/builders"
	"lpbuildd/builders/types"
)

func TestArgs(t *testing.T) {
	args := builders.Args{
		"text": "x", "empty": "", "nil": nil, "false": false, "none": []any{}, "true": true, "zero as text": "0", "one as text": "1", "true as text": "true",
		"int": int64(5), "one": int64(1), "number": json.Number("1"), "double": 1.0, "data": []byte("x"),
		"list": []any{"a", "b"}, "mixed": []any{"a", int64(2)}, "struct": map[string]any{},
	}
	text := func(key string) (any, error) { return args.String(key) }
	optional := func(key string) (any, error) { return args.OptionalString(key) }
	boolean := func(key string) (any, error) { return args.Bool(key) }
	list := func(key string) (any, error) {
		l, err := args.Strings(key)
		return strings.Join(l, ","), err
	}
	for _, c := range []struct {
		name string
		read func(string) (any, error)
		key  string
		want any
		err  string
	}{
		{"a string", text, "text", "x", ""},
		{"a missing string", text, "absent", "", "absent is required"},
		{"an empty string is missing", text, "empty", "", "empty is required"},
		{"nil is missing", text, "nil", "", "nil is required"},
		{"an int is no string", text, "int", "", "int: expected a string, got int"},
		{"binary data is no string", text, "data", "", "data: expected a string, got base64"},
		{"an optional string", optional, "text", "x", ""},
		{"an absent optional string", optional, "absent", "", ""},
		{"false is an absent optional string", optional, "false", "", ""},
		{"an empty array is an absent optional string", optional, "none", "", ""},
		{"true is no string", optional, "true", "", "true: expected a string, got boolean"},
		{"a struct is no string", optional, "struct", "", "struct: expected a string, got struct"},
		{"true", boolean, "true", true, ""},
		{"false", boolean, "false", false, ""},
		{"an absent boolean", boolean, "absent", false, ""},
		{"an empty string is false", boolean, "empty", false, ""},
		{"1 is true", boolean, "one", true, ""},
		{"1 from JSON is true", boolean, "double", true, ""},
		{"the JSON number 1 is true", boolean, "number", true, ""},
		{"5 is no boolean", boolean, "int", false, "int: expected a boolean, got int"},
		{"a string is no boolean", boolean, "text", false, "text: expected a boolean, got string"},
		{"0 as text is no boolean", boolean, "zero as text", false, "zero as text: expected a boolean, got string"},
		{"1 as text is no boolean", boolean, "one as text", false, "one as text: expected a boolean, got string"},
		{"true as text is no boolean", boolean, "true as text", false, "true as text: expected a boolean, got string"},
		{"strings", list, "list", "a,b", ""},
		{"absent strings", list, "absent", "", ""},
		{"a string is no array", list, "text", "", "text: expected an array of strings, got string"},
		{"a member of the wrong type", list, "mixed", "", "mixed[1]: expected a string, got int"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.read(c.key)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestCheckFiles(t *testing.T) {
	for name, want := range map[string]string{
		"hello_1.0.dsc":          "",
		"+=:~ é.tar":             "",
		"":                       "expected a name",
		".":                      "single path component",
		"..":                     "single path component",
		"../evil":                "single path component",
		"/etc/passwd":            "single path component",
		"a\x00b":                 "printable",
		"a\nb":                   "printable",
		"a\xffb":                 "printable",
		"chroot-autobuild":       "uses this name itself",
		"status":                 "uses this name itself",
		"status.tmp":             "uses this name itself",
		".overlay":               "uses this name itself",
		".overlay.saved":         "uses this name itself",
		".lpbuildd":              "uses this name itself",
		strings.Repeat("x", 255): "",
		strings.Repeat("x", 256): "at most 255",
	} {
		t.Run(name, func(t *testing.T) {
			err := builders.CheckFiles([]string{"good.dsc", name})
			if want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		})
	}
}

func TestParseCommon(t *testing.T) {
	t.Run("defaults", func(t *testing.T) {
		c, err := builders.ParseCommon(builders.Args{"series": "noble"}, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if c.Series != "noble" || c.ABI != "amd64" || c.ImageType != "chroot" || c.HasArchives || c.Private || c.FastCleanup {
			t.Errorf("got %+v", c)
		}
	})
	t.Run("everything", func(t *testing.T) {
		c, err := builders.ParseCommon(builders.Args{
			"series": "noble", "arch_tag": "i386", "image_type": "lxd", "fast_cleanup": true,
			"builder_constraints": []any{"gpu"}, "archive_private": true, "archives": []any{"deb x"},
			"trusted_keys": []any{"QQ==", []byte("B")}, "build_url": "http://b",
		}, "amd64")
		if err != nil {
			t.Fatal(err)
		}
		if c.ABI != "i386" || c.ImageType != "lxd" || !c.FastCleanup || !c.Private || c.BuildURL != "http://b" ||
			strings.Join(c.Archives, "|") != "deb x" || !c.HasArchives || strings.Join(c.Constraints, "|") != "gpu" ||
			strings.Join(c.TrustedKeys, "|") != "QQ==|Qg==" {
			t.Errorf("got %+v", c)
		}
	})
	t.Run("an empty list of archives is one", func(t *testing.T) {
		c, err := builders.ParseCommon(builders.Args{"series": "noble", "archives": []any{}}, "amd64")
		if err != nil || !c.HasArchives {
			t.Errorf("HasArchives %v, error %v", c.HasArchives, err)
		}
	})
	t.Run("all errors at once", func(t *testing.T) {
		_, err := builders.ParseCommon(builders.Args{"arch_tag": int64(5), "archives": "deb", "build_url": "a\nb"}, "amd64")
		for _, want := range []string{
			"series is required", "arch_tag: expected a string, got int",
			"archives: expected an array of strings, got string", "build_url: expected a single line",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
	})
	t.Run("keys that are no base64 are accepted here", func(t *testing.T) {
		c, err := builders.ParseCommon(builders.Args{"series": "s", "trusted_keys": []any{"A"}}, "amd64")
		if err != nil || len(c.TrustedKeys) != 1 {
			t.Errorf("got %v, %v", c.TrustedKeys, err)
		}
	})
}

// FuzzArgs decodes arbitrary arguments: whatever they are, the answer is a
// value or an error that is not empty, and never a panic.
func FuzzArgs(f *testing.F) {
	f.Add([]byte(`{"series":"noble","suite":"noble","ogrecomponent":"main","archives":["deb http://u:pass@h/ s c"]}`))
	f.Add([]byte(`{"series":5,"archives":{"a":null},"trusted_keys":[[1]],"fast_cleanup":2e99,"secrets":{"a":["b",{"c":"long"}]}}`))
	f.Add([]byte(`null`))
	typ, err := types.Find("binarypackage")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var args builders.Args
		if json.Unmarshal(data, &args) != nil {
			return
		}
		c, err := builders.ParseCommon(args, "amd64")
		if err == nil && (c.Series == "" || c.ABI == "" || c.ImageType == "") {
			t.Errorf("accepted %s as %+v", data, c)
		}
		if b, err := typ.New(args, []string{"a.dsc"}); err == nil && b == nil {
			t.Error("neither a builder nor an error")
		}
		builders.Secrets(args)
	})
}
