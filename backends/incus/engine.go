package incus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/buildd/verdict"
)

const (
	// callTime is how long the engine may take to answer one request, unless the
	// configuration says something else.
	callTime = 60 * time.Second
	// pollTime is how long one question for the end of an operation stays open.
	// An engine that hangs is noticed after this and callTime.
	pollTime = 5 * time.Second
	// hungShare divides the time of an engine that did not answer the last time: at
	// the end of a build there are many questions, and a manager waits.
	hungShare = 6
	// importTime is how long the engine may work on an image that it has got
	// completely, or on unpacking one.
	importTime = 15 * time.Minute
	deleteTime = 5 * time.Minute
)

// noDeadline is for operations that take as long as they take: the commands of
// builds. An engine that stops answering still ends them.
const noDeadline time.Duration = 0

var errDeadline = errors.New("no answer in time")

// engine is what this package uses of a client of LXD or Incus: about a tenth.
type engine interface {
	GetServer() (*api.Server, string, error)
	// RawQuery asks for the end of operations: GetOperationWait changes a
	// time-out of the shared transport, which is a race.
	RawQuery(method, path string, data any, etag string) (*api.Response, string, error)
	GetClusterMembers() ([]api.ClusterMember, error)
	UseTarget(name string) client.InstanceServer

	GetImages() ([]api.Image, error)
	CreateImage(image api.ImagesPost, args *client.ImageCreateArgs) (client.Operation, error)
	CreateImageAlias(alias api.ImageAliasesPost) error
	DeleteImage(fingerprint string) (client.Operation, error)

	GetInstances(kind api.InstanceType) ([]api.Instance, error)
	GetInstance(name string) (*api.Instance, string, error)
	GetInstanceState(name string) (*api.InstanceState, string, error)
	CreateInstance(instance api.InstancesPost) (client.Operation, error)
	UpdateInstance(name string, instance api.InstancePut, etag string) (client.Operation, error)
	UpdateInstanceState(name string, state api.InstanceStatePut, etag string) (client.Operation, error)
	RenameInstance(name string, instance api.InstancePost) (client.Operation, error)
	DeleteInstance(name string) (client.Operation, error)
	ExecInstance(name string, exec api.InstanceExecPost, args *client.InstanceExecArgs) (client.Operation, error)
	GetInstanceFileSFTPConn(name string) (net.Conn, error)

	GetStoragePool(name string) (*api.StoragePool, string, error)
	GetProfiles() ([]api.Profile, error)
	CreateProfile(profile api.ProfilesPost) error
	DeleteProfile(name string) error
	CreateNetwork(network api.NetworksPost) error
	DeleteNetwork(name string) error
}

// server is one long-lived connection. Safe for concurrent use.
type server struct {
	// engine is the name for people: LXD or Incus.
	engine string
	// major is the first number of the version of LXC.
	major int
	// call is callTime, or what the configuration says; poll is pollTime.
	call, poll time.Duration
	// hung says that the last question was not answered in time.
	hung atomic.Bool
	// with gives a client whose requests end with ctx. They share everything
	// but that.
	with func(ctx context.Context) engine
}

// ask makes one call, with a deadline. What completes "cannot ...".
func ask[T any](ctx context.Context, s *server, what string, f func(engine) (T, error)) (T, error) {
	timed, cancel := context.WithTimeoutCause(ctx, s.patience(), errDeadline)
	defer cancel()
	v, err := f(s.with(timed))
	s.learn(ctx, err)
	return v, s.explain(ctx, what, err)
}

// patience is how long the engine may take to answer.
func (s *server) patience() time.Duration {
	if s.hung.Load() {
		return s.call / hungShare
	}
	return s.call
}

// learn notes whether a question was answered in time; one that ended with ctx
// tells nothing.
func (s *server) learn(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.hung.Store(isLate(err))
	}
}

// isLate recognizes a deadline that has passed. That of a connection may do so a
// moment before that of its context.
func isLate(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, errDeadline) || errors.As(err, &timeout) && timeout.Timeout()
}

// tell is ask without an answer.
func tell(ctx context.Context, s *server, what string, f func(engine) error) error {
	_, err := ask(ctx, s, what, func(e engine) (struct{}, error) { return struct{}{}, f(e) })
	return err
}

// do starts an operation and waits for its end.
func do(ctx context.Context, s *server, what string, limit time.Duration, f func(engine) (client.Operation, error)) error {
	op, err := ask(ctx, s, what, f)
	if err != nil {
		return err
	}
	_, err = s.wait(ctx, what, op.Get().ID, limit)
	return err
}

// wait waits for the end of an operation. When ctx ends, the operation goes on.
func (s *server) wait(ctx context.Context, what, id string, limit time.Duration) (*api.Operation, error) {
	timed := ctx
	if limit != noDeadline {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeoutCause(ctx, limit, errDeadline)
		defer cancel()
	}
	for {
		op, err := s.operation(timed, id)
		switch {
		case api.StatusErrorCheck(err, http.StatusNotFound):
			return nil, s.fault(what, errors.New("it was restarted meanwhile"))
		case err != nil:
			return nil, s.explain(ctx, what, err)
		case !op.StatusCode.IsFinal():
		case op.Err != "":
			return op, s.refusal(what, errors.New(op.Err))
		case op.StatusCode != api.Success:
			return op, s.refusal(what, errors.New(strings.ToLower(op.StatusCode.String())))
		default:
			return op, nil
		}
	}
}

// operation is an operation at its end, or as it is after a while.
func (s *server) operation(ctx context.Context, id string) (_ *api.Operation, err error) {
	timed, cancel := context.WithTimeoutCause(ctx, s.poll+s.patience(), errDeadline)
	defer cancel()
	defer func() { s.learn(ctx, err) }()
	path := "/1.0/operations/" + url.PathEscape(id)
	e := s.with(timed)
	resp, _, err := e.RawQuery(http.MethodGet, fmt.Sprintf("%s/wait?timeout=%d", path, int(s.poll.Seconds())), nil, "")
	if api.StatusErrorCheck(err) && strings.Contains(err.Error(), "deadline exceeded") {
		// So Incus says, under whatever status, that the operation goes on. LXD
		// shows the operation.
		resp, _, err = e.RawQuery(http.MethodGet, path, nil, "")
	}
	if err != nil {
		return nil, err
	}
	var op api.Operation
	return &op, json.Unmarshal(resp.Metadata, &op)
}

// explain says what an error of the client means: the end of ctx, a refusal by
// the engine, or that the engine cannot be talked to, which is the host's
// fault.
func (s *server) explain(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case api.StatusErrorCheck(err):
		return s.refusal(what, err)
	case isLate(err):
		err = errDeadline
	}
	return s.fault(what, err)
}

// refusal is an answer of the engine. Most blame what it was asked for, some
// the host.
func (s *server) refusal(what string, err error) error {
	err = fmt.Errorf("cannot %s: %s says: %w", what, s.engine, err)
	for text, advice := range map[string]string{
		"no space left on device":   "Free disk space (and inodes) on the builder, also in the storage pool.",
		"disk quota exceeded":       "Enlarge the storage pool of the containers.",
		"Storage pool not found":    "Make the storage pool, or name another in the builder's configuration.",
		"Failed to start device":    "Check the network bridge and devices of the builder.",
		"database is locked":        "Give the builder a faster disk: the database of the container engine is too slow.",
		"input/output error":        "Check the builder's disk: it reports input/output errors.",
		"Cannot allocate memory":    "Give the builder more memory.",
		"too many open files":       "Raise the limit of open files of the container engine.",
		"Parent device":             "Check the network bridge of the builder.",
		"daemon is shutting down":   "Wait until the container engine is up again.",
		"Failed to get ready state": "Wait until the container engine is up again.",
	} {
		if strings.Contains(err.Error(), text) {
			return &verdict.HostFault{Err: err, Advice: advice}
		}
	}
	return err
}

// fault is the engine's own failure.
func (s *server) fault(what string, err error) error {
	return &verdict.HostFault{
		Err:    fmt.Errorf("cannot %s: no use of %s: %w", what, s.engine, err),
		Advice: fmt.Sprintf("Check that %s runs on the builder and answers (for example with its list command), and restart it if not.", s.engine),
	}
}

// missing tells whether the engine said that it knows no such thing.
func missing(err error) bool { return api.StatusErrorCheck(err, http.StatusNotFound) }

// endedOr prefers the reason why ctx ended to what came of it.
func endedOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
