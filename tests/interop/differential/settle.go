package main

import (
	"bytes"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Watch answers come when they come. To compare them anyway, the runner keeps
// a tap: one watcher of its own on each side that sees every event. From b's
// tap it knows which events each watcher must have got by now (the model), so
// it can wait for just these, compare them one by one, and tell an event too
// many from one that is merely late.

// streamModel is what the runner knows of one watch stream, equal on both
// sides.
type streamModel struct {
	watchers  []*watcherModel // that a client could still cancel
	created   int             // watchers ever created
	controls  int             // control responses compared
	progress  [2]int          // progress responses expected
	spare     [2]int          // and those that may come besides
	behind    bool            // a watcher may not have caught up
	halfClose bool
}

type watcherModel struct {
	id       int64
	log      int // position among the created
	request  *pb.WatchCreateRequest
	from     int64 // first revision it sees
	edge     int64 // the compacted revision, if it started there
	dead     bool  // cancelled by compaction
	cursor   int   // how much of the tap was considered
	expected int
	compared int
}

func (w *watcherModel) matches(event *mvccpb.Event) bool {
	key, end := w.request.Key, w.request.RangeEnd
	if len(key) == 0 {
		key = []byte{0}
	}
	for _, filter := range w.request.Filters {
		if filter == pb.WatchCreateRequest_NOPUT && event.Type == mvccpb.Event_PUT ||
			filter == pb.WatchCreateRequest_NODELETE && event.Type == mvccpb.Event_DELETE {
			return false
		}
	}
	switch {
	case len(end) == 0:
		return bytes.Equal(event.Kv.Key, key)
	case len(end) == 1 && end[0] == 0:
		return bytes.Compare(event.Kv.Key, key) >= 0
	}
	return bytes.Compare(event.Kv.Key, key) >= 0 && bytes.Compare(event.Kv.Key, end) < 0
}

// advance counts the events of the tap that this watcher must have got.
func (w *watcherModel) advance(tap []*mvccpb.Event) {
	for ; w.cursor < len(tap); w.cursor++ {
		event := tap[w.cursor]
		if w.dead || event.Kv.ModRevision < w.from || !w.matches(event) {
			continue
		}
		if event.Kv.ModRevision == w.edge {
			// Compaction at a revision keeps only the last change of
			// each key in it.
			superseded := false
			for _, later := range tap[w.cursor+1:] {
				if later.Kv.ModRevision != w.edge {
					break
				}
				superseded = superseded || bytes.Equal(later.Kv.Key, event.Kv.Key)
			}
			if superseded {
				continue
			}
		}
		w.expected++
	}
}

// catchUp waits until no watcher is behind. That one has caught up can't be
// seen if it finds no event on its way, so another one is sent after it: etcd
// takes up to 512 in a round, so when the later one, which does find an event,
// has got it, the earlier ones are through as well.
func (r *runner) catchUp(op operation) *difference {
	behind := false
	for _, model := range r.models {
		behind = behind || model.behind
	}
	if !behind || r.clock.current <= 1 {
		return nil
	}
	var failed [2]error
	r.both(func(i int, s *side) {
		probe, err := openWatch(s.conn)
		if err != nil {
			failed[i] = err
			return
		}
		defer probe.close()
		failed[i] = probe.create(&pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: r.clock.current})
		if !waitFor(watchLimit, func() bool { return probe.received(0) > 0 || probe.failed() != nil }) && failed[i] == nil {
			failed[i] = errors.New("no event")
		}
		if failed[i] == nil {
			failed[i] = probe.failed()
		}
	})
	if failed[0] != nil || failed[1] != nil {
		return failure(op, nil, fmt.Sprintf("watch of all keys from revision %d", r.clock.current), failed[0], failed[1])
	}
	for _, model := range r.models {
		model.behind = false
	}
	return nil
}

// settle waits until every watcher has got what it must, and compares it.
func (r *runner) settle(op operation) (found *difference) {
	defer func() {
		if found != nil {
			found.watching = true
		}
	}()
	if d := r.settleTap(op); d != nil {
		return d
	}
	if d := r.catchUp(op); d != nil {
		return d
	}
	for n, model := range r.models {
		pair := [2]*watchStream{r.sides[0].streams[n], r.sides[1].streams[n]}
		if pair[0] == nil || pair[1] == nil {
			continue
		}
		for _, watcher := range model.watchers {
			if d := r.settleWatcher(op, n, watcher, pair); d != nil {
				return d
			}
		}
		for i, stream := range pair {
			if err := stream.failed(); err != nil {
				return failure(op, nil, fmt.Sprintf("watch stream %d of side %c ended", n, 'a'+i), err, "")
			}
		}
		if a, b := pair[0].promises(), pair[1].promises(); len(a)+len(b) > 0 {
			return failure(op, nil, fmt.Sprintf("promises on watch stream %d", n), a, b)
		}
		if a, b := pair[0].controls(), pair[1].controls(); a != model.controls || b != model.controls {
			return failure(op, nil, fmt.Sprintf("control responses on watch stream %d beyond %d", n, model.controls), a, b)
		}
		for i, stream := range pair {
			if got := stream.progresses(); got > model.progress[i]+model.spare[i] {
				return failure(op, nil, fmt.Sprintf("unasked progress response on watch stream %d of side %c", n, 'a'+i), got, model.progress[i])
			}
		}
	}
	return nil
}

func (r *runner) settleTap(op operation) *difference {
	var reached [2]bool
	for i, s := range r.sides {
		reached[i] = waitFor(watchLimit, func() bool {
			s.tap.mu.Lock()
			defer s.tap.mu.Unlock()
			last := r.tapped.lastMain
			if len(s.tap.logs) > 0 {
				last = max(last, s.tap.logs[0].lastMain)
			}
			return last >= r.clock.current || r.clock.current <= 1 || s.tap.err != nil
		}) && s.tap.failed() == nil
	}
	if !reached[0] || !reached[1] {
		return failure(op, nil, fmt.Sprintf("a watch of all keys reached revision %d", r.clock.current), reached[0], reached[1])
	}
	a, b := r.sides[0].tap.received(0), r.sides[1].tap.received(0)
	for ; r.tapDone < b && r.tapDone < a; r.tapDone++ {
		x, y := r.sides[0].tap.event(0, r.tapDone), r.sides[1].tap.event(0, r.tapDone)
		if fields := compareMessages("event.", x.ProtoReflect(), y.ProtoReflect()); len(fields) > 0 {
			return &difference{op: op, fields: fields}
		}
		r.tapped.events = append(r.tapped.events, y)
		r.tapped.lastMain = y.Kv.ModRevision
	}
	if a != b {
		return failure(op, nil, "events seen by a watch of all keys", a, b)
	}
	return nil
}

func (r *runner) settleWatcher(op operation, n int, watcher *watcherModel, pair [2]*watchStream) *difference {
	watcher.advance(r.tapped.events)
	name := fmt.Sprintf("watch %s on stream %d (id %d): ", compactJSON(watcher.request), n, watcher.id)
	var complete [2]bool
	for i, stream := range pair {
		complete[i] = waitFor(watchLimit, func() bool {
			return stream.received(watcher.log) >= watcher.expected || stream.failed() != nil
		})
	}
	a, b := pair[0].received(watcher.log), pair[1].received(watcher.log)
	for ; watcher.compared < min(a, b); watcher.compared++ {
		x, y := pair[0].event(watcher.log, watcher.compared), pair[1].event(watcher.log, watcher.compared)
		if fields := compareMessages("event.", x.ProtoReflect(), y.ProtoReflect()); len(fields) > 0 {
			fields = append(fields, fieldDifference{name + fmt.Sprintf("event %d", watcher.compared), compactJSON(x), compactJSON(y)})
			return &difference{op: op, fields: fields}
		}
	}
	for i, stream := range pair {
		stream.mu.Lock()
		split := stream.logs[watcher.log].split
		stream.mu.Unlock()
		if split && !watcher.request.Fragment {
			return failure(op, nil, fmt.Sprintf("fragments that nobody asked for on side %c", 'a'+i), name, "")
		}
	}
	if a != watcher.expected || b != watcher.expected {
		return failure(op, nil, "number of events", fmt.Sprintf("%d; %s%d expected", a, name, watcher.expected), b)
	}
	return nil
}
