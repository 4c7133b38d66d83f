package filecache

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// byteRange is inclusive on both sides and lies inside the file.
type byteRange struct{ first, last int64 }

// parseRanges reads a Range header for a file of that size and leaves out what
// is not satisfiable. It is false for a header that is to be ignored, because it
// is malformed, backwards or in another unit (spec: protocol.md section 11).
func parseRanges(header string, size int64) ([]byteRange, bool) {
	unit, list, ok := strings.Cut(header, "=")
	if !ok || strings.TrimSpace(unit) != "bytes" {
		return nil, false
	}
	var ranges []byteRange
	some := false
	for spec := range strings.SplitSeq(list, ",") {
		if spec = strings.TrimSpace(spec); spec == "" {
			continue
		}
		r, ok := parseRange(spec, size)
		if !ok {
			return nil, false
		}
		some = true
		if r.first < size && r.first <= r.last {
			ranges = append(ranges, r)
		}
	}
	return ranges, some
}

// parseRange gives a range with first >= size, or first > last, if it is not
// satisfiable.
func parseRange(spec string, size int64) (byteRange, bool) {
	from, to, ok := strings.Cut(spec, "-")
	if !ok || from == "" && to == "" {
		return byteRange{}, false
	}
	first, ok1 := parseOffset(from)
	last, ok2 := parseOffset(to)
	switch {
	case !ok1 || !ok2:
		return byteRange{}, false
	case from == "":
		return byteRange{max(size-last, 0), size - 1}, true
	case to == "":
		return byteRange{first, size - 1}, true
	}
	return byteRange{first, min(last, size-1)}, first <= last
}

// parseOffset takes decimal digits only; numbers that are too large are very
// large. The empty string is 0.
func parseOffset(s string) (int64, bool) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// formatRanges is a Range header in the one spelling that net/http accepts.
func formatRanges(ranges []byteRange) string {
	parts := make([]string, len(ranges))
	for i, r := range ranges {
		parts[i] = fmt.Sprintf("%d-%d", r.first, r.last)
	}
	return "bytes=" + strings.Join(parts, ",")
}
