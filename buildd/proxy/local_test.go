package proxy

import (
	"errors"
	"net"
	"testing"
)

// TestConnectionsAreCounted: a build cannot take all files of its supervisor.
func TestConnectionsAreCounted(t *testing.T) {
	if maxConnections > 1024 {
		t.Errorf("%d connections need two files each", maxConnections)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	l := &slotListener{TCPListener: ln.(*net.TCPListener), slots: make(chan struct{}, 2), over: over}
	defer func() { _ = l.Close() }()
	accept := func() net.Conn {
		t.Helper()
		out, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = out.Close() })
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	first, second := accept(), accept()
	if n := len(l.slots); n != 2 {
		t.Errorf("%d slots are taken", n)
	}
	_, _ = first.Close(), first.Close() // the second time it frees nothing
	if n := len(l.slots); n != 1 {
		t.Errorf("%d slots are taken after one was freed", n)
	}
	third := accept()
	close(over)
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("without a slot: %v", err)
	}
	_, _ = second.Close(), third.Close()
}
