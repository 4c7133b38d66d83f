// Package helper is run by root, outside the namespaces, at the word of the daemon,
// and by the daemon to ask: it starts the daemon's privileged helpers over a
// socket, in place of sudo: a service that may use sudo cannot be locked up, and
// what sudo starts in a locked-up service is locked up with it, builds too.
//
// systemd listens on the socket, which only the daemon's user may connect to,
// and starts one instance of a service of root's for each connection. A
// connection carries one packet each way: a verb and a folder, with the standard
// input, output and error of the helper; and the helper's exit code. The helper
// goes on when the one who asked is gone. Both sides may be used concurrently.
package helper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// network keeps packets apart.
const network = "unixpacket"

// maxPacket is more than any request or answer needs: a path and a verb.
const maxPacket = 8 << 10

// streams is how many files a request has.
const streams = 3

// Ask lets the server at a socket run a verb in a folder, with these files as
// its standard input, output and error, and waits for its exit code.
func Ask(ctx context.Context, socket, verb, dir string, files [streams]*os.File) (code int, err error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, socket)
	if err != nil {
		return 0, fmt.Errorf("cannot reach the helper of root's; is lpbuildd-helper.socket active? %w", err)
	}
	conn := c.(*net.UnixConn)
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := send(conn, verb, dir, files); err != nil {
		return 0, fmt.Errorf("cannot ask the helper of root's: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	answer := make([]byte, maxPacket)
	n, err := conn.Read(answer)
	if err != nil {
		return 0, fmt.Errorf("the helper of root's gave no answer: %w", err)
	}
	code, err = strconv.Atoi(string(answer[:n]))
	if err != nil {
		return 0, errors.New(string(answer[:n]))
	}
	return code, nil
}

// send sends a request.
func send(conn *net.UnixConn, verb, dir string, files [streams]*os.File) error {
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	_, _, err := conn.WriteMsgUnix([]byte(verb+"\x00"+dir), unix.UnixRights(fds...), nil)
	return err
}

// Server runs verbs.
type Server struct {
	// Program is run with the verb as its only argument.
	Program string
	// Verbs are those that may be asked for.
	Verbs []string
}

// Serve answers the one request of a connection, which it closes. What it runs
// is killed when ctx ends, and at no other time.
func (s Server) Serve(ctx context.Context, conn *net.UnixConn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	code, err := s.serve(ctx, conn)
	answer := strconv.Itoa(code)
	if err != nil {
		answer = err.Error()
	}
	// Nobody is there to read it when a daemon was restarted during a build.
	_, _ = conn.Write([]byte(answer))
	return err
}

func (s Server) serve(ctx context.Context, conn *net.UnixConn) (int, error) {
	asker, err := peer(conn)
	if err != nil {
		return 0, err
	}
	r, err := receive(conn)
	if err != nil {
		return 0, err
	}
	defer r.close()
	if !slices.Contains(s.Verbs, r.verb) || !filepath.IsAbs(r.dir) {
		return 0, fmt.Errorf("cannot do %q in %q: want one of %s, and an absolute path", r.verb, r.dir, strings.Join(s.Verbs, ", "))
	}
	cmd := exec.CommandContext(ctx, s.Program, r.verb)
	cmd.Dir, cmd.Env = r.dir, environment(asker)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r.files[0], r.files[1], r.files[2]
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// request is what a packet asks for.
type request struct {
	verb, dir string
	files     []*os.File
}

func (r request) close() {
	for _, f := range r.files {
		_ = f.Close() // theirs
	}
}

// receive reads the packet of a request.
func receive(conn *net.UnixConn) (r request, err error) {
	packet, control := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*streams))
	n, cn, _, _, err := conn.ReadMsgUnix(packet, control)
	if err != nil {
		return r, fmt.Errorf("cannot read the request: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:cn])
	if err != nil {
		return r, fmt.Errorf("cannot read the request: %w", err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			r.files = append(r.files, os.NewFile(uintptr(fd), "asker"))
		}
	}
	verb, dir, ok := strings.Cut(string(packet[:n]), "\x00")
	if !ok || len(r.files) != streams {
		r.close()
		return r, fmt.Errorf("cannot understand the request: want a verb, a folder and %d files", streams)
	}
	r.verb, r.dir = verb, dir
	return r, nil
}

// peer is the user at the other end, as the kernel says.
func peer(conn *net.UnixConn) (*user.User, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return nil, fmt.Errorf("cannot tell who asks: %w", err)
	}
	u, err := user.LookupId(strconv.FormatUint(uint64(cred.Uid), 10))
	if err != nil {
		return nil, fmt.Errorf("cannot tell who asks: %w", err)
	}
	return u, nil
}

// environment is what sudo would give a helper: root's, and who asks for it.
func environment(asker *user.User) []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "USER=root", "LOGNAME=root",
		"SUDO_UID=" + asker.Uid, "SUDO_GID=" + asker.Gid, "SUDO_USER=" + asker.Username,
	}
}
