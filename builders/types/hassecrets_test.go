package types_test

import (
	"slices"
	"strings"
	"testing"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
)

// TestFilesWithSecretsAreNamed: what holds credentials is known before it is
// there, so that it can be taken away before a failed build is kept.
func TestFilesWithSecretsAreNamed(t *testing.T) {
	private := builders.Args{"git_repository": "https://user:git-token@git.test/repo"}
	checkout := func(dir string) []string {
		return []string{dir + "/.bzr/branch/branch.conf", dir + "/.git/config", dir + "/.git/modules"}
	}
	maven := builders.Args{"environment_variables": map[string]any{"MAVEN_A_URL": "https://a/", "MAVEN_A_READ_AUTH": "u:maven-token"}}
	for _, c := range []struct {
		name, tag string
		base      builders.Args
		args      builders.Args
		want      []string
	}{
		{"a public snap", "snap", snapArgs(), nil, nil},
		{"a private snap", "snap", snapArgs(), private, checkout("/build/test-snap")},
		{"a private branch", "snap", snapArgs(), builders.Args{"git_repository": nil, "branch": "https://user:bzr-token@bzr.test/"}, checkout("/build/test-snap")},
		{"a craft with Maven", "craft", craftArgs(), maven, []string{"/home/buildd/test-craft/.m2/settings.xml"}},
		{"a CI build with secrets", "ci", ciArgs(), ciSecretArgs(), []string{"/build/.launchpad-secrets.yaml"}},
		{"a CI build without", "ci", ciArgs(), nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newContainerLab(t)
			var named []string
			l.env.HasSecrets = func(paths ...string) { named = append(named, paths...) }
			l.target.AddFile("/build/tree/.git/HEAD", "", 0o644)
			b, err := newBuilder(t, c.tag, c.base, c.args)
			if err != nil {
				t.Fatal(err)
			}
			_ = b.Build(t.Context(), l.env) // how it ends does not matter
			slices.Sort(named)
			if named = slices.Compact(named); !slices.Equal(named, c.want) {
				t.Errorf("named are %s", strings.Join(named, " "))
			}
		})
	}
}

func TestAPasswordOfTheAptProxyIsNamed(t *testing.T) {
	for url, want := range map[string]int{"": 0, "http://proxy.test:3128/": 0, "http://user:secret@proxy.test/": 1} {
		l := newLab(t)
		var named []string
		l.env.HasSecrets = func(paths ...string) { named = append(named, paths...) }
		if err := apt.OverrideSources(t.Context(), l.env, url); err != nil || len(named) != want {
			t.Errorf("%s: %v, named are %v", url, err, named)
		}
	}
}
