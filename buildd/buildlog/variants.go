package buildlog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// minSecret keeps the search from replacing half of the log, and lets it look
// at four bytes at once.
const minSecret = 4

// minFragment is the shortest piece of base64 text that is taken for a secret;
// shorter ones occur by chance.
const minFragment = 8

// variants are the forms in which the secrets may be printed, sorted, each
// once: as they are, quoted for a URL, a shell or JSON, and in base64. Blanks
// around a secret do not belong to it; the forms of secrets shorter than
// minSecret, and forms that short, are left out.
func variants(secrets []string) [][]byte {
	var all [][]byte
	for _, secret := range secrets {
		secret = strings.TrimSpace(secret)
		if len(secret) < minSecret {
			continue
		}
		for _, form := range slices.Concat([]string{secret}, quoted(secret), base64Forms(secret)) {
			if len(form) >= minSecret {
				all = append(all, []byte(form))
			}
		}
	}
	slices.SortFunc(all, bytes.Compare)
	return slices.CompactFunc(all, bytes.Equal)
}

func quoted(s string) []string {
	query := url.QueryEscape(s)
	all := strings.ReplaceAll(query, "+", "%20")
	path := url.PathEscape(s)
	user := strings.TrimPrefix(url.UserPassword("", s).String(), ":")
	forms := []string{query, all, strings.ReplaceAll(all, "%2F", "/"), path, user}
	for _, form := range forms {
		forms = append(forms, lowerEscapes(form))
	}
	return append(forms,
		strings.ReplaceAll(s, `'`, `'"'"'`),
		strings.ReplaceAll(s, `'`, `'\''`),
		inJSON(s, true),
		inJSON(s, false),
	)
}

// lowerEscapes turns %2F into %2f, and so on.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i:], bytes.ToLower(b[i:i+3]))
		}
	}
	return string(b)
}

func inJSON(s string, escapeHTML bool) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(escapeHTML)
	if err := e.Encode(s); err != nil {
		return s
	}
	return strings.TrimSuffix(strings.TrimPrefix(b.String(), `"`), "\"\n")
}

// base64Forms are the encodings of s alone, and the characters that it alone
// decides in the encoding of a longer text, at each of three alignments.
func base64Forms(s string) []string {
	var forms []string
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		raw := e.WithPadding(base64.NoPadding)
		forms = append(forms, e.EncodeToString([]byte(s)), raw.EncodeToString([]byte(s)))
		for before := range 3 {
			text := raw.EncodeToString(append(make([]byte, before), s...))
			from, to := (before*8+5)/6, (before+len(s))*8/6
			if to-from >= minFragment {
				forms = append(forms, text[from:to])
			}
		}
	}
	return forms
}
