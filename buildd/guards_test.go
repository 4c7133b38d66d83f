package buildd_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
)

// TestASupervisorThatStaysAfterItsOutcomeIsKilled, after a minute: it has nothing left
// to do but to delete things, which others can do too.
func TestASupervisorThatStaysAfterItsOutcomeIsKilled(t *testing.T) {
	for name, ledger := range map[string]bool{"with its ledger": true, "without a ledger": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.build("succeed when told and stay")
				r.root.last().goOn()
				synctest.Wait()
				if s := r.is(buildd.Waiting); s.Outcome != "OK" {
					t.Errorf("it ended as %s", s.Outcome)
				}
				if !ledger {
					if err := os.Remove(r.inState("build", "ledger")); err != nil {
						t.Fatal(err)
					}
				}
				r.pass(59 * time.Second)
				if len(r.leftovers()) == 0 {
					t.Error("it was killed too early")
				}
				r.pass(time.Second)
				if left := r.leftovers(); ledger && len(left) > 0 || !r.root.last().isDead() {
					t.Errorf("left: %v, the supervisor is dead: %v", left, r.root.last().isDead())
				}
			})
		})
	}
}

// TestASupervisorThatEndsByItselfIsNotKilled, however late it ends within a minute.
func TestASupervisorThatEndsByItselfIsNotKilled(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("succeed when told and stay")
		r.root.last().goOn()
		r.pass(30 * time.Second)
		for _, name := range []string{"ledger", "left-behind", "supervisor.json"} {
			_ = os.Remove(r.inState("build", name))
		}
		r.root.last().exit()
		r.pass(time.Hour)
		if n := len(r.root.limits); n > 0 {
			t.Errorf("%d clean-ups", n)
		}
		if n := r.log.count("is killed"); n > 0 {
			t.Errorf("the log says that it is killed:\n%s", r.log)
		}
	})
}

// TestASupervisorThatDiesAfterItsOutcomeIsCleanedUpAfter, also if its ledger is done.
func TestASupervisorThatDiesAfterItsOutcomeIsCleanedUpAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("succeed when told and stay")
		r.root.last().goOn()
		synctest.Wait()
		if err := os.Remove(r.inState("build", "ledger")); err != nil {
			t.Fatal(err)
		}
		r.root.last().kill()
		synctest.Wait()
		r.is(buildd.Waiting)
		if left := r.leftovers(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestACleanUpIsToldWhereToLook, has half a minute, and what it throws away is deleted
// behind it.
func TestACleanUpIsToldWhereToLook(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.asked()
		r.SetSettings(job.Settings{Home: "/home/of/builds"})
		r.build("die in a stage")
		r.is(buildd.Waiting)
		b, err := job.ReadBuilder(r.state().Build())
		if err != nil || b.Home != "/home/of/builds" {
			t.Errorf("it is told %+v, %v", b, err)
		}
		if len(r.root.limits) != 1 || r.root.limits[0] != 30*time.Second {
			t.Errorf("the clean-ups have %v", r.root.limits)
		}
		if asked := r.root.asked(); len(asked) != 1 || asked[0] != 0 {
			t.Errorf("the trash is emptied: %v", asked)
		}
		r.EmptyTrash(t.Context())
		if asked := r.root.asked(); len(asked) != 1 || asked[0] != 0 {
			t.Errorf("when asked: %v", asked)
		}
	})
}

// TestADeadSupervisorIsCleanedUpAfterOnceMore if it was still dying during the first
// clean-up.
func TestADeadSupervisorIsCleanedUpAfterOnceMore(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		letGo := r.root.hold()
		times := 0
		r.root.clean = func(string) error {
			if times++; times == 1 {
				return errors.New("a process does not die")
			}
			return errors.Join(os.Remove(r.inState("build", "ledger")), os.Remove(r.inState("build", "supervisor.json")), os.Remove(r.inState("build", "left-behind")))
		}
		r.build("succeed when told and die")
		r.root.last().goOn()
		r.pass(5 * time.Second) // by then, its end was noticed everywhere
		r.is(buildd.Waiting)
		letGo()
		synctest.Wait()
		if left := r.leftovers(); times != 2 || len(left) > 0 {
			t.Errorf("after %d clean-ups there is left: %v", times, left)
		}
	})
}

// TestOneEndsABuildAtATime: an abort that takes too long does not end a build that is
// being ended already.
func TestOneEndsABuildAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		letGo := r.root.hold()
		r.build("die in a stage")
		r.abort()
		r.pass(time.Hour)
		r.is(buildd.Aborting)
		if n := len(r.root.limits); n != 1 {
			t.Errorf("%d clean-ups go on", n)
		}
		letGo()
		synctest.Wait()
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" || strings.Contains(r.buildLog(), "did not end in time") {
			t.Errorf("it ended as %+v, its log: %s", s, r.buildLog())
		}
	})
}

// TestADaemonThatStopsBringsAnEndToItsEnd, but begins nothing new.
func TestADaemonThatStopsBringsAnEndToItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		letGo := r.root.hold()
		r.build("die in a stage")
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			r.Close()
		}()
		synctest.Wait()
		for range 30 {
			if fault := (*buildd.Fault)(nil); !errors.As(r.Abort(t.Context()), &fault) {
				t.Fatal("an abort() was accepted")
			}
		}
		letGo()
		<-closed
		r.start()
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("it ended as %+v", s)
		}
	})
}

// TestALateEndOfASupervisorDisturbsNoLaterBuild: the clean-up after the first build
// would kill the second.
func TestALateEndOfASupervisorDisturbsNoLaterBuild(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("succeed when told and stay")
		first := r.root.last()
		first.goOn()
		synctest.Wait()
		r.clean()
		r.build("ignore")
		first.kill()
		r.pass(time.Hour)
		r.is(buildd.Building)
		if n := len(r.root.limits); n > 0 {
			t.Errorf("%d clean-ups", n)
		}
	})
}

// TestAnEndThatIsWrittenLaterEndsNoLaterBuild: the first build has ended otherwise
// meanwhile.
func TestAnEndThatIsWrittenLaterEndsNoLaterBuild(t *testing.T) {
	for name, end := range map[string]func(r *rig) (repair func()){
		"an outcome": func(r *rig) func() {
			r.build("succeed when told")
			repair := r.breakJournal()
			r.root.last().goOn()
			synctest.Wait()
			return repair
		},
		"a loss": func(r *rig) (repair func()) {
			r.root.clean = func(string) error {
				r.root.clean = nil
				repair = r.breakJournal()
				return os.Remove(r.inState("build", "ledger"))
			}
			r.found(func() { r.write(r.inState("build", "ledger"), "") })
			return repair
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.config.Settings.AbortLimit, r.config.AbortGrace = 2*time.Second, 0
				r.restart()
				repair := end(r)
				r.is(buildd.Building)
				r.pass(time.Second)
				repair()
				r.abort()
				r.pass(2 * time.Second) // the limit of the abort
				r.is(buildd.Waiting)
				r.clean()
				r.build("ignore")
				r.pass(time.Minute)
				r.is(buildd.Building)
			})
		})
	}
}

// TestEachEndHasItsOwnMinuteToBeWritten.
func TestEachEndHasItsOwnMinuteToBeWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for range 3 {
			r.build("succeed when told")
			repair := r.breakJournal()
			r.root.last().goOn()
			r.pass(59 * time.Second)
			r.is(buildd.Building)
			repair()
			r.pass(5 * time.Second)
			if s := r.is(buildd.Waiting); s.Outcome != "OK" {
				t.Errorf("it ended as %s", s.Outcome)
			}
			r.clean()
		}
		for range 3 {
			var repair func()
			r.root.clean = func(string) error {
				repair = r.breakJournal()
				return os.Remove(r.inState("build", "ledger"))
			}
			r.root.refuses = errors.New("no sudo")
			r.write(r.inState("build", "ledger"), "")
			if err := r.Build(t.Context(), r.request("wait")); err == nil {
				t.Fatal("it was started")
			}
			r.pass(59 * time.Second)
			r.is(buildd.Building)
			repair()
			r.pass(5 * time.Second)
			r.is(buildd.Idle)
		}
	})
}

// TestAnEndThatIsNotOnTheDiskKeepsWhatClean removes: and says that the disk is
// broken, if it is.
func TestAnEndThatIsNotOnTheDiskKeepsWhatCleanRemoves(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		result := r.store("a result")
		r.build("succeed when told", adds(result))
		repair := r.breakJournal()
		r.root.last().goOn()
		synctest.Wait()
		if err := os.Rename(r.inState("build"), r.inState("away")); err != nil {
			t.Fatal(err)
		}
		r.pass(time.Minute)
		r.is(buildd.Waiting)
		repair()
		r.clean()
		if r.has(result) {
			t.Error("the result stays")
		}
		if s := r.is(buildd.Idle); !strings.HasPrefix(s.Drained, buildd.BrokenText) {
			t.Errorf("it says %+v", s)
		}
	})
}

// TestADeadSupervisorIsNotConnectedToAgain: a sudo that was stopped holds its socket.
func TestADeadSupervisorIsNotConnectedToAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("ignore")
		r.write(r.inState("build", "supervisor.json"), `{"pid":1073741824,"start":"1","boot":"another"}`)
		r.root.last().cut()
		synctest.Wait()
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("it ended as %s", s.Outcome)
		}
	})
}

// TestASupervisorWithoutARequestThatDoesNotGoIsKilled.
func TestASupervisorWithoutARequestThatDoesNotGoIsKilled(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.mute = true
		r.found(func() {
			r.root.orphan(r.inState("build"))
			r.write(r.inState("build", "supervisor.json"), "1")
		})
		r.pass(time.Minute)
		r.is(buildd.Idle)
		if !r.root.last().isDead() {
			t.Error("it lives")
		}
	})
}

// TestAnAbortHasItsLimitAlsoAfterARestart.
func TestAnAbortHasItsLimitAlsoAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("ignore")
		r.abort()
		r.pass(time.Minute)
		r.restart()
		r.pass(2 * time.Minute)
		r.is(buildd.Aborting)
		r.pass(10 * time.Second)
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("it ended as %s", s.Outcome)
		}
	})
}

// TestAStartCleansUpAfterABuildThatHasEnded, whatever its supervisor still does.
func TestAStartCleansUpAfterABuildThatHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("succeed when told and stay")
		r.root.last().goOn()
		synctest.Wait()
		r.is(buildd.Waiting)
		r.restart()
		if left := r.leftovers(); len(left) > 0 || !r.root.last().isDead() {
			t.Errorf("left: %v", left)
		}
		if s := r.is(buildd.Waiting); s.Outcome != "OK" {
			t.Errorf("it ended as %s", s.Outcome)
		}
	})
}

// TestAStartAnswersWhenAllIsSettled, if that is soon.
func TestAStartAnswersWhenAllIsSettled(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for range 20 {
			r.Close()
			r.journal(map[string]any{"state": "BUILDING", "build_id": "B-1", "tag": "binarypackage"})
			r.write(r.inState("build", "ledger"), "")
			var err error
			if r.Daemon, err = buildd.New(t.Context(), r.config); err != nil {
				t.Fatal(err)
			}
			r.is(buildd.Idle)
		}
	})
}

// TestAJournalThatDoesNotSayHowABuildEndedIsSetAside.
func TestAJournalThatDoesNotSayHowABuildEndedIsSetAside(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, j := range []map[string]any{
			{"state": "WAITING", "build_id": "B-1"},
			{"state": "WAITING", "build_id": "B-1", "outcome": map[string]any{"build_id": "B-1", "status": "FINE"}},
			{"state": "IDLE", "garbage": []string{"../../etc/passwd"}},
			{"state": "BUILDING", "build_id": "B-1", "private_inputs": []string{"../../etc/passwd"}},
		} {
			r.Close()
			r.journal(j)
			before := len(r.setAside())
			r.start()
			r.is(buildd.Idle)
			if len(r.setAside()) != before+1 {
				t.Errorf("%v: set aside are %v", j, r.setAside())
			}
		}
	})
}

// TestEveryChangeIsAnnounced, after it can be seen.
func TestEveryChangeIsAnnounced(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var seen []buildd.State
		r.Close()
		var d *buildd.Daemon
		r.config.Changed = func() {
			if d != nil {
				seen = append(seen, d.Status().State)
			}
		}
		r.start()
		d = r.Daemon
		r.build("extra")
		r.finish()
		want := "[BUILDING BUILDING ABORTING WAITING IDLE]"
		if got := strings.TrimSpace(strings.Join(strings.Fields(stateNames(seen)), " ")); got != want {
			t.Errorf("seen are %s, want %s", got, want)
		}
	})
}

func stateNames(states []buildd.State) string {
	var names []string
	for _, s := range states {
		names = append(names, string(s))
	}
	return "[" + strings.Join(names, " ") + "]"
}
