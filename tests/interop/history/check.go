package history

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"
)

// Verdict is what a check found.
type Verdict struct {
	Operations, Unknown, Revisions, Events, Watches, Keys, Leases int
	Resumed                                                       int // watches, after a lost stream
	GaveUp                                                        int // keys whose history was too hard to decide
	Failures                                                      []string
}

func (v *Verdict) fail(format string, arguments ...any) {
	if len(v.Failures) < 50 {
		v.Failures = append(v.Failures, fmt.Sprintf(format, arguments...))
	}
}

// WaitWatches waits until every watch has seen all that there is up to a
// revision. A watch of a prefix ends by the probe's key, if its prefix has it.
func (h *History) WaitWatches(revision int64, limit time.Duration) {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		behind := false
		for _, w := range h.watches {
			wanted := revision
			if w.Until > 0 {
				wanted = min(wanted, w.Until)
			}
			behind = behind || (w.Kind.Prefix == "" && w.position() < wanted)
		}
		if !behind {
			// Those of a part of the keys can't tell; what they lack now is missing.
			time.Sleep(500 * time.Millisecond)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Check judges the history up to a revision that every watch was given the time
// to see, and, if asked for, that no lease ended early. Nobody adds to the history
// any more.
func (h *History) Check(upTo int64, leases bool) *Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.watches {
		upTo := upTo
		if w.Until > 0 {
			upTo = min(upTo, w.Until)
		}
		w.events = w.events[:sort.Search(len(w.events), func(i int) bool { return w.events[i].Mod > upTo })]
	}
	v := &Verdict{Operations: len(h.ops), Watches: len(h.watches), Failures: slices.Clone(h.failures), Leases: len(h.leases)}
	for _, op := range h.ops {
		if op.Error != "" {
			v.Unknown++
		}
	}
	log := h.merge(v)
	h.checkWatches(v, log)
	states := replay(v, log)
	h.checkWrites(v, log)
	h.checkReads(v, states, log)
	h.checkOrder(v, log)
	if leases {
		h.checkLeases(v)
	}
	h.checkKeys(v, log)
	return v
}

// eventLog is what happened: the events of each revision, in order. Index 0 is
// revision 2, the first that a cluster makes.
type eventLog [][]Event

func (l eventLog) at(revision int64) []Event {
	if revision < 2 || revision-2 >= int64(len(l)) {
		return nil
	}
	return l[revision-2]
}

// merge puts together what the watches of everything saw. Each revision has at
// least one event, because nothing is written that they don't watch.
func (h *History) merge(v *Verdict) eventLog {
	var log eventLog
	for _, w := range h.watches {
		v.Resumed += max(0, w.streams-1)
		v.Events += len(w.events)
		if w.Kind.Prefix != "" {
			continue
		}
		for begin := 0; begin < len(w.events); {
			end := begin + 1
			for end < len(w.events) && w.events[end].Mod == w.events[begin].Mod {
				end++
			}
			index := w.events[begin].Mod - 2
			if index < 0 {
				v.fail("watch %s: an event of revision %d", w.Kind.Name, index+2)
				return log
			}
			for int64(len(log)) <= index {
				log = append(log, nil)
			}
			if log[index] == nil {
				log[index] = w.events[begin:end]
			}
			begin = end
		}
	}
	v.Revisions = len(log)
	for i, events := range log {
		if events == nil {
			v.fail("no watch has an event of revision %d", i+2)
		}
	}
	return log
}

func sameEvent(a, b Event) bool {
	a.Previous, b.Previous, a.Arrival, b.Arrival = nil, nil, 0, 0
	return a == b
}

// checkWatches compares each watch, event by event, with what happened.
func (h *History) checkWatches(v *Verdict, log eventLog) {
	for _, w := range h.watches {
		next, wrong := 0, false
		for revision := w.From; revision-2 < int64(len(log)) && !wrong && (w.Until == 0 || revision <= w.Until); revision++ {
			for _, want := range log.at(revision) {
				if !strings.HasPrefix(want.Key, w.Kind.Prefix) {
					continue
				}
				if next == len(w.events) {
					v.fail("watch %s: misses %s and whatever came after", w.Kind.Name, describe(want))
					wrong = true
					break
				}
				if got := w.events[next]; !sameEvent(got, want) {
					v.fail("watch %s: event %d is %s, expected %s", w.Kind.Name, next, describe(got), describe(want))
					wrong = true
					break
				}
				next++
			}
		}
		if !wrong && next < len(w.events) {
			v.fail("watch %s: %d events too many, first %s", w.Kind.Name, len(w.events)-next, describe(w.events[next]))
		}
	}
}

func shortened(value string) string {
	return fmt.Sprintf("%q", strings.TrimRight(value, " "))
}

func (e Event) String() string { return describe(e) }

func describe(e Event) string {
	if e.Delete {
		return fmt.Sprintf("the deletion of %s at revision %d", e.Key, e.Mod)
	}
	return fmt.Sprintf("%s = %s at revision %d, version %d", e.Key, shortened(e.Value), e.Mod, e.Version)
}

// replay is the history of each key by revision, and checks what each event
// says of itself and of the row before it.
func replay(v *Verdict, log eventLog) map[string][]Event {
	states := map[string][]Event{}
	for _, events := range log {
		for _, e := range events {
			before, has := stateAt(states[e.Key], e.Mod)
			switch {
			case e.Delete && !has:
				v.fail("%s, which was not there", describe(e))
			case !e.Delete && has && (e.Create != before.Create || e.Version != before.Version+1):
				v.fail("%s, created at %d: before it there was version %d, created at %d", describe(e), e.Create, before.Version, before.Create)
			case !e.Delete && !has && (e.Create != e.Mod || e.Version != 1):
				v.fail("%s, created at %d: it was not there before", describe(e), e.Create)
			}
			states[e.Key] = append(states[e.Key], e)
		}
	}
	return states
}

// stateAt is the row of a key at a revision.
func stateAt(events []Event, revision int64) (Row, bool) {
	i := sort.Search(len(events), func(i int) bool { return events[i].Mod > revision })
	if i == 0 || events[i-1].Delete {
		return Row{}, false
	}
	e := events[i-1]
	return Row{e.Key, e.Value, e.Create, e.Mod, e.Version}, true
}

// checkPrevious compares previous rows with the replay.
func (h *History) checkPrevious(v *Verdict, states map[string][]Event) {
	for _, w := range h.watches {
		if !w.Kind.Previous {
			continue
		}
		for _, e := range w.events {
			before, has := stateAt(states[e.Key], e.Mod-1)
			if has != (e.Previous != nil) || (has && *e.Previous != before) {
				v.fail("watch %s: %s came with the previous row %v, expected %v", w.Kind.Name, describe(e), e.Previous, before)
				break
			}
		}
	}
}

func (op *Op) String() string {
	text := fmt.Sprintf("%s %s", op.Kind, op.Key)
	if op.Kind.writes() && op.Kind != Delete {
		text += " = " + shortened(op.Value)
	}
	return fmt.Sprintf("%s through %s (%.3f..%.3f s, revision %d %s)", text, op.Member, float64(op.Call)/1e9, float64(op.Return)/1e9, op.Revision, op.Error)
}

// wanted are the events of a write that was done.
func (op *Op) wanted() []Event {
	switch op.Kind {
	case Delete:
		return []Event{{Delete: true, Key: op.Key}}
	case PutPair:
		return []Event{{Key: op.Key, Value: op.Value}, {Key: op.Other, Value: op.Value}}
	default:
		return []Event{{Key: op.Key, Value: op.Value}}
	}
}

func (op *Op) matches(events []Event) bool {
	wanted := op.wanted()
	if len(events) != len(wanted) {
		return false
	}
	for i, e := range events {
		if e.Delete != wanted[i].Delete || e.Key != wanted[i].Key || (!e.Delete && e.Value != wanted[i].Value) {
			return false
		}
	}
	return true
}

func (op *Op) changed() bool {
	return op.Error == "" && (op.Kind == Put || op.Kind == PutPair || (op.Kind.writes() && op.Done))
}

// checkWrites: each acknowledged write is there at its revision, each revision
// has one write that made it, and no write made two.
func (h *History) checkWrites(v *Verdict, log eventLog) {
	byValue := map[string]*Op{}
	acknowledged := map[int64]*Op{}
	deletes := map[string]int{} // of unknown outcome
	for _, op := range h.ops {
		if !op.Kind.writes() {
			continue
		}
		if op.Kind != Delete {
			byValue[op.Value] = op
		} else if op.Error != "" {
			deletes[op.Key]++
		}
		if !op.changed() {
			continue
		}
		if other := acknowledged[op.Revision]; other != nil {
			v.fail("two writes with one revision: %s and %s", op, other)
		}
		acknowledged[op.Revision] = op
		if !op.matches(log.at(op.Revision)) {
			v.fail("acknowledged write lost: %s; at that revision there is %v", op, log.at(op.Revision))
		}
	}
	applied := map[string]int64{}
	for i, events := range log {
		revision := int64(i) + 2
		if events == nil || acknowledged[revision] != nil || strings.HasPrefix(events[0].Key, "lease/") {
			continue
		}
		if e := events[0]; e.Delete {
			if deletes[e.Key]--; deletes[e.Key] < 0 {
				v.fail("%s, which nobody asked for", describe(e))
			}
			continue
		}
		op := byValue[events[0].Value]
		switch {
		case op == nil || !op.matches(events):
			v.fail("%s, which nobody wrote so", describe(events[0]))
		case op.Error == "":
			v.fail("%s, but its write was answered otherwise: %s", describe(events[0]), op)
		}
		if at := applied[events[0].Value]; at != 0 {
			v.fail("%s was written a second time, first at %d", describe(events[0]), at)
		}
		applied[events[0].Value] = revision
	}
}

// checkReads: each read shows what was there at the revision that it came with.
func (h *History) checkReads(v *Verdict, states map[string][]Event, log eventLog) {
	newest := int64(len(log)) + 1 // nobody reads when the newest revision is asked for
	var keys []string
	for key := range states {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, op := range h.ops {
		if op.Error != "" || op.Kind == Put || op.Kind == PutPair || (op.Kind == Swap && op.Done) {
			continue
		}
		if op.Revision > newest {
			v.fail("%s is from the future: the newest revision is %d", op, newest)
			continue
		}
		var want []Row
		if op.Kind == List || op.Kind == SerialList {
			for i := sort.SearchStrings(keys, op.Key); i < len(keys) && strings.HasPrefix(keys[i], op.Key); i++ {
				if row, has := stateAt(states[keys[i]], op.Revision); has {
					want = append(want, row)
				}
			}
		} else if row, has := stateAt(states[op.Key], op.Revision); has {
			want = append(want, row)
		}
		if op.Kind == Delete {
			if !op.Done && len(want) > 0 {
				v.fail("%s found nothing, but there was %v", op, want)
			}
			continue
		}
		if !reflect.DeepEqual(op.Rows, want) {
			v.fail("%s shows %v, at that revision there was %v", op, op.Rows, want)
		}
		if op.Kind == Swap && len(want) > 0 && want[0].Value == op.Expect {
			v.fail("%s did nothing although there was what it expected", op)
		}
	}
	h.checkPrevious(v, states)
}

// checkOrder: whoever begins after something was told sees at least that. Told
// are revisions by answers, and by events of watches.
func (h *History) checkOrder(v *Verdict, log eventLog) {
	type fact struct {
		when, revision int64
		source         string
	}
	var told []fact
	var begun []*Op
	for _, op := range h.ops {
		if !op.Kind.linearizable() {
			continue
		}
		if op.Error == "" {
			told = append(told, fact{op.Return, op.Revision, ""})
			begun = append(begun, op)
		}
	}
	for _, w := range h.watches {
		for i, e := range w.events {
			if i+1 == len(w.events) || w.events[i+1].Arrival != e.Arrival {
				told = append(told, fact{e.Arrival, e.Mod, w.Kind.Name})
			}
		}
	}
	// Writes of unknown outcome that were done: their revision is known from the log.
	at := map[string]int64{}
	for i, events := range log {
		for _, e := range events {
			if !e.Delete {
				at[e.Value] = int64(i) + 2
			}
		}
	}
	for _, op := range h.ops {
		if op.Error != "" && op.Kind.writes() && op.Kind != Delete && at[op.Value] != 0 {
			late := *op
			late.Revision, late.Done = at[op.Value], true
			begun = append(begun, &late)
		}
	}
	sort.Slice(told, func(i, j int) bool { return told[i].when < told[j].when })
	sort.Slice(begun, func(i, j int) bool { return begun[i].Call < begun[j].Call })
	next := 0
	var newest fact
	for _, op := range begun {
		for next < len(told) && told[next].when < op.Call {
			if told[next].revision > newest.revision {
				newest = told[next]
			}
			next++
		}
		writes := op.Kind == Put || op.Kind == PutPair || (op.Kind.writes() && op.Done)
		if op.Revision < newest.revision || (writes && op.Revision == newest.revision) {
			v.fail("stale: %s began after revision %d was told at %.3f s %s", op, newest.revision, float64(newest.when)/1e9, newest.source)
		}
	}
}

// checkLeases: no lease ended before its time.
func (h *History) checkLeases(v *Verdict) {
	ended := map[string]int64{} // when the first watch saw it
	for _, w := range h.watches {
		for _, e := range w.events {
			if e.Delete && strings.HasPrefix(e.Key, "lease/") {
				if at, known := ended[e.Key]; !known || e.Arrival < at {
					ended[e.Key] = e.Arrival
				}
			}
		}
	}
	for _, lease := range h.leases {
		if at, gone := ended[lease.Key]; gone && at < lease.Earliest {
			v.fail("lease %x ended at %.3f s, %.3f s too early", lease.ID, float64(at)/1e9, float64(lease.Earliest-at)/1e9)
		}
	}
}
