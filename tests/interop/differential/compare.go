package main

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// answer is everything one server said to one operation.
type answer struct {
	message proto.Message // nil after an error
	status  *status.Status
	header  metadata.MD
	trailer metadata.MD
	notes   []string // broken promises seen while receiving
}

// fieldDifference is one place where the answers are not equal.
type fieldDifference struct {
	path, a, b string
}

// difference is what the runner found at an operation.
type difference struct {
	index    int
	op       operation
	resolved proto.Message
	watching bool // found while settling the watches, not in op's answer
	fields   []fieldDifference
	logs     [2]string // how a server ended and its last lines, if it died
}

// signature tells whether two differences are the same finding: the kind of
// operation and the first field, without positions in lists and numbers.
func (d *difference) signature() string {
	path := ""
	if len(d.fields) > 0 {
		path = d.fields[0].path
	}
	var b strings.Builder
	inside := false
	for _, r := range path {
		switch {
		case r == '[':
			inside = true
		case r == ']':
			inside = false
		case !inside && (r < '0' || r > '9'):
			b.WriteRune(r)
		}
	}
	if d.watching {
		return "watch " + b.String()
	}
	return d.op.kind + " " + b.String()
}

// compareAnswers masks and compares. It changes the messages.
func compareAnswers(request proto.Message, streamed bool, a, b answer) []fieldDifference {
	var found []fieldDifference
	add := func(path, x, y string) {
		if x != y {
			found = append(found, fieldDifference{path, x, y})
		}
	}
	add("code", a.status.Code().String(), b.status.Code().String())
	add("error", maskError(a.status.Message()), maskError(b.status.Message()))
	add("details", fmt.Sprint(a.status.Details()), fmt.Sprint(b.status.Details()))
	if a.status.Code() == b.status.Code() {
		add("header metadata", fmt.Sprint(a.header), fmt.Sprint(b.header))
		add("trailer metadata", fmt.Sprint(a.trailer), fmt.Sprint(b.trailer))
	}
	add("promises", strings.Join(a.notes, "; "), strings.Join(b.notes, "; "))
	if a.message != nil && b.message != nil {
		maskPair(request, streamed, a.message, b.message)
		found = append(found, compareMessages("", a.message.ProtoReflect(), b.message.ProtoReflect())...)
	}
	return found
}

func compareMessages(path string, a, b protoreflect.Message) []fieldDifference {
	if proto.Equal(a.Interface(), b.Interface()) {
		return nil
	}
	var found []fieldDifference
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		name := path + string(field.Name())
		switch {
		case field.IsList():
			x, y := a.Get(field).List(), b.Get(field).List()
			if x.Len() != y.Len() {
				found = append(found, fieldDifference{name + " (number)", strconv.Itoa(x.Len()), strconv.Itoa(y.Len())})
			}
			for n := 0; n < x.Len() && n < y.Len(); n++ {
				element := fmt.Sprintf("%s[%d]", name, n)
				if field.Message() != nil {
					found = append(found, compareMessages(element+".", x.Get(n).Message(), y.Get(n).Message())...)
				} else if !x.Get(n).Equal(y.Get(n)) {
					found = append(found, fieldDifference{element, show(field, x.Get(n)), show(field, y.Get(n))})
				}
			}
		case field.Message() != nil:
			if a.Has(field) != b.Has(field) {
				found = append(found, fieldDifference{name, showPresence(a, field), showPresence(b, field)})
			} else if a.Has(field) {
				found = append(found, compareMessages(name+".", a.Get(field).Message(), b.Get(field).Message())...)
			}
		default:
			if !a.Get(field).Equal(b.Get(field)) {
				found = append(found, fieldDifference{name, show(field, a.Get(field)), show(field, b.Get(field))})
			}
		}
	}
	if x, y := a.GetUnknown(), b.GetUnknown(); string(x) != string(y) {
		found = append(found, fieldDifference{path + "(unknown fields)", fmt.Sprintf("%x", x), fmt.Sprintf("%x", y)})
	}
	if len(found) == 0 {
		found = append(found, fieldDifference{path + "(encoding)", "unequal", "unequal"})
	}
	return found
}

func show(field protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch field.Kind() {
	case protoreflect.BytesKind:
		return shortenRuns(strconv.Quote(string(value.Bytes())))
	case protoreflect.StringKind:
		return shortenRuns(strconv.Quote(value.String()))
	}
	return value.String()
}

func showPresence(message protoreflect.Message, field protoreflect.FieldDescriptor) string {
	if !message.Has(field) {
		return "(absent)"
	}
	return shortenRuns(compactJSON(message.Get(field).Message().Interface()))
}

// compactJSON prints a message on one line. protojson varies its spaces on
// purpose; they are taken out outside of strings.
func compactJSON(m proto.Message) string {
	data, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	quoted, escaped := false, false
	for _, c := range string(data) {
		if c == ' ' && !quoted {
			continue
		}
		switch {
		case escaped:
			escaped = false
		case c == '\\' && quoted:
			escaped = true
		case c == '"':
			quoted = !quoted
		}
		b.WriteRune(c)
	}
	return b.String()
}

// tally counts what was run, by kind and by the reference's status.
type tally map[string]map[codes.Code]int

func (t tally) add(kind string, code codes.Code) {
	if t[kind] == nil {
		t[kind] = map[codes.Code]int{}
	}
	t[kind][code]++
}

func (t tally) merge(other tally) {
	for kind, byCode := range other {
		for code, n := range byCode {
			if t[kind] == nil {
				t[kind] = map[codes.Code]int{}
			}
			t[kind][code] += n
		}
	}
}

func (t tally) total() int {
	sum := 0
	for _, byCode := range t {
		for _, n := range byCode {
			sum += n
		}
	}
	return sum
}

func (t tally) String() string {
	var b strings.Builder
	for _, name := range kindOrder {
		byCode := t[name]
		if byCode == nil {
			continue
		}
		sum := 0
		var present []codes.Code
		for code, n := range byCode {
			sum += n
			present = append(present, code)
		}
		sort.Slice(present, func(i, j int) bool { return present[i] < present[j] })
		fmt.Fprintf(&b, "  %-16s %7d ", name, sum)
		for _, code := range present {
			fmt.Fprintf(&b, " %s %d", code, byCode[code])
		}
		b.WriteString("\n")
	}
	return b.String()
}
