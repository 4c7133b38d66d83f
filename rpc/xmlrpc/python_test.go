package xmlrpc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

// pythonSays is what Python's xmlrpc.client made of a document.
type pythonSays struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	// Again is the call as Python would send it, Echo what it would find in that:
	// carriage returns, for example, it does not protect.
	Again []byte          `json:"again"`
	Echo  json.RawMessage `json:"echo"`
}

// askPython has one process read all documents; nil is what it refused.
func askPython(t *testing.T, docs [][]byte) []*pythonSays {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	var in, stderr bytes.Buffer
	for _, doc := range docs {
		in.WriteString(base64.StdEncoding.EncodeToString(doc) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/python.py")
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	answers := make([]*pythonSays, 0, len(docs))
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var a *pythonSays
		if err := decoder.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	if len(answers) != len(docs) {
		t.Fatalf("%d answers to %d documents", len(answers), len(docs))
	}
	return answers
}

// asPython shows a value as testdata/python.py does.
func asPython(value any) any {
	switch v := value.(type) {
	case nil:
		return []any{"nil", ""}
	case bool:
		return []any{"bool", map[bool]string{true: "True", false: "False"}[v]}
	case int64:
		return []any{"int", strconv.FormatInt(v, 10)}
	case xmlrpc.BigInt:
		return []any{"int", strings.TrimPrefix(string(v), "+")}
	case float64:
		if math.IsNaN(v) {
			return []any{"double", "nan"}
		}
		return []any{"double", fmt.Sprintf("%016x", math.Float64bits(v))}
	case string:
		return []any{"string", v}
	case []byte:
		return []any{"base64", v}
	case xmlrpc.DateTime:
		return []any{"date", string(v)}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = asPython(v[i])
		}
		return []any{"array", list}
	case ordered.Struct:
		members := make([]any, len(v))
		for i, m := range v {
			members[i] = []any{m.Name, asPython(m.Value)}
		}
		return []any{"struct", members}
	}
	return fmt.Sprintf("%T", value)
}

func sameJSON(a any, b json.RawMessage) bool {
	var x, y any
	text, err := json.Marshal(a)
	return err == nil && json.Unmarshal(text, &x) == nil && json.Unmarshal(b, &y) == nil &&
		fmt.Sprintf("%#v", x) == fmt.Sprintf("%#v", y)
}

// TestPythonReadsWhatWeWrite: 500 calls with values of all types mean to Python
// what they mean to us, and what Python makes of them means the same to us.
func TestPythonReadsWhatWeWrite(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(1, 2))}
	docs, params := make([][]byte, 500), make([][]any, 500)
	for i := range docs {
		for range g.IntN(4) {
			params[i] = append(params[i], g.value(3))
		}
		var err error
		if docs[i], err = xmlrpc.AppendCall(nil, "method", params[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i, said := range askPython(t, docs) {
		if said == nil {
			t.Fatalf("Python refuses\n%s", docs[i])
		}
		want := asPython(append([]any{}, params[i]...))
		if said.Method != "method" || !sameJSON(want, said.Params) {
			t.Errorf("%s\nis to Python %s\nnot %v", docs[i], said.Params, want)
		}
		if len(said.Again) == 0 {
			continue
		}
		call, err := xmlrpc.DecodeCall(said.Again)
		if err != nil || !sameJSON(asPython(call.Params), said.Echo) {
			t.Errorf("%v: Python's\n%s\nis %v", err, said.Again, call.Params)
		}
	}
}

// TestWeReadWhatPythonReads: 500 calls in odd but legal dress, in many encodings.
func TestWeReadWhatPythonReads(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(3, 4))}
	docs := make([][]byte, 500)
	for i := range docs {
		docs[i] = g.document()
	}
	for i, said := range askPython(t, docs) {
		call, err := xmlrpc.DecodeCall(docs[i])
		switch {
		case said == nil && err == nil:
			t.Errorf("Python refuses what is to us %v:\n%s", call.Params, docs[i])
		case said == nil:
		case err != nil:
			t.Errorf("%v, which to Python is %s:\n%s", err, said.Params, docs[i])
		case call.Method != said.Method || !sameJSON(asPython(call.Params), said.Params):
			t.Errorf("%s\nis to Python %q %s\nand to us %q %v", docs[i], said.Method, said.Params, call.Method, call.Params)
		}
	}
}

// generator makes values, and documents as others may write them.
type generator struct{ *rand.Rand }

func pick[T any](g generator, from ...T) T { return from[g.IntN(len(from))] }

func (g generator) string() string {
	return pick(g, "", " ", "plain", "<&>\"'", "a\r\nb\rc", "]]>", "é€ä", "\U0001F600", "\t x \n", "&amp;", strings.Repeat("long ", 50))
}

func (g generator) value(depth int) any {
	kinds := 8
	if depth > 0 {
		kinds = 10
	}
	switch g.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return g.IntN(2) == 0
	case 2:
		return pick[int64](g, 0, 1, -1, math.MaxInt32, math.MinInt32, 1<<40, math.MaxInt64, math.MinInt64)
	case 3:
		return pick(g, 0, 0.5, -3, 1e-7, 1e16, 0.1, math.Inf(1), math.NaN(), math.MaxFloat64, math.SmallestNonzeroFloat64)
	case 4:
		data := make([]byte, g.IntN(130))
		for i := range data {
			data[i] = byte(g.IntN(256))
		}
		return data
	case 5:
		return xmlrpc.DateTime("20200102T03:04:05")
	case 8:
		list := []any{}
		for range g.IntN(5) {
			list = append(list, g.value(depth-1))
		}
		return list
	case 9:
		var members ordered.Builder[any]
		for range g.IntN(5) {
			members.Set(g.string(), g.value(depth-1))
		}
		return members.Map()
	}
	return g.string()
}

// space is what may stand between elements.
func (g generator) space() string {
	return pick(g, "", "", "", " ", "\n\t", "\r\n", "<!-- a <comment> & -->", "<?pi some?>")
}

// element writes an element in one of its forms; a legal form, save for numbers
// that are none.
func (g generator) element(name, content string) string {
	attribute := pick(g, "", "", "", ` a="b"`, ` x:y = '&lt;"'`, "\n", ` xml:space="preserve"`)
	if content == "" && g.IntN(2) == 0 {
		return "<" + name + attribute + pick(g, "", " ") + "/>"
	}
	return "<" + name + attribute + ">" + content + "</" + name + pick(g, "", " ", "\n") + ">"
}

// chars writes text with references, sections and comments in it.
func (g generator) chars(letters string) string {
	var text strings.Builder
	for range g.IntN(6) {
		text.WriteString(pick(g, "a", " ", "\r\n", "&lt;", "&amp;", "&#65;", "&#x20AC;", "<![CDATA[<b>&x;]]>", "<!-- c -->", "<?p?>", "&#13;", "&#x1F600;", letters))
	}
	return text.String()
}

func (g generator) valueElement(depth int, letters string) string {
	content := ""
	kinds := 12
	if depth > 0 {
		kinds = 16
	}
	switch g.IntN(kinds) {
	case 0, 1:
		return g.element("value", g.chars(letters))
	case 2, 3:
		content = g.element("string", g.chars(letters))
	case 4:
		content = g.element(pick(g, "int", "i4", "i8", "i1", "i2", "biginteger", "ex:i8"), pick(g, "5", " -7\n", "+3", "", "x", "007", "99999999999999999999", "1 2", "0x1"))
	case 5:
		content = g.element("boolean", pick(g, "0", "1", "", "2", "true", " 1"))
	case 6:
		content = g.element(pick(g, "double", "float"), pick(g, "1.5", "-2e10", ".5", "3", " 1 ", "inf", "nan", "", "1,5", "1e999"))
	case 7:
		content = g.element(pick(g, "nil", "ex:nil"), pick(g, "", " "))
	case 8:
		content = g.element("base64", pick(g, "", "YQ==", "\nYW\nI=\n", " Y W J j ", "YQ", "!YWJj?"))
	case 9:
		content = g.element("dateTime.iso8601", pick(g, "", "20200102T03:04:05", " 20200102T03:04:05\n"))
	case 10:
		content = g.element("nosuch:string", letters)
	case 11:
		content = g.element("array", pick(g, "", g.space(), g.element("data", g.space())))
	case 12, 13:
		items := g.several(func() string { return g.valueElement(depth-1, letters) })
		content = g.element("array", g.space()+g.element("data", items)+g.space())
	default:
		members := g.several(func() string {
			name := g.element("name", pick(g, "", "a", "b", "c", " d ", "&lt;", letters))
			return pick(g, "", "", "", g.element("member", "")) +
				g.element("member", g.space()+name+g.space()+g.valueElement(depth-1, letters)+g.space())
		})
		content = g.element("struct", members)
	}
	return g.element("value", pick(g, "", " ", "\n")+content+g.space())
}

// several are up to three parts.
func (g generator) several(part func() string) string {
	parts := g.space()
	for n := g.IntN(4); n > 0; n-- {
		parts = parts + part() + g.space()
	}
	return parts
}

// document is a call in one of many encodings.
func (g generator) document() []byte {
	type dress struct {
		name, letters string
		encoding      encoding.Encoding
	}
	d := pick(g,
		dress{"", "é", nil}, dress{"utf-8", "€", nil}, dress{"UTF-8", "\U0001F600", nil}, dress{"us-ascii", "z", nil},
		dress{"ISO-8859-1", "éÿ", charmap.ISO8859_1}, dress{"windows-1252", "€“", charmap.Windows1252},
		dress{"iso-8859-15", "€Š", charmap.ISO8859_15}, dress{"koi8-r", "ЖЯ", charmap.KOI8R},
		dress{"windows-1251", "Ж", charmap.Windows1251}, dress{"cp437", "éß", charmap.CodePage437},
		dress{"", "€\U0001F600", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)},
		dress{"utf-16", "€", unicode.UTF16(unicode.BigEndian, unicode.UseBOM)},
		dress{"UTF-16LE", "€", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
		dress{"utf-16", "é", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
	)
	prolog := ""
	if d.name != "" {
		prolog = fmt.Sprintf("<?xml version=%[1]s1.0%[1]s encoding=%[1]s%[2]s%[1]s%[3]s?>", pick(g, "'", `"`), d.name, pick(g, "", " ", " standalone='yes'"))
	}
	params := g.several(func() string {
		return pick(g, "", "", "", g.element("param", "")) + g.element("param", g.space()+g.valueElement(3, d.letters)+g.space())
	})
	text := prolog + g.space() + g.element("methodCall",
		g.space()+g.element("methodName", pick(g, "echo", "a.b", " x ", d.letters))+g.space()+g.element("params", params)+g.space()) + g.space()
	if d.encoding == nil {
		return []byte(pick(g, "", "", "\ufeff") + text)
	}
	doc, err := encoding.ReplaceUnsupported(d.encoding.NewEncoder()).Bytes([]byte(text))
	if err != nil {
		panic(err) // a text of this file
	}
	return doc
}
