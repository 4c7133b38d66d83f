package main

import (
	"slices"
	"strings"
	"testing"
)

func TestReadSourceTakesLinesOfAnyLength(t *testing.T) {
	long := strings.Repeat("generated deb misc optional arch=any, ", 200_000) // 7 MB
	sum := sha1Of([]byte("the original source"))
	for name, dsc := range map[string]string{
		"a long line":        "Build-Depends: " + long + "\nArchitecture: all\nChecksums-Sha1:\n " + sum + " 19 hello_1.orig.tar.gz\n",
		"a long field":       "Package-List:\n" + strings.ReplaceAll(long, "generated", "\n generated") + "\nArchitecture: all\nChecksums-Sha1:\n " + sum + " 19 hello_1.orig.tar.gz\n",
		"other line ends":    "Architecture: all\r\nChecksums-Sha1:\r\n " + sum + " 19 hello_1.orig.tar.gz\r\nFiles:\r\n x 19 no.tar\r\n",
		"a signature":        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nArchitecture: all\nChecksums-Sha1:\n " + sum + " 19 hello_1.orig.tar.gz\n-----BEGIN PGP SIGNATURE-----\n\nx\n",
		"no end of the line": "Architecture: all\nChecksums-Sha1:\n\t" + sum + " 19 hello_1.orig.tar.gz",
	} {
		t.Run(name, func(t *testing.T) {
			source(t)
			write(t, "hello_1.dsc", dsc)
			files, indep, err := readSource(t.Context(), "hello_1.dsc")
			var names []string
			for _, f := range files {
				names = append(names, f.name)
			}
			if err != nil || !indep || !slices.Equal(names, []string{"hello_1.dsc", "hello_1.orig.tar.gz"}) {
				t.Errorf("got %q, %v, %v", names, indep, err)
			}
		})
	}
}

func TestReadSourceSaysThatADscIsTooLarge(t *testing.T) {
	source(t)
	write(t, "hello_1.dsc", strings.Repeat("\n", largestDSC+1))
	if _, _, err := readSource(t.Context(), "hello_1.dsc"); err == nil || !strings.Contains(err.Error(), "a .dsc of more than 67108864 bytes") {
		t.Errorf("got %v", err)
	}
}
