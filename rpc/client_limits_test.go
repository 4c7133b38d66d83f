package rpc_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lpbuildd/rpc"
)

func TestClientTakesNoPartOfAnAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(" "), 2*rpc.MaxBody+1))
	}))
	defer server.Close()
	client, err := rpc.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "the answer is larger than 67108864 bytes") {
		t.Errorf("got %v", err)
	}
}
