package builders

import "testing"

// What Python 3.11 makes of the same texts.
func TestBase64IsDecodedLikePythonDoes(t *testing.T) {
	const wrong = "error"
	for text, want := range map[string]string{
		"": "", "QUJD": "ABC", "QUI=": "AB", "QQ==": "A", "+/+/": "\xfb\xff\xbf", "QR==": "A",
		"QU\r\n JD\n": "ABC", "Q-U_J.D\x00": "ABC", "fake-cert": "}\xa9\x1eq\xea\xed", "%": "", "====": "",
		"QQ==QQ==": "A", "QUJD=": "ABC", "QUJDRA==zzz": "ABCD", "QUI=C": "AB", "QQ=x=": "A\x0c", "Q=Q==": "A", "QQ= =": "A", "=QUJD": "ABC",
		"Q": wrong, "QQ": wrong, "QUI": wrong, "QQ=": wrong, "QUJDQ": wrong, "=QQ=": wrong, "Q=Q=": wrong, "Q===": wrong,
		"ä QUJD": wrong, "QUJD\xff": wrong,
	} {
		got, err := decodeBase64(text)
		if (err != nil) != (want == wrong) || err == nil && string(got) != want {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
}
