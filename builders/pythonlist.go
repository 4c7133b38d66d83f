package builders

import (
	"strings"
)

// PythonList shows words as people know it from these logs.
func PythonList(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`).Replace(word) + "'"
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
