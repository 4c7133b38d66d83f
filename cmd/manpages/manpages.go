// Package manpages is run when the package is built: it writes the manual pages of
// a command and its subcommands from what they tell about themselves, so that the
// two cannot differ.
package manpages

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Book is the manual pages of a program.
type Book struct {
	// Section is that of all pages, e.g. 8.
	Section int
	// Extra writes the sections of the program's own page that its command cannot
	// tell about.
	Extra func(p *Page)
	// SeeAlso are pages that all of these refer to, e.g. "lpbuildd.conf(5)".
	SeeAlso []string
}

// NewCommand returns a hidden command that writes the pages of the command that
// it is added to.
func (b Book) NewCommand() *cobra.Command {
	return &cobra.Command{
		Use: "manpages FOLDER", Short: "Write the manual pages", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return b.write(args[0], cmd.Root(), Date()) },
	}
}

// Date is the date of the pages. It is that of the package which is being built,
// so that it is the same whenever that happens.
func Date() time.Time {
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	return time.Now()
}

// write makes a file for a command, and for each below it that people may use.
func (b Book) write(dir string, cmd *cobra.Command, date time.Time) error {
	path := filepath.Join(dir, fmt.Sprintf("%s.%d", nameOf(cmd), b.Section))
	if err := os.WriteFile(path, []byte(b.page(cmd, date).String()), 0o644); err != nil { // everyone may read a manual
		return err
	}
	for _, c := range available(cmd) {
		if err := b.write(dir, c, date); err != nil {
			return err
		}
	}
	return nil
}

// available are the commands below a command that people may use.
func available(cmd *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c)
		}
	}
	return all
}

// nameOf is the name of a command's page.
func nameOf(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func (b Book) page(cmd *cobra.Command, date time.Time) *Page {
	root := cmd.Root()
	p := NewPage(nameOf(cmd), b.Section, root.Name()+" "+root.Version, date)
	p.Section("Name")
	p.line(nameOf(cmd) + " - " + strings.ToLower(cmd.Short[:1]) + cmd.Short[1:])
	p.Section("Synopsis")
	p.macro("B", cmd.CommandPath())
	p.line(arguments(cmd))
	p.Section("Description")
	p.Text(cmp.Or(cmd.Long, cmd.Short+"."))
	if below := available(cmd); len(below) > 0 {
		p.Section("Commands")
		for _, c := range below {
			p.Item([]string{c.CommandPath()}, c.Short+". See "+b.reference(nameOf(c))+".")
		}
	}
	p.options(cmd)
	if cmd.Example != "" {
		p.Section("Examples")
		p.Text(cmd.Example)
	}
	if cmd == root && b.Extra != nil {
		b.Extra(p)
	}
	b.seeAlso(p, cmd)
	return p
}

// arguments is what follows a command.
func arguments(cmd *cobra.Command) string {
	own := strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())
	if !cmd.Runnable() {
		own = " COMMAND"
	}
	return strings.TrimSpace(strings.Replace(own, "[flags]", "[OPTION...]", 1))
}

// options lists the flags of a command, those of the commands above too.
func (p *Page) options(cmd *cobra.Command) {
	p.Section("Options")
	cmd.InitDefaultHelpFlag()
	cmd.InitDefaultVersionFlag()
	cmd.InheritedFlags() // merges them into the flags below
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		words := "--" + f.Name
		if f.Shorthand != "" {
			words = "-" + f.Shorthand + ", " + words
		}
		if value != "" {
			words += " " + value
		}
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			usage += " (default: " + f.DefValue + ")"
		}
		p.Item([]string{words}, usage)
	})
}

func (b Book) seeAlso(p *Page, cmd *cobra.Command) {
	var pages []string
	if cmd.HasParent() {
		pages = append(pages, b.reference(nameOf(cmd.Parent())))
	}
	for _, c := range available(cmd) {
		pages = append(pages, b.reference(nameOf(c)))
	}
	if pages = append(pages, b.SeeAlso...); len(pages) > 0 {
		p.Section("See also")
		p.line(strings.Join(pages, ", "))
	}
}

// reference is how other pages name a page of this book.
func (b Book) reference(name string) string { return fmt.Sprintf("%s(%d)", name, b.Section) }
