package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// leg is one end of a tunnel. Its reader may hold bytes that came together with
// the head of the request or response.
type leg struct {
	net.Conn
	reader *bufio.Reader
}

// tunnel serves CONNECT.
func (f *forwarder) tunnel(x *exchange, r *http.Request) {
	conn, err := f.dial(r.Context(), "tcp", "")
	if err != nil {
		f.failed(x, r, err)
		return
	}
	defer func() { _ = conn.Close() }()
	defer closeOn(r.Context(), conn)()
	up := leg{Conn: conn, reader: bufio.NewReader(conn)}
	resp, err := f.ask(up, r) //nolint:bodyclose // closing would wait for the end of the body; the connection is closed
	if err != nil {
		f.failed(x, r, err)
		return
	}
	if resp.StatusCode/100 != 2 {
		f.refused(resp)
		copyHeader(x.Header(), withoutHopByHop(resp.Header))
		x.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(x, resp.Body)
		return
	}
	if err := takeOver(r.Context(), x, up, resp); err != nil {
		f.log.once("a tunnel to %s failed: %v", field(withoutUserinfo(r.RequestURI)), err)
	}
}

// ask sends the CONNECT and reads the answer.
func (f *forwarder) ask(up leg, r *http.Request) (*http.Response, error) {
	if err := up.SetDeadline(time.Now().Add(f.connect)); err != nil {
		return nil, err
	}
	out := &http.Request{
		Method: http.MethodConnect, Host: r.Host, Header: withoutHopByHop(r.Header),
		URL: &url.URL{Host: r.Host, Opaque: r.RequestURI},
	}
	if out.Header["User-Agent"] == nil {
		out.Header["User-Agent"] = []string{""} // otherwise Write makes one up
	}
	f.upstream.authorize(out.Header)
	if err := out.Write(up); err != nil {
		return nil, fmt.Errorf("cannot send CONNECT: %w", err)
	}
	for {
		resp, err := http.ReadResponse(up.reader, out)
		if err != nil {
			return nil, fmt.Errorf("cannot read the answer to CONNECT: %w", err)
		}
		if resp.StatusCode >= 200 {
			return resp, nil
		}
	}
}

// takeOver answers the client and then relays until both directions have ended.
func takeOver(ctx context.Context, x *exchange, up leg, resp *http.Response) error {
	conn, buffered, err := http.NewResponseController(x).Hijack()
	if err != nil {
		return fmt.Errorf("cannot take over the connection: %w", err)
	}
	defer func() { _ = conn.Close() }()
	x.status = resp.StatusCode
	client := leg{Conn: conn, reader: buffered.Reader}
	defer closeOn(ctx, client, up)()
	if err := errors.Join(conn.SetDeadline(time.Time{}), up.SetDeadline(time.Time{})); err != nil {
		return err
	}
	head := bufio.NewWriter(conn)
	fmt.Fprintf(head, "HTTP/1.1 %03d Connection established\r\n", resp.StatusCode)
	_ = withoutHopByHop(resp.Header).Write(head)
	_, _ = head.WriteString("\r\n")
	if head.Flush() == nil {
		x.sent = relay(client, up)
	}
	return nil
}

// relay copies both ways and returns how much it has sent to the client. When one
// side ends its direction, the other may go on; when one breaks, so do both.
func relay(client, up leg) int64 {
	pump := func(dst, src leg) int64 {
		n, err := copyLeg(dst, src)
		if err != nil {
			_ = errors.Join(client.Close(), up.Close())
		}
		return n
	}
	var upwards sync.WaitGroup
	upwards.Go(func() { pump(up, client) })
	n := pump(client, up)
	upwards.Wait()
	return n
}

// copyLeg copies what src has buffered, then what comes, and then tells dst that
// this was all.
func copyLeg(dst, src leg) (int64, error) {
	n, err := io.CopyN(dst.Conn, src.reader, int64(src.reader.Buffered()))
	if err != nil {
		return n, err
	}
	m, err := io.Copy(dst.Conn, src.Conn)
	if half, ok := dst.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return n + m, err
}
