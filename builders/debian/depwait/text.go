package depwait

import "strings"

// decode makes text of log bytes as the log itself is shown: what is not UTF-8
// is replaced.
func decode(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
