package builders

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// decodeBase64 decodes like Python's base64.b64decode, which managers know:
// characters of ASCII that are none of base64's do not matter, nor does what comes
// after the padding; missing padding does.
func decodeBase64(text string) ([]byte, error) {
	const group = 4 // characters that become three bytes
	var data []byte
	padding := 0
	for _, c := range []byte(text) {
		switch held := len(data) % group; {
		case c >= utf8.RuneSelf:
			return nil, errors.New("it has a character that is not ASCII")
		case strings.IndexByte(base64Alphabet, c) >= 0:
			data, padding = append(data, c), 0
		case c == '=' && held > 1:
			if padding++; held+padding >= group {
				return base64.RawStdEncoding.DecodeString(string(data))
			}
		}
	}
	switch len(data) % group {
	case 0:
		return base64.RawStdEncoding.DecodeString(string(data))
	case 1:
		return nil, errors.New("one character is missing, or too many")
	}
	return nil, errors.New("the padding is incorrect")
}
