package buildlog_test

import (
	"fmt"
	"os"
	"path/filepath"

	"lpbuildd/buildd/buildlog"
)

// Example is a log without its secrets, and what status shows of it.
func Example() {
	dir, err := os.MkdirTemp("", "buildlog-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	path := filepath.Join(dir, "buildlog")
	log, err := buildlog.Create(buildlog.Options{Path: path, Private: true, Secrets: []string{"s3cr3t"}, UID: -1, GID: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	tail := buildlog.NewTailer(path, true)
	defer tail.Close()

	fmt.Fprintln(log, "Get:1 https://user:password@ppa.test/ trixie InRelease")
	fmt.Fprint(log, "the token is s3c")
	fmt.Fprintln(log, "r3t")
	if err := log.Close(); err != nil {
		fmt.Println(err)
	}
	whole, err := os.ReadFile(path)
	fmt.Printf("%s%v\n", whole, err)
	// Of a private build, the tail never begins within a line.
	fmt.Printf("%s", tail.Tail())
	// Output:
	// Get:1 https://ppa.test/ trixie InRelease
	// the token is [redacted]
	// <nil>
	// the token is [redacted]
}
