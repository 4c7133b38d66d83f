package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
	"lpbuildd/rpc/fake"
)

// building is a builder with a build.
func building() *fake.Builder {
	return fake.New(buildd.Status{State: buildd.Building, BuildID: "X-1"})
}

// follow follows the log of a builder, in a time that passes only while the client
// waits. With every status it calls seen, which may stop it.
func follow(
	t *testing.T, h http.Handler, dst io.Writer, seen func(stop context.CancelCauseFunc),
) (st buildd.Status, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c, newErr := client.New("http://builder.test", client.WithHTTPClient(&http.Client{Transport: fake.Direct{Handler: h}}))
		if newErr != nil {
			t.Fatal(newErr)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		defer stop(nil)
		start := time.Now()
		st, err = c.FollowLog(ctx, dst, func(buildd.Status) { seen(stop) })
		took = time.Since(start)
	})
	return st, took, err
}

func nothing(context.CancelCauseFunc) {}

func TestFollowLog(t *testing.T) {
	log := &fileServer{}
	b := building()
	var out bytes.Buffer
	polls := 0
	st, took, err := follow(t, withFiles(b, log), &out, func(context.CancelCauseFunc) {
		switch polls++; polls {
		case 3:
			log.append("one\n")
		case 6:
			log.append("two\n")
		case 8:
			log.append("three\n")
			b.SetStatus(buildd.Status{State: buildd.Waiting, BuildID: "X-1", Outcome: "OK"})
		}
	})
	if err != nil || st.Outcome != "OK" || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("got %+v, %q, %v", st, out.String(), err)
	}
	if took != 8*time.Second {
		t.Errorf("asked every second, 9 questions take 8 seconds, not %v", took)
	}
}

func TestFollowLogBearsARestart(t *testing.T) {
	b := fake.New(buildd.Status{State: buildd.Waiting, BuildID: "X-1", Outcome: "OK"})
	whole := withFiles(b, &fileServer{data: []byte("all\n")})
	for _, test := range []struct {
		name string
		lost int // so many questions are not answered
		ok   bool
	}{
		{"of some seconds", 3, true},
		{"of half a minute", 31, true},
		{"not of more", 32, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := 0
			flaky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked++; asked <= test.lost {
					panic(http.ErrAbortHandler)
				}
				whole.ServeHTTP(w, r)
			})
			var out bytes.Buffer
			_, _, err := follow(t, flaky, &out, nothing)
			if test.ok && (err != nil || out.String() != "all\n") {
				t.Errorf("got %q, %v", out.String(), err)
			}
			if !test.ok && (err == nil || !strings.Contains(err.Error(), "cannot call status: ")) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestFollowLogCountsSilenceFromTheLastAnswer: two restarts of 20 seconds are none
// of 40.
func TestFollowLogCountsSilenceFromTheLastAnswer(t *testing.T) {
	b := building()
	h := withFiles(b, &fileServer{})
	asked := 0
	flaky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 60 {
			b.SetStatus(buildd.Status{State: buildd.Waiting, BuildID: "X-1"})
		} else if asked%22 > 2 {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	})
	if st, _, err := follow(t, flaky, io.Discard, nothing); err != nil || st.State != buildd.Waiting {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestFollowLogGivesUp(t *testing.T) {
	t.Run("when there is another build", func(t *testing.T) {
		b := building()
		_, _, err := follow(t, withFiles(b, &fileServer{}), io.Discard, func(context.CancelCauseFunc) {
			b.SetStatus(buildd.Status{State: buildd.Building, BuildID: "X-2"})
		})
		if err == nil || err.Error() != "the builder is at X-2, no longer at X-1" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when the build is lost", func(t *testing.T) {
		b := building()
		_, _, err := follow(t, withFiles(b, &fileServer{}), io.Discard, func(context.CancelCauseFunc) {
			b.SetStatus(buildd.Status{State: buildd.Idle})
		})
		if err == nil || err.Error() != "the builder has lost build X-1" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when its context ends", func(t *testing.T) {
		enough := errors.New("enough")
		_, took, err := follow(t, withFiles(building(), &fileServer{}), io.Discard, func(stop context.CancelCauseFunc) { stop(enough) })
		if !errors.Is(err, enough) || took > 0 {
			t.Errorf("got %v after %v", err, took)
		}
	})
	t.Run("when the builder refuses", func(t *testing.T) {
		h := withFiles(building(), &fileServer{})
		_, took, err := follow(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.NoBody
			h.ServeHTTP(w, r)
		}), io.Discard, nothing)
		if fault := (*client.Fault)(nil); !errors.As(err, &fault) || took > 0 {
			t.Errorf("got %v after %v", err, took)
		}
	})
	t.Run("when the log cannot be written", func(t *testing.T) {
		reader, writer := io.Pipe()
		_ = reader.Close()
		_, took, err := follow(t, withFiles(building(), &fileServer{data: []byte("x")}), writer, nothing)
		if !errors.Is(err, io.ErrClosedPipe) || took > 0 {
			t.Errorf("got %v after %v", err, took)
		}
	})
}
