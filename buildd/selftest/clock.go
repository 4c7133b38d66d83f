package selftest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// clockBad is a clock with which certificates and archives are refused,
	// clockPoor one that should be better.
	clockBad  = time.Minute
	clockPoor = 2 * time.Second
	ntpWait   = 3 * time.Second
)

// clock checks the time: against the program, which was not made in the future,
// and against the configured server or what the kernel knows.
func (t *tester) clock(ctx context.Context) Finding {
	now := t.now()
	if info, err := os.Stat(t.Program); err == nil && now.Before(info.ModTime().Add(-24*time.Hour)) {
		return failed(fmt.Sprintf("it is %s, before this program was made", now.UTC().Format(time.DateTime)), "Set the clock, and have it synchronised (systemd-timesyncd, chrony).")
	}
	if server := t.Settings.Site.NTPHost; server != "" {
		return t.against(ctx, net.JoinHostPort(server, "123"))
	}
	var kernel unix.Timex
	state, err := unix.Adjtimex(&kernel)
	if err == nil && state == unix.TIME_ERROR {
		return warning("the kernel does not know the clock as synchronised", "Run systemd-timesyncd or chrony, unless the host of this virtual machine keeps its time, or name a server in builder.ntphost.")
	}
	return ok("%s", now.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// against compares the clock with that of a server.
func (t *tester) against(ctx context.Context, server string) Finding {
	offset, err := t.ntpOffset(ctx, server)
	if err != nil {
		return warning(err.Error(), "Check builder.ntphost, and that UDP to its port 123 passes; builds go on without.")
	}
	detail := fmt.Sprintf("%v off that of %s", offset.Round(time.Millisecond), server)
	switch offset = offset.Abs(); {
	case offset > clockBad:
		return failed(detail, "Set the clock: certificates and archives are refused with a wrong one.")
	case offset > clockPoor:
		return warning(detail, "Have it synchronised by systemd-timesyncd or chrony.")
	}
	return ok("%s", detail)
}

// ntpEpoch is where NTP begins to count, in Unix time.
const ntpEpoch = -2208988800

// ntpOffset asks a time server (RFC 4330) how far it is ahead of us.
func (t *tester) ntpOffset(ctx context.Context, server string) (time.Duration, error) {
	conn, err := (&net.Dialer{Timeout: ntpWait}).DialContext(ctx, "udp", server)
	if err != nil {
		return 0, fmt.Errorf("cannot ask the time server: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(ntpWait)); err != nil {
		return 0, err
	}
	packet := [48]byte{4<<3 | 3} // version 4, a client
	sent := t.now()
	if _, err := conn.Write(packet[:]); err != nil {
		return 0, fmt.Errorf("cannot ask the time server: %w", err)
	}
	n, err := conn.Read(packet[:])
	received := t.now()
	if err != nil || n < len(packet) || packet[1] == 0 {
		return 0, errors.Join(fmt.Errorf("cannot ask the time server %s: no usable answer", server), err)
	}
	seconds := int64(binary.BigEndian.Uint32(packet[40:])) + ntpEpoch
	fraction := int64(binary.BigEndian.Uint32(packet[44:])) * int64(time.Second) >> 32
	return time.Unix(seconds, fraction).Sub(sent.Add(received.Sub(sent) / 2)), nil
}
