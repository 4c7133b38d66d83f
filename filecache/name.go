package filecache

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The build log is kept beside the entries because it is served beside them;
// the second name is left over from the daemon that this one replaces.
const (
	logName         = "buildlog"
	unsanitisedName = "buildlog.unsanitized"
	maxNameBytes    = 255
	sha1Digits      = 40
)

// The folders of what the package needs for itself.
const (
	stateName = ".lpbuildd"
	tmpName   = stateName + "/tmp"
	metaName  = stateName + "/meta"
)

// CheckName tells whether the name can be that of an entry: one path component
// in UTF-8 without control characters, at most 255 bytes, and not one of the
// names with a meaning of their own. It does not ask for a checksum (spec:
// protocol.md section 7). The error is one line and names what is wrong.
func CheckName(name string) error {
	if why := faultOf(name); why != "" {
		return fmt.Errorf("cannot use %.300q as the name of a cached file: %w", name, errors.New(why))
	}
	return nil
}

func faultOf(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxNameBytes:
		return "it is longer than 255 bytes"
	case name == "." || name == ".." || strings.ContainsRune(name, '/'):
		return "it is a path, not a name"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "it has control characters or is not UTF-8"
	case name == logName, name == unsanitisedName,
		strings.HasPrefix(name, stateName), strings.HasSuffix(name, ".tmp"):
		return "the name is reserved"
	}
	return ""
}

// IsSHA1 tells whether a name promises its content.
func IsSHA1(name string) bool {
	return len(name) == sha1Digits && strings.Trim(name, "0123456789abcdef") == ""
}
