package rpc

import (
	"strings"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

// protocolVersion is the first element of info (spec: protocol.md section 4.2).
const protocolVersion = "1.0"

// Prefixes of states and outcomes on the wire (spec: protocol.md section 5).
const (
	builderPrefix = "BuilderStatus."
	buildPrefix   = "BuildStatus."
)

// The answers of build() that are no states of the builder.
const (
	unknownBuilder = builderPrefix + "UNKNOWNBUILDER"
	unknownSum     = builderPrefix + "UNKNOWNSUM"
)

// Standard keys of status (spec: protocol.md section 6).
const (
	keyState        = "builder_status"
	keyVersion      = "builder_version"
	keyBuildID      = "build_id"
	keyOutcome      = "build_status"
	keyLogTail      = "logtail"
	keyFileMap      = "filemap"
	keyDependencies = "dependencies"
)

// isStandardKey says whether extra status may not use the key, in any state.
func isStandardKey(key string) bool {
	switch key {
	case keyState, keyVersion, keyBuildID, keyOutcome, keyLogTail, keyFileMap, keyDependencies:
		return true
	}
	return false
}

// Keys of proxy_info (spec: protocol.md section 4.3).
const (
	keyFetchService = "use_fetch_service"
	keyRevocation   = "revocation_endpoint"
)

func wireState(s buildd.State) string { return builderPrefix + string(s) }

// The texts behind UNKNOWNSUM (spec: protocol.md section 7).
const (
	imageLabel = "CHROOTSUM -> "
	fileLabel  = "FILESUM -> "
)

// unknownSumText is byte for byte what the protocol has, white space included.
func unknownSumText(e *buildd.UnknownSumError) string {
	label, indent := fileLabel, strings.Repeat(" ", 16)
	if e.Name == "" {
		label, indent = imageLabel, strings.Repeat(" ", 12)
	}
	return strings.Join([]string{
		label + e.Sum, "***** INFO *****", "No URL", "****************", "",
	}, "\n"+indent)
}

// unknownTypeText shows the known types as a Python list.
func unknownTypeText(e *buildd.UnknownTypeError) string {
	known := make([]string, len(e.Known))
	for i, tag := range e.Known {
		known[i] = pythonQuote(tag)
	}
	return e.Tag + " not in [" + strings.Join(known, ", ") + "]"
}

// pythonQuote writes a string as Python's repr does, for printable text.
func pythonQuote(text string) string {
	quote := "'"
	if strings.Contains(text, "'") && !strings.Contains(text, `"`) {
		quote = `"`
	}
	text = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text)
	if quote == "'" {
		text = strings.ReplaceAll(text, "'", `\'`)
	}
	return quote + text + quote
}

// typeName is what the protocol calls the type of a decoded value.
func typeName(value any) string {
	switch value.(type) {
	case nil:
		return "nil"
	case bool:
		return "boolean"
	case int64, xmlrpc.BigInt:
		return "int"
	case float64:
		return "double"
	case string:
		return "string"
	case []byte:
		return "base64"
	case xmlrpc.DateTime:
		return "dateTime"
	case []any:
		return "array"
	case ordered.Struct:
		return "struct"
	default:
		return "unknown type"
	}
}
