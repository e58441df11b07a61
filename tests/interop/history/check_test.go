package history

import (
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// A history that is right, of which each test spoils one thing: the checks must
// say so.
func sound() *History {
	h := New()
	put := func(call, back, revision int64, key, value string) {
		h.ops = append(h.ops, &Op{Kind: Put, Key: key, Value: value, Call: call, Return: back, Revision: revision})
	}
	put(10, 20, 2, "k/1/a", "one")
	put(30, 40, 3, "k/1/b", "two")
	h.ops = append(h.ops, &Op{Kind: Get, Key: "k/1/a", Call: 32, Return: 50, Revision: 3, Rows: []Row{{"k/1/a", "one", 2, 2, 1}}})
	h.ops = append(h.ops, &Op{Kind: Swap, Key: "k/1/a", Expect: "one", Value: "three", Call: 60, Return: 70, Revision: 4, Done: true})
	h.ops = append(h.ops, &Op{Kind: Delete, Key: "k/1/b", Call: 80, Return: 90, Revision: 5, Done: true})
	h.ops = append(h.ops, &Op{Kind: PutPair, Key: "k/1/a", Other: "k/1/b", Value: "four", Call: 100, Return: 200, Error: "deadline exceeded"})
	h.ops = append(h.ops, &Op{Kind: List, Key: "k/1/", Call: 300, Return: 310, Revision: 6,
		Rows: []Row{{"k/1/a", "four", 2, 6, 3}, {"k/1/b", "four", 6, 6, 1}}})
	h.ops = append(h.ops, &Op{Kind: SerialGet, Key: "k/1/a", Call: 320, Return: 330, Revision: 3, Rows: []Row{{"k/1/a", "one", 2, 2, 1}}})
	events := []Event{
		{Key: "k/1/a", Value: "one", Create: 2, Mod: 2, Version: 1, Arrival: 25},
		{Key: "k/1/b", Value: "two", Create: 3, Mod: 3, Version: 1, Arrival: 45},
		{Key: "k/1/a", Value: "three", Create: 2, Mod: 4, Version: 2, Arrival: 75, Previous: &Row{"k/1/a", "one", 2, 2, 1}},
		{Delete: true, Key: "k/1/b", Mod: 5, Arrival: 95, Previous: &Row{"k/1/b", "two", 3, 3, 1}},
		{Key: "k/1/a", Value: "four", Create: 2, Mod: 6, Version: 3, Arrival: 205, Previous: &Row{"k/1/a", "three", 2, 4, 2}},
		{Key: "k/1/b", Value: "four", Create: 6, Mod: 6, Version: 1, Arrival: 205},
	}
	h.watches = []*Watch{
		{Kind: WatchKind{Name: "one", Previous: true}, From: 2, events: append([]Event{}, events...)},
		{Kind: WatchKind{Name: "two", Previous: true}, From: 2, events: append([]Event{}, events...)},
		{Kind: WatchKind{Name: "b", Prefix: "k/1/b"}, From: 3, events: []Event{events[1], events[3], events[5]}},
	}
	return h
}

func (h *History) op(kind Kind) *Op {
	for _, op := range h.ops {
		if op.Kind == kind {
			return op
		}
	}
	panic("no such operation")
}

func TestASoundHistoryPasses(t *testing.T) {
	v := sound().Check(6, true)
	if len(v.Failures) > 0 || v.GaveUp > 0 {
		t.Fatalf("expected nothing, found:\n%s", strings.Join(v.Failures, "\n"))
	}
	if v.Operations != 8 || v.Unknown != 1 || v.Revisions != 5 || v.Keys != 2 {
		t.Errorf("expected 8 operations, 1 unknown, 5 revisions, 2 keys; got %+v", v)
	}
}

func TestEachCheckCanFail(t *testing.T) {
	for _, c := range []struct {
		name, expected string
		spoil          func(h *History)
	}{
		{"an acknowledged write is lost", "acknowledged write lost", func(h *History) {
			for _, w := range h.watches[:2] {
				w.events = w.events[:5:5]
				w.events[4].Mod, w.events[4].Version = 5, 3
				w.events = append(w.events[:3], w.events[4])
			}
			h.watches = h.watches[:2]
		}},
		{"a watch misses an event", "watch two: event 1 is", func(h *History) {
			w := h.watches[1]
			w.events = append(w.events[:1], w.events[2:]...)
		}},
		{"a watch ends too early", "watch two: misses", func(h *History) { h.watches[1].events = h.watches[1].events[:4] }},
		{"a watch repeats an event", "watch two: event 2 is", func(h *History) {
			w := h.watches[1]
			w.events = append(w.events[:2], append([]Event{w.events[1]}, w.events[2:]...)...)
		}},
		{"a watch repeats the last revision", "watch two: 1 events too many", func(h *History) {
			w := h.watches[1]
			w.events = append(w.events, w.events[5])
		}},
		{"all watches have a gap", "no watch has an event of revision 4", func(h *History) {
			for _, w := range h.watches[:2] {
				w.events = append(w.events[:2], w.events[3:]...)
			}
		}},
		{"a watch of a prefix misses an event", "watch b: event 1 is", func(h *History) {
			w := h.watches[2]
			w.events = append(w.events[:1], w.events[2])
		}},
		{"the events of one revision come in another order", "watch two: event 4 is", func(h *History) {
			w := h.watches[1]
			w.events[4], w.events[5] = w.events[5], w.events[4]
		}},
		{"a watch shows another value", "watch two: event 0 is", func(h *History) { h.watches[1].events[0].Value = "other" }},
		{"a previous row is wrong", "came with the previous row", func(h *History) {
			h.watches[0].events[2].Previous = &Row{"k/1/a", "one", 2, 2, 7}
		}},
		{"a write was applied twice", "was written a second time", func(h *History) {
			for _, w := range h.watches[:2] {
				w.events = append(w.events, Event{Key: "k/1/a", Value: "four", Create: 2, Mod: 7, Version: 4, Arrival: 400},
					Event{Key: "k/1/b", Value: "four", Create: 6, Mod: 7, Version: 2, Arrival: 400})
			}
			h.watches = h.watches[:2]
		}},
		{"a value comes from nowhere", "which nobody wrote", func(h *History) {
			h.ops = append(h.ops[:5], h.ops[6:]...)
		}},
		{"a deletion comes from nowhere", "which nobody asked for", func(h *History) {
			h.op(Delete).Done = false
		}},
		{"two writes with one revision", "two writes with one revision", func(h *History) { h.op(Swap).Revision = 3 }},
		{"a version is wrong", "before it there was version 1", func(h *History) {
			h.watches[0].events[2].Version = 5
			h.watches[1].events[2].Version = 5
		}},
		{"a read at its revision is wrong", "at that revision there was", func(h *History) { h.op(SerialGet).Revision = 5 }},
		{"a read of the future", "from the future", func(h *History) { h.op(SerialGet).Revision = 9 }},
		{"a list lacks a row", "at that revision there was", func(h *History) { h.op(List).Rows = h.op(List).Rows[:1] }},
		{"a linearizable read is stale by its revision", "stale: get", func(h *History) {
			get := h.op(Get)
			get.Call, get.Return = 71, 72 // the swap of revision 4 was told at 70
		}},
		{"a linearizable read is older than an event that was seen", "stale: get", func(h *History) {
			get := h.op(Get)
			get.Call, get.Return, h.op(Swap).Return = 76, 77, 78
		}},
		{"a stale read, for the model", "the history of k/1/a is not linearizable", func(h *History) {
			get := h.op(Get)
			get.Call, get.Return, get.Revision = 71, 72, 4
		}},
		{"a write is told with an older revision", "stale: put", func(h *History) { h.op(Put).Call, h.op(Put).Return = 46, 47 }},
		{"a write that failed was done before it was asked for", "stale: put pair", func(h *History) {
			h.ops = append(h.ops, &Op{Kind: Get, Key: "k/1/z", Call: 92, Return: 95, Revision: 6})
		}},
		{"a swap did what it must not", "the history of k/1/a is not linearizable", func(h *History) { h.op(Swap).Expect = "nothing" }},
		{"a lease ends early", "too early", func(h *History) {
			h.leases = []*Lease{{ID: 1, Key: "lease/1", Earliest: 900}}
			for _, w := range h.watches[:2] {
				w.events = append(w.events, Event{Key: "lease/1", Create: 7, Mod: 7, Version: 1, Lease: 1, Arrival: 400},
					Event{Delete: true, Key: "lease/1", Mod: 8, Arrival: 800})
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := sound()
			c.spoil(h)
			v := h.Check(100, true)
			if found := strings.Join(v.Failures, "\n"); !strings.Contains(found, c.expected) {
				t.Errorf("expected %q, found:\n%s", c.expected, found)
			}
		})
	}
}

func TestAnEventAfterItsProgressIsTold(t *testing.T) {
	h := New()
	w := &Watch{Kind: WatchKind{Name: "w"}, From: 2, last: 1}
	w.takeProgress(5)
	w.take(h, nil)
	if len(h.failures) != 0 {
		t.Fatalf("expected nothing yet, got %q", h.failures)
	}
	w.take(h, eventsOf(3))
	if len(h.failures) == 0 || !strings.Contains(h.failures[0], "after progress to 5") {
		t.Errorf("expected a failure, got %q", h.failures)
	}
}

func eventsOf(revision int64) []*mvccpb.Event {
	return []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: []byte("k"), ModRevision: revision}}}
}
