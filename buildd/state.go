package buildd

import "fmt"

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

// Error says what was asked for and in which state the builder is.
func (e *StateError) Error() string {
	return fmt.Sprintf("cannot do %s while %s", e.Event, e.State)
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
