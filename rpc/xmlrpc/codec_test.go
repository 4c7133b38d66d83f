package xmlrpc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

func callWith(value string) []byte {
	return []byte("<methodCall><methodName>m</methodName><params><param><value>" + value +
		"</value></param></params></methodCall>")
}

func TestDecodeValue(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       any
	}{
		{"nil", "<nil/>", nil},
		{"nil with a prefix", "<ex:nil></ex:nil>", nil},
		{"bare text", "a b", "a b"},
		{"nothing is an empty string", "", ""},
		{"an empty element is an empty string", "<string/>", ""},
		{"white space is a string", "  ", "  "},
		{"white space around a type", " \n<int>5</int>\t", int64(5)},
		{"white space around a number", "<int> -12\n</int>", int64(-12)},
		{"a plus sign", "<i1>+4</i1>", int64(4)},
		{"64 bits", "<i8>-9223372036854775808</i8>", int64(math.MinInt64)},
		{"more than 64 bits", "<biginteger>99999999999999999999</biginteger>", xmlrpc.BigInt("99999999999999999999")},
		{"boolean", "<boolean>1</boolean>", true},
		{"double", "<double> 2.5 </double>", 2.5},
		{"float", "<float>3</float>", 3.0},
		{"a double out of range", "<double>1e400</double>", math.Inf(1)},
		{"base64 with line breaks", "<base64>\nAA\nEC/w==\n</base64>", []byte{0, 1, 2, 255}},
		{"date", "<dateTime.iso8601>20200102T03:04:05</dateTime.iso8601>", xmlrpc.DateTime("20200102T03:04:05")},
		{"references", "<string>&#9731;&#x41;&quot;&apos;&lt;&amp;&gt;&#13;</string>", "\u2603A\"'<&>\r"},
		{"CDATA", "<string>x<![CDATA[<a>&b;]]>y</string>", "x<a>&b;y"},
		{"a comment in a string", "<string>a<!-- b -->c</string>", "ac"},
		{"a processing instruction in a string", "<string>a<?pi x?>c</string>", "ac"},
		{"line ends", "<string>a\r\nb\rc\n</string>", "a\nb\nc\n"},
		{"attributes", `<string a="1" b:c='&lt;' >x</string >`, "x"},
		{"an empty array element", "<array/>", []any{}},
		{"an array of nothing", "<array> <!-- --> </array>", []any{}},
		{"an empty data element", "<array><data/></array>", []any{}},
		{"an empty struct element", "<struct/>", ordered.Struct{}},
		{"an empty member", "<struct><member/><member> </member><member><name>a</name><value/></member><member/></struct>", ordered.Struct{{Name: "a", Value: ""}}},
		{"an empty base64 element", "<base64/>", []byte{}},
		{"an empty date", "<dateTime.iso8601/>", xmlrpc.DateTime("")},
		{"empty containers", "<array><data><value><struct/></value><value><array><data/></array></value></data></array>", []any{ordered.Struct{}, []any{}}},
		{"the last of two equal members", "<struct><member><name>a</name><value>1</value></member><member><name>a</name><value>2</value></member></struct>", ordered.Struct{{Name: "a", Value: "2"}}},
		{"members in their order, a repeated one at its first place", "<struct><member><name>b</name><value>1</value></member><member><name>a</name><value>2</value></member><member><name>b</name><value>3</value></member></struct>", ordered.Struct{{Name: "b", Value: "3"}, {Name: "a", Value: "2"}}},
		{"odd member names", "<struct><member><name/><value/></member><member><name> &lt;é</name><value/></member></struct>", ordered.Struct{{Name: "", Value: ""}, {Name: " <é", Value: ""}}},
		{
			"nested containers", "<array><data> <value><array><data><value>x</value></data></array></value><value><struct> <member> <name>k</name> <value><array><data/></array></value> </member> </struct></value> </data> </array>",
			[]any{[]any{"x"}, ordered.Struct{{Name: "k", Value: []any{}}}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			call, err := xmlrpc.DecodeCall(callWith(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(call.Params, []any{test.want}) {
				t.Errorf("got %#v, want %#v", call.Params, test.want)
			}
		})
	}
}

func TestDecodeCallDocuments(t *testing.T) {
	const body = "<methodCall><methodName>echo</methodName></methodCall>"
	for _, test := range []struct{ name, doc, method string }{
		{"no parameters", body, "echo"},
		{"an empty params element", "<methodCall><methodName>echo</methodName><params/></methodCall>", "echo"},
		{"a byte order mark", "\ufeff<?xml version='1.0'?>" + body, "echo"},
		{"comments and instructions around", "<?xml version='1.0'?><!-- a --><?b c?>\n" + body + "<!-- d -->\n", "echo"},
		{"Latin-1", "<?xml version='1.0' encoding='ISO-8859-1'?><methodCall><methodName>caf\xe9</methodName></methodCall>", "café"},
		{"ASCII", "<?xml version='1.0' encoding='us-ascii'?>" + body, "echo"},
		{"UTF-8 by another name", "<?xml version='1.0' encoding='UTF8'?>" + body, "echo"},
		{"a byte order mark of UTF-8, and another encoding", "\ufeff<?xml version='1.0' encoding='iso-8859-1'?><methodCall><methodName>\u00e9</methodName></methodCall>", "Ã©"},
		{"UTF-16, low byte first", utf16LE("\ufeff<methodCall><methodName>caf\u00e9 \U0001F600\uFFFD</methodName></methodCall>"), "café \U0001F600\uFFFD"},
		{"UTF-16, high byte first", utf16BE("\ufeff<?xml version='1.0' encoding='UTF-16'?><methodCall><methodName>café</methodName></methodCall>"), "café"},
		{"UTF-16 without a mark", utf16LE("<?xml version='1.0' encoding='UTF-16LE'?>" + body), "echo"},
		{"UTF-16 without a mark, high byte first", utf16BE(body), "echo"},
		{"windows-1252", "<?xml version=\"1.0\" encoding=\"Windows-1252\"?><methodCall><methodName>\x80</methodName></methodCall>", "€"},
		{"ISO-8859-15", "<?xml version='1.0' encoding='ISO-8859-15' standalone='yes'?><methodCall><methodName>\xa4</methodName></methodCall>", "€"},
		{"ISO-8859-15 as Python has it", "<?xml version='1.0' encoding='iso8859_15'?><methodCall><methodName>\xa4</methodName></methodCall>", "€"},
		{"Latin-1 as Python has it", "<?xml version='1.0' encoding='iso8859-1'?><methodCall><methodName>\x80</methodName></methodCall>", "\u0080"},
		{"Mac OS Roman as Python has it", "<?xml version='1.0' encoding='mac_roman'?><methodCall><methodName>\x8e</methodName></methodCall>", "é"},
		{"KOI8-R", "<?xml version='1.0' encoding = 'koi8-r'?><methodCall><methodName>\xc1</methodName></methodCall>", "а"},
		{"Shift_JIS", "<?xml version='1.0' encoding='Shift_JIS'?><methodCall><methodName>\x83\x65</methodName></methodCall>", "テ"},
		{"an empty parameter", "<methodCall><methodName>echo</methodName><params><param/> <param> </param></params></methodCall>", "echo"},
		{"a name with blanks", "<methodCall><methodName> echo </methodName></methodCall>", " echo "},
		{"an empty name", "<methodCall><methodName></methodName></methodCall>", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			call, err := xmlrpc.DecodeCall([]byte(test.doc))
			if err != nil || call.Method != test.method || len(call.Params) != 0 {
				t.Errorf("got %+v, %v", call, err)
			}
		})
	}
}

func utf16LE(text string) string { return inUTF16(text, binary.LittleEndian) }
func utf16BE(text string) string { return inUTF16(text, binary.BigEndian) }

func inUTF16(text string, order binary.AppendByteOrder) string {
	var doc []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		doc = order.AppendUint16(doc, unit)
	}
	return string(doc)
}

func TestAConvertedDocumentHasALimit(t *testing.T) {
	doc := "<?xml version='1.0' encoding='windows-1252'?>" + string(callWith(strings.Repeat("\x80", xmlrpc.MaxConverted/3)))
	if _, err := xmlrpc.DecodeCall([]byte(doc)); err == nil || !strings.Contains(err.Error(), "larger than 33554432 bytes in UTF-8") {
		t.Errorf("got %v", err)
	}
}

func TestManyEmptyMembersNeedNoStack(t *testing.T) {
	call, err := xmlrpc.DecodeCall(callWith("<struct>" + strings.Repeat("<member/>", xmlrpc.MaxElements-10) + "</struct>"))
	if err != nil || !reflect.DeepEqual(call.Params, []any{ordered.Struct{}}) {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := string(callWith("<int>1</int>"))
	for _, test := range []struct{ name, doc, reason string }{
		{"nothing", "", "no element found"},
		{"no XML", "not xml at all", "not XML"},
		{"binary", "\x00\x01\x02", "not XML"},
		{"a document that ends early", "<methodCall><methodName>echo</methodName>", "ends inside <methodCall>"},
		{"mismatched tags", "<methodCall></params>", "mismatched tag"},
		{"different prefixes", string(callWith("<a:nil></nil>")), "mismatched tag"},
		{"an end tag first", "</methodCall>", "mismatched tag"},
		{"text behind the document", whole + "junk", "junk after document element"},
		{"text and a comment behind the document", whole + "junk<!-- -->", "unexpected text"},
		{"two documents", whole + whole, "junk after document element"},
		{"a late declaration", "\n<?xml version='1.0'?>" + whole, "XML declaration not at start"},
		{"a document type", "<!DOCTYPE x [<!ENTITY a 'b'>]>" + whole, "document type declarations are not allowed"},
		{"another document", "<foo/>", "expected <methodCall>, got <foo>"},
		{"a response", "<methodResponse><params/></methodResponse>", "expected <methodCall>, got <methodResponse>"},
		{"no method name", "<methodCall><params/></methodCall>", "expected <methodName>, got <params>"},
		{"an unknown encoding", "<?xml version='1.0' encoding='ebcdic'?>" + whole, `unknown encoding "ebcdic": use UTF-8`},
		{"an encoding that no ASCII is in", "<?xml version='1.0' encoding='IBM037'?>" + whole, "is not that of the document"},
		{"UTF-16 in the declaration only", "<?xml version='1.0' encoding='UTF-16'?>" + whole, "is not that of the document"},
		{"UTF-16 that claims to be UTF-8", utf16LE("\ufeff<?xml version='1.0' encoding='utf-8'?>" + whole), "is not that of the document"},
		{"UTF-16 of the other order", utf16LE("\ufeff<?xml version='1.0' encoding='UTF-16BE'?>" + whole), "is not that of the document"},
		{"half a pair in UTF-16", strings.Replace(utf16LE("\ufeff"+string(callWith("X"))), "X\x00", "\x00\xd8", 1), "invalid UTF-16"},
		{"half a character of UTF-16", utf16LE("\ufeff"+whole) + "\n", "invalid UTF-16"},
		{"a byte that ISO-8859-7 has not", "<?xml version='1.0' encoding='ISO-8859-7'?>" + string(callWith("\xff")), "invalid character in iso-8859-7"},
		{"a byte that ASCII has not, by another name", "<?xml version='1.0' encoding='ascii'?>" + string(callWith("\xe9")), "invalid character in ascii"},
		{"a byte that ASCII has not", "<?xml version='1.0' encoding='us-ascii'?>" + string(callWith("\xe9")), "invalid character in us-ascii"},
		{"invalid UTF-8", string(callWith("\xff\xfe")), "invalid character"},
		{"a control character", string(callWith("\x08")), "invalid character"},
		{"a control character in CDATA", string(callWith("<![CDATA[\x08]]>")), "invalid character"},
		{"a reference to a control character", string(callWith("&#8;")), "invalid character reference"},
		{"a reference beyond Unicode", string(callWith("&#x110000;")), "invalid character reference"},
		{"a reference to half a pair", string(callWith("&#xD800;")), "invalid character reference"},
		{"an unknown entity", string(callWith("&nosuch;")), "undefined entity"},
		{"an open comment", "<methodCall><!-- ", "bad comment"},
		{"an open CDATA section", "<methodCall><![CDATA[", "unclosed CDATA"},
		{"an attribute without a value", "<methodCall a>", "bad tag"},
		{"a lone <", string(callWith("a < b")), "bad tag"},
		{"an unknown type", string(callWith("<unknown>x</unknown>")), "unknown type <unknown>"},
		{"two values in one", string(callWith("<string>a</string><string>b</string>")), "expected </value>, got <string>"},
		{"text beside a type", string(callWith("a<int>1</int>")), "expected </value>"},
		{"an element in a number", string(callWith("<int>1<b/></int>")), "expected text, got <b>"},
		{"letters as an integer", string(callWith("<int>abc</int>")), `invalid integer "abc"`},
		{"letters behind a long integer", string(callWith("<int>99999999999999999999x</int>")), "invalid integer"},
		{"an empty integer", string(callWith("<int></int>")), `invalid integer ""`},
		{"a word as a boolean", string(callWith("<boolean>true</boolean>")), "invalid boolean"},
		{"a boolean with blanks", string(callWith("<boolean> 1</boolean>")), "invalid boolean"},
		{"letters as a double", string(callWith("<double>x</double>")), "invalid double"},
		{"a hexadecimal double", string(callWith("<double>0x1p4</double>")), "invalid double"},
		{"base64 without padding", string(callWith("<base64>AAE</base64>")), "bad padding"},
		{"text in nil", string(callWith("<nil>x</nil>")), "unexpected text"},
		{"an array with a value and no data", string(callWith("<array><value/></array>")), "expected <data>, got <value>"},
		{"an empty integer element", string(callWith("<int/>")), `invalid integer ""`},
		{"an empty boolean element", string(callWith("<boolean/>")), "invalid boolean"},
		{"an empty double element", string(callWith("<double/>")), "invalid double"},
		{"a member without a name", string(callWith("<struct><member><value/></member></struct>")), "expected <name>, got <value>"},
		{"a member without a value", string(callWith("<struct><member><name>a</name></member></struct>")), "expected <value>, got </member>"},
		{"nesting beyond the limit", string(callWith(nested(xmlrpc.MaxDepth + 1))), "nested too deeply"},
		{"too many elements", string(callWith("<array><data>" + strings.Repeat("<value/>", xmlrpc.MaxElements) + "</data></array>")), "too many elements"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := xmlrpc.DecodeCall([]byte(test.doc))
			var syntax *xmlrpc.SyntaxError
			if !errors.As(err, &syntax) || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("got %v, want %q", err, test.reason)
			}
		})
	}
}

func TestSyntaxErrorSaysWhere(t *testing.T) {
	_, err := xmlrpc.DecodeCall([]byte("<methodCall>\n <methodName>a</x>"))
	if want := "mismatched tag: line 2, column 15"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func nested(depth int) string {
	return strings.Repeat("<array><data><value>", depth) + strings.Repeat("</value></data></array>", depth)
}

func TestDeepestValueCanBeEchoed(t *testing.T) {
	call, err := xmlrpc.DecodeCall(callWith(nested(xmlrpc.MaxDepth)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := xmlrpc.AppendResponse(nil, call.Params); err != nil {
		t.Error(err)
	}
	if _, err := xmlrpc.AppendResponse(nil, []any{call.Params}); err == nil {
		t.Error("one level more was encoded")
	}
}

func TestEncodeResponse(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
		want  string
	}{
		{"markup", "<&>\"'", "<value><string>&lt;&amp;&gt;\"'</string></value>\n"},
		{"a carriage return survives", "a\r\nb", "<value><string>a&#13;\nb</string></value>\n"},
		{"control characters are replaced", "a\x00\x1b[mb", "<value><string>a\uFFFD\uFFFD[mb</string></value>\n"},
		{"invalid UTF-8 is replaced", "\xff\uFFFEé", "<value><string>\uFFFD\uFFFDé</string></value>\n"},
		{"nil", nil, "<value><nil/></value>"},
		{"the largest int", int64(math.MaxInt32), "<value><int>2147483647</int></value>\n"},
		{"a whole double", 3.0, "<value><double>3.0</double></value>\n"},
		{"a small double", 1e-7, "<value><double>1e-07</double></value>\n"},
		{"a large double", 1e16, "<value><double>1e+16</double></value>\n"},
		{"a double that needs all digits", 0.30000000000000004, "<value><double>0.30000000000000004</double></value>\n"},
		{"no number", math.NaN(), "<value><double>nan</double></value>\n"},
		{"infinity", math.Inf(-1), "<value><double>-inf</double></value>\n"},
		{"no bytes", []byte{}, "<value><base64>\n</base64></value>\n"},
		{"bytes in lines", make([]byte, 58), "<value><base64>\n" + strings.Repeat("A", 76) + "\nAA==\n</base64></value>\n"},
		{"strings", []string{"a"}, "<value><array><data>\n<value><string>a</string></value>\n</data></array></value>\n"},
		{"a struct in its order", ordered.Struct{{Name: "b", Value: true}, {Name: "a", Value: nil}}, "<value><struct>\n<member>\n<name>b</name>\n<value><boolean>1</boolean></value>\n</member>\n<member>\n<name>a</name>\n<value><nil/></value></member>\n</struct></value>\n"},
		{"a map sorted, with odd names", map[string]string{"<": "2", "\x01": "1"}, "<value><struct>\n<member>\n<name>\uFFFD</name>\n<value><string>1</string></value>\n</member>\n<member>\n<name>&lt;</name>\n<value><string>2</string></value>\n</member>\n</struct></value>\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := xmlrpc.AppendResponse(nil, test.value)
			if err != nil {
				t.Fatal(err)
			}
			want := "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n" + test.want + "</param>\n</params>\n</methodResponse>\n"
			if string(got) != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

func TestEncodeResponseRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		value any
		want  string
	}{
		{"33 bits", int64(math.MaxInt32) + 1, "int exceeds XML-RPC limits"},
		{"33 bits below zero", []any{math.MinInt32 - 1}, "int exceeds XML-RPC limits"},
		{"more than 64 bits", xmlrpc.BigInt("99999999999999999999"), "int exceeds XML-RPC limits"},
		{"too much text", strings.Repeat("x", xmlrpc.MaxResponse), "the response is longer than 41943040 bytes"},
		{"text that is too long when it is escaped", strings.Repeat("é>", xmlrpc.MaxResponse/6+1), "the response is longer than 41943040 bytes"},
		{"a name that is too long when it is escaped", map[string]any{strings.Repeat("&", xmlrpc.MaxResponse/5+1): nil}, "the response is longer than 41943040 bytes"},
		{"too many bytes", make([]byte, xmlrpc.MaxResponse), "the response is longer than 41943040 bytes"},
		{"too many values", make([]any, xmlrpc.MaxResponse/len("<value><nil/></value>")+1), "the response is longer than 41943040 bytes"},
		{"a Go type that XML-RPC has not", []any{struct{}{}}, "cannot marshal struct {}"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := []byte("before")
			got, err := xmlrpc.AppendResponse(before, test.value)
			if err == nil || err.Error() != test.want || !bytes.Equal(got, before) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestDecodeResponse(t *testing.T) {
	doc, err := xmlrpc.AppendResponse(nil, []any{"a", int64(1)})
	if err != nil {
		t.Fatal(err)
	}
	value, err := xmlrpc.DecodeResponse(doc)
	if err != nil || !reflect.DeepEqual(value, []any{"a", int64(1)}) {
		t.Errorf("got %v, %v", value, err)
	}
	_, err = xmlrpc.DecodeResponse(xmlrpc.AppendFault(nil, 8002, "a <b>"))
	var fault *xmlrpc.FaultError
	if !errors.As(err, &fault) || *fault != (xmlrpc.FaultError{Code: 8002, String: "a <b>"}) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeResponseRefuses(t *testing.T) {
	for _, test := range []struct{ name, doc, reason string }{
		{"a call", string(callWith("x")), "expected <methodResponse>"},
		{"no value", "<methodResponse><params/></methodResponse>", "expected one <param>, got 0"},
		{"neither", "<methodResponse/>", "expected <params> or <fault>"},
		{"a fault without a code", "<methodResponse><fault><value/></fault></methodResponse>", "a fault without faultCode"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := xmlrpc.DecodeResponse([]byte(test.doc))
			if err == nil || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("got %v, want %q", err, test.reason)
			}
		})
	}
}

// FuzzDecodeCall states: no document makes the decoder panic, and what it
// accepts means the same after it was encoded again.
func FuzzDecodeCall(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzDecodeCall/*")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no seeds in testdata: %v", err)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		call, err := xmlrpc.DecodeCall(doc)
		if err != nil {
			return
		}
		first, err := xmlrpc.AppendCall(nil, call.Method, call.Params)
		if err != nil {
			t.Fatalf("cannot encode what was decoded: %v", err)
		}
		again, err := xmlrpc.DecodeCall(first)
		if err != nil {
			t.Fatalf("cannot decode what was encoded: %v\n%s", err, first)
		}
		// Compared as documents, because a NaN is not equal to itself.
		second, err := xmlrpc.AppendCall(nil, again.Method, again.Params)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v\n%s\nbecame\n%s", err, first, second)
		}
	})
}

// FuzzString states: every string can be sent, and comes back with only the
// characters replaced that XML does not have.
func FuzzString(f *testing.F) {
	for _, seed := range []string{"", "plain", "<&>\"'\r\n\t", "\x00\x1b", "\xff\xfe", "\u2603\U0001F600\uFFFE", "]]>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := xmlrpc.AppendResponse(nil, map[string]any{text: text})
		if err != nil {
			t.Fatal(err)
		}
		value, err := xmlrpc.DecodeResponse(doc)
		if err != nil {
			t.Fatalf("%v\n%s", err, doc)
		}
		want := strings.Map(func(r rune) rune {
			if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
				return '\uFFFD'
			}
			return r
		}, text)
		if !reflect.DeepEqual(value, ordered.Struct{{Name: want, Value: want}}) {
			t.Errorf("%q became %q", text, value)
		}
	})
}

func BenchmarkDecodeCall(b *testing.B) {
	for _, name := range []string{"status", "build"} {
		b.Run(name, func(b *testing.B) {
			doc, err := fs.ReadFile(os.DirFS("testdata"), name+".xml")
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := xmlrpc.DecodeCall(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
