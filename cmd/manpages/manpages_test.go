package manpages_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"lpbuildd/cmd/manpages"
)

// program is a command with everything that a page has to show.
func program() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "tool", Version: "1.2", Short: "Do things", Long: "tool does things.\n\nIt takes\n\n    tool sub A  # 'quoted'\n\n.dots and \\ too."}
	sub := &cobra.Command{Use: "sub FILE", Short: "Do one thing", Example: "  tool sub x", Run: run}
	sub.Flags().StringP("name", "n", "me", "the `name` of it")
	root.PersistentFlags().Bool("all", false, "everything")
	root.AddCommand(sub, &cobra.Command{Use: "secret", Hidden: true, Run: run})
	book := manpages.Book{Section: 8, SeeAlso: []string{"other(5)"}, Extra: func(p *manpages.Page) {
		p.Section("Files")
		p.Item([]string{"/etc/a", "/etc/b"}, "Two files.")
	}}
	root.AddCommand(book.NewCommand())
	return root
}

func write(t *testing.T) (dir string) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	dir = t.TempDir()
	root := program()
	root.SetArgs([]string{"manpages", dir})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPagesAreThoseOfCommandsForPeople(t *testing.T) {
	dir := write(t)
	found, err := filepath.Glob(filepath.Join(dir, "tool*"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range found {
		if name := filepath.Base(path); !strings.Contains(name, "completion") {
			names = append(names, name)
		}
	}
	if got := strings.Join(names, " "); got != "tool-sub.8 tool.8" {
		t.Errorf("got %s", got)
	}
}

func TestPagesTellWhatCommandsTell(t *testing.T) {
	dir := write(t)
	tests := map[string][]string{
		"tool.8": {
			`.TH "TOOL" "8" "1970\-01\-02" "tool 1.2" "lpbuildd"`, `tool \- do things`, ".B \"tool\"\nCOMMAND",
			".nf\n    tool sub A  # \\(aqquoted\\(aq\n.fi", `\&.dots and \e too.`,
			".B \"tool sub\"\nDo one thing. See tool\\-sub(8).", ".B \"\\-\\-all\"\neverything",
			".TP\n.B \"/etc/a\"\n.TQ\n.B \"/etc/b\"\nTwo files.", `tool\-sub(8), other(5)`,
		},
		"tool-sub.8": {
			".B \"tool sub\"\nFILE [OPTION...]", "Do one thing.\n", ".B \"\\-n, \\-\\-name name\"\nthe name of it (default: me)",
			".B \"\\-\\-all\"\n", ".SH \"EXAMPLES\"\n.nf\n  tool sub x\n.fi", "tool(8), other(5)",
		},
	}
	for name, want := range tests {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(data), w) {
				t.Errorf("%s lacks %q:\n%s", name, w, data)
			}
		}
	}
}

func TestManFindsNoFault(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("needs man: ", err)
	}
	paths, _ := filepath.Glob(filepath.Join(write(t), "*"))
	for _, path := range paths {
		cmd := exec.CommandContext(t.Context(), "man", "--warnings=w", "-E", "UTF-8", "-l", "-Tutf8", path)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80")
		var faults strings.Builder
		cmd.Stderr = &faults
		if out, err := cmd.Output(); err != nil || faults.Len() > 0 || len(out) == 0 {
			t.Errorf("%s: %v\n%s", path, err, faults.String())
		}
	}
}
