package types_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// labOf is a lab in which builds of the type succeed.
func labOf(t *testing.T, tag string, c contract) *lab {
	t.Helper()
	var l *lab
	switch tag {
	case "sourcepackagerecipe":
		l = newRecipeLab(t)
	case "binarypackage", "translation-templates":
		l = newLab(t)
	default:
		l = newContainerLab(t)
	}
	if c.prepare != nil {
		c.prepare(l)
	}
	return l
}

// mortal is a target that may be gone, and then fails at everything.
type mortal struct {
	*fake.Target
	gone bool
}

var errGone = errors.New("the target is gone")

func (m *mortal) Run(ctx context.Context, cmd backends.Command) error {
	if m.gone {
		return errGone
	}
	return m.Target.Run(ctx, cmd)
}

func (m *mortal) CopyOut(ctx context.Context, name string) (io.ReadCloser, error) {
	if m.gone {
		return nil, errGone
	}
	return m.Target.CopyOut(ctx, name)
}

// attempt builds in a lab that is prepared, and gathers what a success made.
func attempt(ctx context.Context, t *testing.T, l *lab, typ builders.Type, c contract) (buildErr, gatherErr error) {
	t.Helper()
	target := &mortal{Target: l.target}
	l.env.Target = target
	b, err := typ.New(c.args, c.files)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(ctx, l.env); err != nil {
		return err, nil
	}
	target.gone = true
	_, err = l.results(ctx, b)
	return nil, err
}

func TestHowEveryTypeFails(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		fault := &verdict.HostFault{Err: errors.New("the disk is broken"), Advice: "Replace it."}
		killed := c.killed
		if killed == "" {
			killed = c.buildFails
		}
		for _, tt := range []struct {
			what    string
			command string
			answer  fake.Answer
			want    verdict.Outcome
		}{
			{"nothing fails", "nothing", fake.Answer{}, verdict.OK},
			{"the installation fails", c.install, fake.Answer{Code: 100}, c.installFails},
			{"the build fails", c.build, fake.Answer{Code: 1}, c.buildFails},
			{"the build is killed", c.build, fake.Answer{Code: 137}, killed},
			{"the host fails during the installation", c.install, fake.Answer{Err: fault}, verdict.BuilderFail},
			{"the host fails during the build", c.build, fake.Answer{Err: fault}, verdict.BuilderFail},
		} {
			if tt.command == "" {
				continue
			}
			t.Run(tt.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := labOf(t, typ.Tag, c)
					l.target.Script(tt.command, tt.answer)
					err, _ := attempt(t.Context(), t, l, typ, c)
					if got := outcome(err); got != tt.want {
						t.Errorf("got %s: %v", got, err)
					}
				})
			})
		}
		for _, command := range []string{c.install, c.build} {
			if command == "" {
				continue
			}
			t.Run("an abort in "+command, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					aborted := errors.New("aborted")
					ctx, cancel := context.WithCancelCause(t.Context())
					l := labOf(t, typ.Tag, c)
					l.target.Script(command, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
						cancel(aborted)
						return nil
					}})
					err, _ := attempt(ctx, t, l, typ, c)
					if !errors.Is(err, aborted) {
						t.Errorf("got %v", err)
					}
				})
			})
		}
	})
}

// TestHowGatheringFails also holds that nobody calls it the builder's fault: the
// supervisor then makes it PACKAGEFAIL.
func TestHowGatheringFails(t *testing.T) {
	eachType(t, func(t *testing.T, typ builders.Type, c contract) {
		synctest.Test(t, func(t *testing.T) {
			l := labOf(t, typ.Tag, c)
			if typ.Tag == "ci" { // which gathers after each job
				l.target.Script("runuser", fake.Answer{Do: func(context.Context, *fake.Target, backends.Command) error {
					l.env.Target.(*mortal).gone = true
					return nil
				}})
			}
			err, gatherErr := attempt(t.Context(), t, l, typ, c)
			if typ.Tag == "ci" {
				if !strings.Contains(l.log.String(), "\nFailed to gather results: cannot gather the results of the job build:0: ") {
					t.Errorf("the log is\n%s", l.log.String())
				}
				err, gatherErr = nil, err
			}
			var host *verdict.HostFault
			var judged *verdict.BuildError
			if err != nil || gatherErr == nil || errors.As(gatherErr, &host) {
				t.Errorf("built: %v, gathered: %v", err, gatherErr)
			}
			if errors.As(gatherErr, &judged) && judged.Outcome != verdict.PackageFail {
				t.Errorf("gathered: %v, which is %s", gatherErr, judged.Outcome)
			}
		})
	})
}
