package buildd

import (
	"fmt"
	"strings"
)

// State is what the builder is doing: the protocol's builder status without
// its prefix "BuilderStatus." (spec: protocol.md section 5.1).
type State string

// All states.
const (
	Idle     State = "IDLE"
	Building State = "BUILDING"
	Aborting State = "ABORTING"
	Waiting  State = "WAITING"
)

// Event is something that changes the state.
type Event string

// All events.
const (
	Accept Event = "build() accepted"
	Abort  Event = "abort()"
	Finish Event = "build finished"
	Clean  Event = "clean()"
	Lost   Event = "build lost in a crash"
)

// Transition is one arrow of the state diagram.
type Transition struct {
	From  State
	Event Event
	To    State
}

// Transitions is the whole state machine. ARCHITECTURE.md shows the same
// table; a test keeps them equal.
func Transitions() []Transition {
	return []Transition{
		{Idle, Accept, Building},
		{Building, Abort, Aborting},
		{Aborting, Abort, Aborting},
		{Building, Finish, Waiting},
		{Aborting, Finish, Waiting},
		{Waiting, Clean, Idle},
		{Building, Lost, Idle},
		{Aborting, Lost, Idle},
	}
}

// StateError reports an event that the state does not allow.
type StateError struct {
	State State
	Event Event
}

// Error says what was asked for, in which state the builder is, and what to do.
func (e *StateError) Error() string {
	call, _, _ := strings.Cut(string(e.Event), " ")
	var from []string
	for _, t := range Transitions() {
		if t.Event == e.Event {
			from = append(from, string(t.From))
		}
	}
	return fmt.Sprintf("%s needs a builder that is %s, this one is %s: %s", call, strings.Join(from, " or "), e.State, e.State.wayOut())
}

// wayOut tells a person how a builder gets into another state.
func (s State) wayOut() string {
	switch s {
	case Idle:
		return "there is no build"
	case Building:
		return "wait for the end of the build, or abort() it"
	case Aborting:
		return "wait until the build has ended"
	case Waiting:
		return "the build has ended; fetch its results, then clean()"
	}
	return "see status()"
}

// next returns the state after an event.
func next(from State, event Event) (State, error) {
	for _, t := range Transitions() {
		if t.From == from && t.Event == event {
			return t.To, nil
		}
	}
	return from, &StateError{State: from, Event: event}
}
