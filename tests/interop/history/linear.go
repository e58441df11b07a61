package history

import (
	"fmt"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// Each key is a register for itself, and Porcupine decides whether its history
// has a linear order. It knows nothing of revisions and events, so it judges
// what the other checks take for granted. A transaction of two keys counts as a
// write of each; that they happen together is for the other checks.

type registerInput struct {
	kind          Kind
	value, expect string
}

type registerOutput struct {
	unknown, done, found bool
	value                string
}

var register = porcupine.Model{
	Init: func() any { return "" }, // "" is no such key
	Step: func(state, input, output any) (bool, any) {
		in, out := input.(registerInput), output.(registerOutput)
		current := state.(string)
		switch in.kind {
		case Put:
			return true, in.value
		case Delete:
			return out.unknown || out.done == (current != ""), ""
		case Swap:
			if out.unknown {
				if current == in.expect {
					return true, in.value
				}
				return true, current
			}
			if out.done {
				return current == in.expect, in.value
			}
			return current != in.expect && current == out.value, current
		default:
			return current == out.value, current
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// Reads that waited out an election all wait at the same time and may stand
// anywhere in it, which takes the checker forever. It gets a few of each key;
// all of them are for the other checks.
const (
	longRead  = 300 * time.Millisecond
	longReads = 3
)

const keyLimit = 20 * time.Second // of CPU a key; none has come near

// checkKeys gives each key's history to the checker.
func (h *History) checkKeys(v *Verdict, log eventLog) {
	// When somebody first saw a value, by a watch or a read: its write was done by then.
	seen := map[string]int64{}
	see := func(value string, when int64) {
		if first, known := seen[value]; !known || when < first {
			seen[value] = when
		}
	}
	for _, w := range h.watches {
		for _, e := range w.events {
			see(e.Value, e.Arrival)
		}
	}
	deleted := map[string]int{} // deletions that no answer tells of
	for _, events := range log {
		for _, e := range events {
			if e.Delete {
				deleted[e.Key]++
			}
		}
	}
	var end int64
	for _, op := range h.ops {
		end = max(end, op.Return)
		if op.Error == "" {
			for _, row := range op.Rows {
				see(row.Value, op.Return)
			}
			if op.Kind == Delete && op.Done {
				deleted[op.Key]--
			}
		}
	}
	keys := map[string][]porcupine.Operation{}
	long := map[string]int{}
	add := func(key string, op *Op, in registerInput, out registerOutput) {
		if in.kind == Get && op.Return-op.Call > int64(longRead) {
			if long[key]++; long[key] > longReads {
				return
			}
		}
		back := op.Return
		if out.unknown {
			back = end + 1 // it may happen at any time
			if first, known := seen[in.value]; known && in.kind != Delete {
				back = max(first, op.Call)
			}
		}
		keys[key] = append(keys[key], porcupine.Operation{ClientId: max(op.Client, 0), Input: in, Call: op.Call, Output: out, Return: back})
	}
	lists := map[string][]*Op{}
	for _, op := range h.ops {
		unknown := op.Error != ""
		switch {
		case unknown && !op.Kind.writes():
			// A read without an answer says nothing.
		case unknown && ((op.Kind != Delete && !has(seen, op.Value)) || (op.Kind == Delete && deleted[op.Key] <= 0)):
			// A write that nobody ever saw may have come after everything.
		case op.Kind == Put || op.Kind == PutPair:
			add(op.Key, op, registerInput{kind: Put, value: op.Value}, registerOutput{unknown: unknown})
			if op.Kind == PutPair {
				add(op.Other, op, registerInput{kind: Put, value: op.Value}, registerOutput{unknown: unknown})
			}
		case op.Kind == Delete:
			add(op.Key, op, registerInput{kind: Delete}, registerOutput{unknown: unknown, done: op.Done})
		case op.Kind == Swap:
			add(op.Key, op, registerInput{kind: Swap, value: op.Value, expect: op.Expect}, registerOutput{unknown: unknown, done: op.Done, value: first(op.Rows)})
		case op.Kind == Get:
			add(op.Key, op, registerInput{kind: Get}, registerOutput{value: first(op.Rows)})
		case op.Kind == List:
			lists[op.Key] = append(lists[op.Key], op)
		}
	}
	// A list is a read of each key that anybody used below its prefix.
	for key := range keys {
		for _, op := range lists[key[:lastSlash(key)+1]] {
			out := registerOutput{}
			for _, row := range op.Rows {
				if row.Key == key {
					out.value = row.Value
				}
			}
			add(key, op, registerInput{kind: Get}, out)
		}
	}
	names := make([]string, 0, len(keys))
	for key := range keys {
		names = append(names, key)
	}
	sort.Strings(names)
	v.Keys = len(names)
	for _, key := range names {
		switch porcupine.CheckOperationsTimeout(register, keys[key], keyLimit) {
		case porcupine.Illegal:
			v.fail("the history of %s is not linearizable (%d operations)", key, len(keys[key]))
		case porcupine.Unknown:
			v.GaveUp++
			v.fail("the history of %s is too hard to decide (%d operations)", key, len(keys[key]))
		}
	}
}

func has(seen map[string]int64, value string) bool {
	_, known := seen[value]
	return known
}

func first(rows []Row) string {
	if len(rows) == 0 {
		return ""
	}
	return rows[0].Value
}

func lastSlash(key string) int {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '/' {
			return i
		}
	}
	return -1
}
