package types_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"lpbuildd/builders"
)

func TestABIAndVariant(t *testing.T) {
	for _, c := range []struct {
		name         string
		args         builders.Args
		abi, variant string
	}{
		{"nothing is set", builders.Args{}, "s390x", ""},
		{"nil and empty text are not set", builders.Args{"abi_tag": nil, "isa_tag": "", "arch_tag": nil}, "s390x", ""},
		{"only the old tag", builders.Args{"arch_tag": "amd64"}, "amd64", ""},
		{"an empty ABI counts as none", builders.Args{"abi_tag": "", "arch_tag": "amd64"}, "amd64", ""},
		{"a plain build", builders.Args{"abi_tag": "amd64", "isa_tag": "amd64", "arch_tag": "amd64"}, "amd64", ""},
		{"a variant", builders.Args{"abi_tag": "amd64", "isa_tag": "amd64v3", "arch_tag": "amd64v3"}, "amd64", "amd64v3"},
		{"a manager that has forgotten the old tag", builders.Args{"abi_tag": "riscv64", "isa_tag": "riscv64rva23"}, "riscv64", "riscv64rva23"},
		{"the old tag has no effect beside the ABI", builders.Args{"abi_tag": "amd64", "arch_tag": "amd64v3"}, "amd64", ""},
		{"the variant of the old tag", builders.Args{"isa_tag": "amd64v3", "arch_tag": "amd64"}, "amd64", "amd64v3"},
		{"a variant of the builder's own", builders.Args{"isa_tag": "s390xz16"}, "s390x", "s390xz16"},
		{"an instruction set of another ABI", builders.Args{"abi_tag": "amd64", "isa_tag": "riscv64rva23"}, "amd64", "riscv64rva23"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := builders.ParseCommon(withArgs(builders.Args{"series": "noble"}, c.args), "s390x")
			if err != nil || got.ABI != c.abi || got.Variant != c.variant {
				t.Errorf("got %q, %q, %v", got.ABI, got.Variant, err)
			}
		})
	}
}

func TestTagsThatAreNoWords(t *testing.T) {
	for _, key := range []string{"abi_tag", "isa_tag"} {
		for _, value := range []any{int64(7), true, false, []any{}, []any{"amd64"}, map[string]any{}, []byte("amd64"), 1.5, "amd64\nv3", "amd64\x00"} {
			_, err := builders.ParseCommon(builders.Args{"series": "noble", key: value}, "amd64")
			if err == nil || !strings.HasPrefix(err.Error(), key+": expected a ") {
				t.Errorf("%s=%v: got %v", key, value, err)
			}
		}
	}
	_, err := builders.ParseCommon(builders.Args{"series": "noble", "abi_tag": "amd64", "arch_tag": int64(7)}, "amd64")
	wantError(t, err, "arch_tag: expected a string, got int")
}

func TestOptionsOfTheTarget(t *testing.T) {
	c := builders.Common{Series: "noble", ABI: "amd64", Constraints: []string{"gpu-nvidia"}}
	want := []string{"--backend=lxd", "--series=noble", "--arch=amd64", "--abi-tag=amd64", "--isa-tag=amd64", "--constraint=gpu-nvidia"}
	if got := c.Options("lxd"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	c.Variant, want[4] = "amd64v3", "--isa-tag=amd64v3"
	if got := c.Options("lxd"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Builds that know no variants tell of theirs in the log only; that of a live file
// system also tells its tools. How packages are built for a variant has tests of
// its own.
func TestWhatAVariantChangesInEachType(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		if typ.Tag == "binarypackage" {
			t.Skip("see TestBinaryPackageForAVariant")
		}
		synctest.Test(t, func(t *testing.T) { // recipes write the date down
			c.args = withArgs(sampleArgs(t, typ.Tag), c.args)
			transcript := func(variant string) string {
				l := labOf(t, typ.Tag, c)
				l.env.Common.Variant = variant
				if err, _ := attempt(t.Context(), t, l, typ, c); err != nil {
					t.Fatal(err)
				}
				if variant != "" {
					l.golden(typ.Tag+"/variant", nil)
				}
				return strings.ReplaceAll(l.target.Transcript()+l.log.String(), l.tmp, "/home/buildd")
			}
			const told = "  env ARCH=amd64\n  env ARCH_VARIANT=amd64v3\n"
			text := transcript("amd64v3")
			if n := strings.Count(text, told); n != map[string]int{"livefs": 2}[typ.Tag] {
				t.Errorf("the tools are told %d times", n)
			}
			text = strings.ReplaceAll(text, told, "  env ARCH=amd64\n")
			text = strings.ReplaceAll(text, "--abi-tag=amd64 --isa-tag=amd64v3", "--abi-tag=amd64 --isa-tag=amd64")
			if plain := transcript(""); text != plain {
				t.Errorf("beside that, a variant changes\n%s\nto\n%s", plain, text)
			}
		})
	})
}
