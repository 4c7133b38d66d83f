package types_test

import (
	"strings"
	"testing"

	"lpbuildd/backends/fake"
	"lpbuildd/builders"
	"lpbuildd/builders/types"
	"lpbuildd/ordered"
)

// unsorted is a struct whose order is neither that of its names nor of its values.
func unsorted(pairs ...string) ordered.Struct {
	var s ordered.Struct
	for i := 0; i < len(pairs); i += 2 {
		s = append(s, ordered.Member[any]{Name: pairs[i], Value: pairs[i+1]})
	}
	return s
}

// inThisOrder wants to find all texts, one behind the other.
func inThisOrder(t *testing.T, where, text string, want ...string) {
	t.Helper()
	rest := text
	for _, w := range want {
		_, after, found := strings.Cut(rest, w)
		if !found {
			t.Fatalf("%s: no %q in its place (%q) in\n%s", where, w, want, text)
		}
		rest = after
	}
}

func TestTheLastDscIsBuilt(t *testing.T) {
	for _, files := range [][]string{{"a_1.dsc", "b_1.dsc", "x.tar"}, {"c_1.dsc", "x.tar", "b_1.dsc"}} {
		l := newLab(t)
		typ, err := types.Find("binarypackage")
		if err != nil {
			t.Fatal(err)
		}
		b, err := typ.New(builders.Args{"suite": "noble", "ogrecomponent": "main"}, files)
		if err != nil {
			t.Fatal(err)
		}
		sbuildSays(l, fake.Answer{})
		if err := b.Build(t.Context(), l.env); err != nil {
			t.Fatal(err)
		}
		if got := l.target.Transcript(); !strings.Contains(got, "b_1.dsc") || strings.Contains(got, "a_1.dsc") || strings.Contains(got, "c_1.dsc") {
			t.Errorf("of %q:\n%s", files, got)
		}
	}
}

func TestBuildArgumentsKeepTheirOrder(t *testing.T) {
	l := newContainerLab(t)
	b, err := newBuilder(t, "oci", ociArgs(), builders.Args{"build_args": unsorted("Z", "1", "A", "3", "M", "2")})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Build(t.Context(), l.env) // how it ends is others' business
	inThisOrder(t, "docker", l.target.Transcript(), "--build-arg=Z=1", "--build-arg=A=3", "--build-arg=M=2")
	inThisOrder(t, "log", l.log.String(), "--build-arg Z", "--build-arg A", "--build-arg M")
}

func TestSettingsOfJobsKeepTheirOrder(t *testing.T) {
	l := newContainerLab(t)
	b, err := newBuilder(t, "ci", ciArgs(), builders.Args{
		"environment_variables": unsorted("Z", "1", "A", "3", "M", "2"), "plugin_settings": unsorted("y", "1", "b", "3"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Build(t.Context(), l.env)
	inThisOrder(t, "lpci", l.target.Transcript(), "--set-env Z=1", "--set-env A=3", "--set-env M=2", "--plugin-setting y=1", "--plugin-setting b=3")
	inThisOrder(t, "log", l.log.String(), "--set-env Z", "--set-env A", "--set-env M", "--plugin-setting y", "--plugin-setting b")
}

func TestRegistriesKeepTheOrderOfDeclaration(t *testing.T) {
	l := newContainerLab(t)
	packs(l, "sourcecraft", "/home/buildd/test-craft", "a.tar.xz")
	b, err := newBuilder(t, "craft", craftArgs(), builders.Args{"environment_variables": unsorted(
		"MAVEN_ZOO_READ_AUTH", "u:p", "CARGO_ZOO_URL", "https://zoo/", "MAVEN_ANT_URL", "https://ant/", "CARGO_ANT_URL", "https://ant/",
		"CARGO_ZOO_READ_AUTH", "u:token", "MAVEN_ZOO_URL", "https://zoo/", "MAVEN_ANT_READ_AUTH", "v:q",
	)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(t.Context(), l.env); err != nil {
		t.Fatal(err)
	}
	got := l.target.Transcript()
	inThisOrder(t, "cargo", got, "CARGO_REGISTRIES_ZOO_INDEX=", "CARGO_REGISTRIES_ZOO_TOKEN=", "CARGO_REGISTRIES_ANT_INDEX=")
	settings, _ := l.target.File("/home/buildd/test-craft/.m2/settings.xml")
	inThisOrder(t, "Maven's settings", settings.Data,
		"<servers>", "<id>zoo<", "<id>ant<", "<profiles>", "<id>zoo<", "<id>ant<", "<mirrors>", "<id>zoo<", "<id>ant<")
}

func TestSecretsInOrderedStructsAreHidden(t *testing.T) {
	args := builders.Args{
		"secrets": unsorted("any", "deep-secret"), "list": []any{ordered.Struct{{Name: "my_token", Value: []any{"deeper-secret"}}}},
		"url": unsorted("x", "https://u:url-secret@h/"), "plugin_settings": unsorted("p", "plugin-secret"),
	}
	got := strings.Join(builders.Secrets(args), "\n")
	for _, want := range []string{"deep-secret", "deeper-secret", "url-secret", "plugin-secret"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not found", want)
		}
	}
}
