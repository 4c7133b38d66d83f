package depwait_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"lpbuildd/builders/debian/depwait"
)

const (
	header  = "The following packages have unmet dependencies:\n"
	subject = " sbuild-build-depends-hello-dummy : Depends: "
	more    = "                                    Depends: "
	held    = "E: Unable to correct problems, you have held broken packages.\n"
	stage   = "Fail-Stage: install-deps\n"
	noRoom  = "E: There are problems and -y was used without --force-yes\n"
	tools   = "Toolchain package versions: binutils_2.40-2 dpkg-dev_1.21.23\n"
	chunk   = 256 << 10
)

// unmetLog is the log of the spec's worked examples.
func unmetLog(entries ...string) string {
	return header + subject + strings.Join(entries, "\n"+more) + "\n" + held +
		strings.Repeat("x", 4096) + "\n" + stage
}

func tailOf(log string) []byte { return []byte(log[max(0, len(log)-4096):]) }

func analyse(t *testing.T, log string) depwait.Finding {
	t.Helper()
	found, err := depwait.AnalyseLog(strings.NewReader(log), tailOf(log))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func definite(depends string) depwait.Finding {
	return depwait.Finding{Kind: depwait.Definite, Depends: depends}
}

func TestAnalyseLogReadsAptsExplanation(t *testing.T) {
	none := depwait.Finding{}
	maybe := depwait.Finding{Kind: depwait.Maybe}
	giveBack := depwait.Finding{Kind: depwait.GiveBack}
	tests := []struct {
		name, log string
		want      depwait.Finding
	}{
		{"a package that does not exist", unmetLog("enoent but it is not installable"), definite("enoent")},
		{"a version that is not the one to come", unmetLog("ebadver (< 2.0) but 3.0 is to be installed"), definite("ebadver (< 2.0)")},
		{"a version that is not the one installed", unmetLog("ebadver (< 2.0) but 3.0 is installed"), definite("ebadver (< 2.0)")},
		{"a qualifier is stripped", unmetLog("ebadver:any (>= 3.0) but 2.0 is installed"), definite("ebadver (>= 3.0)")},
		{"a virtual package", unmetLog("virt but it is a virtual package"), definite("virt")},
		{"apt will not install it", unmetLog("uninstallable (>= 1) but it is not going to be installed"), maybe},
		{"it is not installed", unmetLog("foo but it is not installed"), maybe},
		{
			"a dubious line wins over a definite one after it",
			unmetLog("ebadver (>= 2) but it is not going to be installed", "uninstallable but it is not installable"), maybe,
		},
		{
			"a dubious line wins over a definite one before it",
			unmetLog("uninstallable but it is not installable", "ebadver (>= 2) but it is not going to be installed"), maybe,
		},
		{"of definite lines the last counts", unmetLog("a but it is not installable", "b (>= 1) but it is not installable"), definite("b (>= 1)")},
		{"the last start on a line counts", unmetLog("a Depends: Depends: (>= 1) but it is not installable"), definite("Depends: (>= 1)")},
		{"giving back wins over a dependency", unmetLog("a but it is not installable") + noRoom + stage, giveBack},
		{"giving back needs no failed stage", noRoom, giveBack},
		{"giving back needs the start of a line", "x" + noRoom, none},
		{"something else", "E: Everything is broken.\n", none},
		{"no log", "", none},
		{"alternatives that all cannot be installed", unmetLog("a but it is not installable or\n      b (>= 3) but 2 is to be installed"), maybe},
		{"a definite line wins over alternatives", unmetLog("x but it is not installable", "a but it is not installable or\n      b but it is not installable"), definite("x")},
		{"an entry that ends with its relation", unmetLog("debhelper-compat (= 14)"), maybe},
		{"an empty name is nothing to wait for", unmetLog(" but it is not installable"), maybe},
		{"an unknown phrase", unmetLog("a but it is not my day"), maybe},
		{"more after the phrase", unmetLog("a but it is not installable today"), maybe},
		{"a relation without a phrase", header + subject + "a (\n" + stage, maybe},
		{"no blank after the name", header + subject + "a\n" + stage, maybe},
		{"an open parenthesis", unmetLog("a (>= 1 but it is not installable"), maybe},
		{"bytes that are no UTF-8", unmetLog("a\xff but it is not installable"), definite("a\uFFFD")},
		{"no header", "x" + subject + "a but it is not installable\n" + stage, maybe},
		{"another failed stage", header + subject + "a but it is not installable\nFail-Stage: build\n", none},
		{"the stage is only part of a line", header + subject + "a but it is not installable\n " + stage, none},
		{"the stage is too far from the end", unmetLog("a but it is not installable") + strings.Repeat("y", 4096), none},
		{"the log ends with the stage", strings.TrimSuffix(unmetLog("a but it is not installable"), "\n"), definite("a")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := analyse(t, tt.log); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAnalyseLogLooksThroughASlidingWindow(t *testing.T) {
	// pad fills with lines up to an offset.
	pad := func(log string, offset int) string {
		return log + strings.Repeat("\n", offset-len(log))
	}
	entry := subject + "a but it is not installable\n"
	end := strings.Repeat("z", 4096) + "\n" + stage
	maybe := depwait.Finding{Kind: depwait.Maybe}
	giveBack := depwait.Finding{Kind: depwait.GiveBack}
	tests := []struct {
		name, log string
		want      depwait.Finding
	}{
		{"a header across a border", pad("", chunk-10) + header + entry + end, definite("a")},
		{"an entry across a border", pad(header, chunk-30) + entry + end, definite("a")},
		{"an entry across a later border", pad(pad("", 2*chunk)+header, 3*chunk-30) + entry + end, definite("a")},
		{"header and entry in neighbouring chunks", pad(header, 2*chunk-len(entry)) + entry + end, definite("a")},
		{"header and entry further apart than a window", pad(header, 2*chunk) + entry + end, maybe},
		{"the same error across a border", pad("", 3*chunk-5) + noRoom + end, giveBack},
		{"the same error at a border", pad("", 2*chunk) + noRoom + end, giveBack},
		{"a border is no start of a line", strings.Repeat("q", 2*chunk) + noRoom + strings.Repeat("\n", 2*chunk) + end, maybe},
		{"the toolchain ends the search", pad(tools, chunk) + header + entry + end, maybe},
		{"a toolchain line across a border ends it after the window", pad(pad("", chunk-5)+tools, 2*chunk) + header + entry + end, maybe},
		{"the toolchain in the same window does not hide what follows", tools + header + entry + end, definite("a")},
		{"the toolchain elsewhere on a line says nothing", pad(" "+tools, chunk) + header + entry + end, definite("a")},
		{"the first window with a match decides", pad(header+entry, 2*chunk) + noRoom + end, definite("a")},
		{"giving back after the toolchain is the package's own output", pad(tools, chunk) + noRoom + end, maybe},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := analyse(t, tt.log); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestAnalyseLogUnderstandsRealLogs(t *testing.T) {
	tests := []struct {
		file string
		want depwait.Kind
	}{
		{"depfail.log", depwait.Maybe},
		{"givenback.log", depwait.GiveBack},
		{"packagefail.log", depwait.None},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			log, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil || len(log) == 0 {
				t.Fatalf("no log: %v", err)
			}
			if got := analyse(t, string(log)); got.Kind != tt.want {
				t.Errorf("got %+v, want kind %v", got, tt.want)
			}
		})
	}
}

func TestAnalyseLogReportsAReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := depwait.AnalyseLog(iotest.ErrReader(broken), nil)
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAnalyseLog(b *testing.B) {
	line := "gcc -DHAVE_CONFIG_H -I. -I.. -g -O2 -Wformat -Depends: x -c -o src/hello.o src/hello.c\n"
	plain := bytes.Repeat([]byte(line), (100<<20)/len(line))
	flood := header + strings.Repeat(subject+"a (", 8000)
	for name, log := range map[string][]byte{
		"100MB of compiler lines":     plain,
		"100MB of open parentheses":   bytes.Repeat([]byte(flood), (100<<20)/len(flood)),
		"100MB of headers and a word": bytes.Repeat([]byte(header+subject+"a but "), 1<<20),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(log)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := depwait.AnalyseLog(bytes.NewReader(log), []byte(stage)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
