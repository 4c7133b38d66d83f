package backends

import "strings"

// Quote writes words as a POSIX shell reads them back, with single spaces
// between them (spec: lifecycle.md section 4.1). Bytes are kept as they are.
func Quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quoteWord(word)
	}
	return strings.Join(quoted, " ")
}

func quoteWord(word string) string {
	if word != "" && strings.IndexFunc(word, needsQuotes) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
}

func needsQuotes(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_@%+=:,./-", r)
}

// PythonList writes words as Python shows a list of strings, which is how people know
// some lines of logs. Only printable text comes out as it does there.
func PythonList(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quote := "'"
		if strings.Contains(word, "'") && !strings.Contains(word, `"`) {
			quote = `"`
		}
		quoted[i] = quote + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, quote, `\`+quote).Replace(word) + quote
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
