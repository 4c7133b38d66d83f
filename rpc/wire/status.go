package wire

import (
	"maps"
	"slices"
	"strings"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

// statusLabel begins the text of every fault of status.
const statusLabel = "status: "

// EncodeStatus makes the answer to status, with the keys of the state (spec:
// protocol.md section 6). For an idle builder that takes no builds it is a fault:
// to a manager every idle builder is one to give builds to; one whose status it
// cannot have gets none, and nothing but the builder is blamed.
func EncodeStatus(st buildd.Status) (ordered.Struct, error) {
	if st.Drained != "" {
		return nil, &buildd.Fault{Reason: statusLabel + st.Drained}
	}
	members := make(ordered.Struct, 0, 6+len(st.Extra))
	add := func(name string, value any) { members = append(members, ordered.Member[any]{Name: name, Value: value}) }
	add(keyState, State(st.State))
	if st.Version != "" {
		add(keyVersion, st.Version)
	}
	switch st.State {
	case buildd.Idle:
		return members, nil
	case buildd.Building:
		add(keyBuildID, st.BuildID)
		add(keyLogTail, st.LogTail)
	case buildd.Aborting:
		add(keyBuildID, st.BuildID)
	case buildd.Waiting:
		add(keyOutcome, buildPrefix+string(st.Outcome))
		add(keyBuildID, st.BuildID)
		if hasFiles(st.Outcome) {
			add(keyFileMap, st.FileMap)
			add(keyDependencies, st.Dependencies)
		}
	}
	return appendExtra(members, st.Extra), nil
}

// hasFiles says whether the protocol reports files with an outcome.
func hasFiles(outcome verdict.Outcome) bool {
	return outcome == verdict.OK || outcome == verdict.PackageFail || outcome == verdict.DepFail
}

// appendExtra adds the build type's own keys. One that cannot be sent is left
// out, so that it does not take the rest of the status with it.
func appendExtra(members ordered.Struct, extra map[string]any) ordered.Struct {
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		if isStandardKey(key) {
			continue
		}
		// The same depth as in the reply: inside one struct.
		if _, err := xmlrpc.AppendResponse(nil, []any{extra[key]}); err == nil {
			members = append(members, ordered.Member[any]{Name: key, Value: extra[key]})
		}
	}
	return members
}

// DecodeStatus reads the answer to status. State and Outcome come without the
// prefixes that they have on the wire.
func DecodeStatus(value any) (buildd.Status, error) {
	members, _ := value.(ordered.Struct)
	state, ok := strings.CutPrefix(optional[string](members, keyState), builderPrefix)
	if !ok {
		return buildd.Status{}, badReply("status", value)
	}
	st := buildd.Status{
		State:        buildd.State(state),
		Version:      optional[string](members, keyVersion),
		BuildID:      optional[string](members, keyBuildID),
		LogTail:      optional[[]byte](members, keyLogTail),
		Outcome:      verdict.Outcome(strings.TrimPrefix(optional[string](members, keyOutcome), buildPrefix)),
		Dependencies: optional[string](members, keyDependencies),
	}
	if files, ok := members.Get(keyFileMap).(ordered.Struct); ok {
		st.FileMap = make(map[string]string, len(files))
		for _, m := range files {
			st.FileMap[m.Name], _ = m.Value.(string)
		}
	}
	members = slices.DeleteFunc(members, func(m ordered.Member[any]) bool { return isStandardKey(m.Name) })
	if len(members) > 0 {
		st.Extra = members.Plain()
	}
	return st, nil
}

// DecodeStatusFault reads the text of a fault of status. It is false if it says
// anything but that an idle builder takes no builds.
func DecodeStatusFault(text string) (buildd.Status, bool) {
	why, isStatus := strings.CutPrefix(text, statusLabel)
	takesNone := strings.HasPrefix(why, buildd.DrainedText) || strings.HasPrefix(why, buildd.BrokenText)
	return buildd.Status{State: buildd.Idle, Drained: why}, isStatus && takesNone
}

// optional is a member of a type, or that type's zero value.
func optional[T any](members ordered.Struct, key string) T {
	value, _ := members.Get(key).(T)
	return value
}
