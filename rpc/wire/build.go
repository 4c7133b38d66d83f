package wire

import (
	"errors"
	"strings"

	"lpbuildd/buildd"
)

// The answers of build that are no states of the builder.
const (
	unknownBuilder = builderPrefix + "UNKNOWNBUILDER"
	unknownSum     = builderPrefix + "UNKNOWNSUM"
)

// The texts behind UNKNOWNSUM (spec: protocol.md section 7).
const (
	imageLabel = "CHROOTSUM -> "
	fileLabel  = "FILESUM -> "
)

// EncodeBuild makes the answer to build from what came of it. All errors but two
// are returned, because they are faults.
func EncodeBuild(buildID string, err error) ([]any, error) {
	var badType *buildd.UnknownTypeError
	var badSum *buildd.UnknownSumError
	switch {
	case errors.As(err, &badType):
		return []any{unknownBuilder, unknownTypeText(badType)}, nil
	case errors.As(err, &badSum):
		return []any{unknownSum, unknownSumText(badSum)}, nil
	}
	return []any{State(buildd.Building), buildID}, err
}

// DecodeBuild reads the answer to a request. The error is what EncodeBuild was
// given, or says that it cannot be understood.
func DecodeBuild(r buildd.Request, value any) error {
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return badReply("build", value)
	}
	info, _ := pair[1].(string)
	switch pair[0] {
	case State(buildd.Building):
		return nil
	case unknownBuilder:
		return &buildd.UnknownTypeError{Tag: r.Tag, Known: knownTypes(info)}
	case unknownSum:
		return missingFile(r, info)
	}
	return badReply("build", value)
}

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

// missingFile finds the file of which that text speaks.
func missingFile(r buildd.Request, info string) error {
	first, _, _ := strings.Cut(info, "\n")
	if sum, isImage := strings.CutPrefix(first, imageLabel); isImage {
		return &buildd.UnknownSumError{Sum: sum}
	}
	sum := strings.TrimPrefix(first, fileLabel)
	for _, file := range r.Files {
		if file.Value == sum {
			return &buildd.UnknownSumError{Name: file.Name, Sum: sum}
		}
	}
	return badReply("build", info)
}

// unknownTypeText shows the known types as a Python list.
func unknownTypeText(e *buildd.UnknownTypeError) string {
	known := make([]string, len(e.Known))
	for i, tag := range e.Known {
		known[i] = pythonQuote(tag)
	}
	return e.Tag + " not in [" + strings.Join(known, ", ") + "]"
}

// knownTypes reads that list.
func knownTypes(info string) []string {
	_, list, found := strings.Cut(info, " not in ['")
	if !found {
		return nil
	}
	return strings.Split(strings.TrimSuffix(list, "']"), "', '")
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
