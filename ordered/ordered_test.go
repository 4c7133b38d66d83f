package ordered_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"lpbuildd/ordered"
)

func TestBuilderKeepsTheFirstPlaceAndTheLastValue(t *testing.T) {
	for _, n := range []int{2, 15, 16, 17, 100} {
		var b ordered.Builder[int]
		var want ordered.Map[int]
		for i := range n {
			b.Set(strconv.Itoa(n-i), i)
			want = append(want, ordered.Member[int]{Name: strconv.Itoa(n - i), Value: i})
		}
		b.Set("2", -1)
		want[n-2].Value = -1
		b.SetAll(ordered.Map[int]{{Name: "1", Value: -2}, {Name: "last", Value: 7}})
		want[n-1].Value = -2
		want = append(want, ordered.Member[int]{Name: "last", Value: 7})
		if got := b.Map(); !reflect.DeepEqual(got, want) {
			t.Errorf("of %d: got %v, want %v", n, got, want)
		}
	}
}

func TestMapIsReadByName(t *testing.T) {
	m := ordered.Map[string]{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}}
	if v, there := m.Lookup("a"); !there || v != "2" || m.Get("b") != "1" || m.Get("c") != "" {
		t.Errorf("a is %q, %v", v, there)
	}
	if got := m.Names(); !reflect.DeepEqual(got, []string{"b", "a"}) {
		t.Errorf("the names are %q", got)
	}
	sorted := ordered.Map[string]{{Name: "a", Value: "2"}, {Name: "b", Value: "1"}}
	if got := ordered.Sorted(m.Plain()); !reflect.DeepEqual(got, sorted) {
		t.Errorf("sorted: %v", got)
	}
}

func TestAsStructTakesGoMapsToo(t *testing.T) {
	s := ordered.Struct{{Name: "b", Value: nil}, {Name: "a", Value: true}}
	if got, ok := ordered.AsStruct(s); !ok || !reflect.DeepEqual(got, s) {
		t.Errorf("got %v, %v", got, ok)
	}
	if got, ok := ordered.AsStruct(map[string]any{"b": 1, "a": 2}); !ok || fmt.Sprint(got) != "[{a 2} {b 1}]" {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := ordered.AsStruct("text"); ok {
		t.Error("a text is a struct")
	}
}

func TestJSONKeepsTheOrderAtAnyDepth(t *testing.T) {
	const text = `{"z":{"b":[{"y":1,"x":null}],"a":"\u003c"},"empty":{},"none":[],"big":4611686018427387905,"a":true}`
	var got ordered.Struct
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	inner, _ := ordered.AsStruct(got.Get("z"))
	if got.Get("big") != json.Number("4611686018427387905") || inner.Get("a") != "<" {
		t.Errorf("got %v", got)
	}
	again, err := json.Marshal(got)
	if err != nil || string(again) != text {
		t.Errorf("%v: %s became %s", err, text, again)
	}
}

func TestJSONOfTypedMaps(t *testing.T) {
	var got struct{ Files, None, Same ordered.Map[string] }
	const text = `{"Files":{"b":"2","a":"1","b":"3"},"None":null,"Same":{}}`
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := ordered.Map[string]{{Name: "b", Value: "3"}, {Name: "a", Value: "1"}}
	if !reflect.DeepEqual(got.Files, want) || got.None != nil || got.Same == nil {
		t.Errorf("got %+v", got)
	}
}

func TestJSONThatDoesNotFitIsRefused(t *testing.T) {
	for _, text := range []string{`[]`, `"a"`, `1`, `{"a":1}`, `{"a":{}}`, `{"a":"b"`, ``} {
		var m ordered.Map[string]
		if err := json.Unmarshal([]byte(text), &m); err == nil {
			t.Errorf("%s became %v", text, m)
		}
	}
	for _, text := range []string{`{"a" 1}`, `[1`, `{"a":[1,]}`, `{"a":{"b":}}`, `{1:2}`} {
		if v, err := ordered.DecodeJSON(json.NewDecoder(strings.NewReader(text))); err == nil {
			t.Errorf("%s became %v", text, v)
		}
	}
	if _, err := json.Marshal(ordered.Struct{{Name: "f", Value: func() {}}}); err == nil {
		t.Error("a function became JSON")
	}
}
