package depwait

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"lpbuildd/backends"
)

// maxDsc limits the size of a .dsc; real ones have some kilobytes.
const maxDsc = 16 << 20

// errEnough ends the reading of control data before its end.
var errEnough = errors.New("enough read")

// buildDepends returns the build dependencies of a source package as one field.
// The .dsc may be signed; the signature is not checked.
func buildDepends(dsc io.Reader, archIndep bool) (string, error) {
	data, err := backends.ReadAll(dsc, maxDsc)
	if err != nil {
		return "", fmt.Errorf("cannot read the .dsc: %w", err)
	}
	wanted := []string{"Build-Depends", "Build-Depends-Arch"}
	if archIndep {
		wanted = append(wanted, "Build-Depends-Indep")
	}
	var fields []string
	err = readStanzas(bytes.NewReader(signedText(data)), wanted, func(values [][]byte) error {
		for _, v := range values {
			fields = append(fields, decode(v))
		}
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) {
		return "", fmt.Errorf("cannot read the .dsc: %w", err)
	}
	return strings.Join(fields, ", "), nil
}

// signedText returns what an OpenPGP clear-signed message wraps, or data itself
// if it is none.
func signedText(data []byte) []byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	begin := 0
	for begin < len(lines) && len(bytes.TrimSpace(lines[begin])) == 0 {
		begin++
	}
	if begin == len(lines) || !isLine(lines[begin], "-----BEGIN PGP SIGNED MESSAGE-----") {
		return data
	}
	for begin < len(lines) && len(bytes.TrimSpace(lines[begin])) > 0 {
		begin++
	}
	var text []byte
	for _, line := range lines[begin:] {
		if isLine(line, "-----BEGIN PGP SIGNATURE-----") {
			break
		}
		text = append(text, bytes.TrimPrefix(line, []byte("- "))...)
	}
	return text
}

func isLine(line []byte, text string) bool {
	return string(bytes.TrimRight(line, " \t\r\n")) == text
}
