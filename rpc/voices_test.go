package rpc_test

import (
	"errors"
	"io"
	"net/http"
	"os/exec"
	"reflect"
	"testing"

	"github.com/kolo/xmlrpc"

	"lpbuildd/buildd"
	"lpbuildd/rpc/fake"
)

// koloCall calls a method with an independent implementation of XML-RPC. It is
// used within what it can do: no nil, no base64, no odd member names.
func koloCall(t *testing.T, url, method string, params []any, result any) error {
	t.Helper()
	req, err := xmlrpc.NewRequest(url, method, params)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	response := xmlrpc.Response(body)
	if err := response.Err(); err != nil {
		return err
	}
	return response.Unmarshal(result)
}

func TestSecondVoiceKolo(t *testing.T) {
	b := fake.Idle()
	b.Cache = map[string]bool{"image": true, "s1": true}
	url := serve(t, handler(b)).URL + "/rpc"

	params := []any{"a <&> é", int64(-7), true, 2.5, []any{"x", int64(1)}, map[string]any{"k": "v"}}
	var echoed []any
	if err := koloCall(t, url, "echo", params, &echoed); err != nil || !reflect.DeepEqual(echoed, params) {
		t.Errorf("got %v, %v", echoed, err)
	}

	var pair []string
	err := koloCall(t, url, "build", []any{"X-1", "snap", "image", map[string]string{"a": "s1"}, map[string]any{"series": "s"}}, &pair)
	if err != nil || !reflect.DeepEqual(pair, []string{"BuilderStatus.BUILDING", "X-1"}) || b.Request.Args["series"] != "s" {
		t.Errorf("got %v, %v, %+v", pair, err, b.Request)
	}

	b.SetStatus(buildd.Status{State: buildd.Waiting, BuildID: "X-1", Outcome: "OK", FileMap: map[string]string{"f": "s"}})
	var status struct {
		State   string            `xmlrpc:"builder_status"`
		Outcome string            `xmlrpc:"build_status"`
		Files   map[string]string `xmlrpc:"filemap"`
	}
	if err := koloCall(t, url, "status", nil, &status); err != nil || status.State != "BuilderStatus.WAITING" ||
		status.Outcome != "BuildStatus.OK" || status.Files["f"] != "s" {
		t.Errorf("got %+v, %v", status, err)
	}

	var fault xmlrpc.FaultError
	if err := koloCall(t, url, "nosuch", nil, nil); !errors.As(err, &fault) || fault.Code != 8001 || fault.String != "procedure nosuch not found" {
		t.Errorf("got %v", err)
	}
}

// TestSecondVoicePython uses the client that operators use.
func TestSecondVoicePython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	const script = `
import sys, xmlrpc.client
with xmlrpc.client.ServerProxy(sys.argv[1], allow_none=True) as b:
    value = [None, True, -7, 2.0, "a\n<&>\u2603 ", {"": [], "<k>": {}}, "x" * 100000]
    assert b.echo(*value) == value, b.echo(*value)
    data = bytes(range(256)) * 9
    assert b.echo(xmlrpc.client.Binary(data))[0].data == data
    status = b.status()
    assert status["logtail"].data == b"tail \xff\r\n", status
    assert status["builder_status"] == "BuilderStatus.BUILDING", status
    assert "status" in b.system.listMethods()
    for name, code, text in (("nosuch", 8001, "procedure nosuch not found"), ("clean", 8002, "error")):
        try:
            getattr(b, name)()
        except xmlrpc.client.Fault as f:
            assert (f.faultCode, f.faultString) == (code, text), f
        else:
            sys.exit("no fault from " + name)
`
	b := fake.New(buildd.Status{State: buildd.Building, BuildID: "X", LogTail: []byte("tail \xff\r\n")})
	url := serve(t, handler(b)).URL
	for _, path := range []string{"/rpc", "/rpc/"} {
		out, err := exec.CommandContext(t.Context(), python, "-c", script, url+path).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", path, err, out)
		}
	}
}
