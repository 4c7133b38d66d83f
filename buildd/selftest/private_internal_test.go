package selftest

import (
	"strings"
	"testing"
)

func TestTheLogOfADaemonMayHaveLongLines(t *testing.T) {
	log := `{"msg":"` + strings.Repeat("x", 100_000) + `"}` + "\nno JSON\n" + `{"msg":"Listening","address":"127.0.0.1:1"}` + "\n" + `{"msg":"last","error":"why"}`
	listening := make(chan string, 1)
	said := &lastLines{}
	said.read(strings.NewReader(log), listening)
	if got := <-listening; got != "127.0.0.1:1" {
		t.Errorf("it listens on %q", got)
	}
	if got := said.String(); !strings.Contains(got, "xxx; no JSON; last why") {
		t.Errorf("it said %.200q", got)
	}
}
