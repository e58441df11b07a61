package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// eventLog is the sequence of events that one watcher got, however they were
// grouped into messages.
type eventLog struct {
	events   []*mvccpb.Event
	open     bool  // the last message said that more fragments follow
	split    bool  // a message was a fragment
	lastMain int64 // revision of the last event
}

// watchStream is one side's end of a watch stream.
type watchStream struct {
	stream grpc.BidiStreamingClient[pb.WatchRequest, pb.WatchResponse]
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows: receive() writes it
	control  []*pb.WatchResponse
	progress []*pb.WatchResponse
	logs     []*eventLog         // one for each watcher created, in order
	byID     map[int64]*eventLog // the latest watcher of each id
	broken   []string            // promises that this side broke
	err      error
}

func openWatch(conn *grpc.ClientConn) (*watchStream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watchStream{stream: stream, cancel: cancel, byID: map[int64]*eventLog{}}
	go w.receive()
	return w, nil
}

func (w *watchStream) close() { w.cancel() }

func (w *watchStream) create(request *pb.WatchCreateRequest) error {
	return w.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}})
}

func (w *watchStream) send(request *pb.WatchRequest) error {
	err := w.stream.Send(request)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err != nil {
			return w.err // what ended the stream says more than EOF
		}
	}
	return err
}

func (w *watchStream) receive() {
	for {
		response, err := w.stream.Recv()
		w.mu.Lock()
		if err != nil {
			w.err = err
			w.mu.Unlock()
			return
		}
		w.take(response)
		w.mu.Unlock()
	}
}

// take files one response and checks what etcd promises of each by itself.
func (w *watchStream) take(response *pb.WatchResponse) {
	promise := func(holds bool, format string, arguments ...any) {
		if !holds {
			w.broken = append(w.broken, fmt.Sprintf(format, arguments...))
		}
	}
	if response.Created || response.Canceled {
		promise(len(response.Events) == 0, "events in a control response")
		w.control = append(w.control, response)
		if response.Created && !response.Canceled {
			log := &eventLog{}
			w.logs = append(w.logs, log)
			w.byID[response.WatchId] = log
		}
		return
	}
	if len(response.Events) == 0 {
		w.progress = append(w.progress, response)
		return
	}
	log := w.byID[response.WatchId]
	if log == nil {
		promise(false, "events for watch id %d, which was not created", response.WatchId)
		return
	}
	first, last := response.Events[0].Kv.GetModRevision(), int64(0)
	for _, event := range response.Events {
		main := event.Kv.GetModRevision()
		promise(main >= last && main >= log.lastMain, "revision %d after %d", main, max(last, log.lastMain))
		last = main
	}
	promise(first > log.lastMain || log.open, "revision %d cut between two responses", first)
	promise(response.Header.GetRevision() >= last, "header.revision %d with events up to %d", response.Header.GetRevision(), last)
	const fragmentLimit = 1572864 + 524288
	promise(!(response.Fragment || log.open) || len(response.Events) == 1 || proto.Size(response) < fragmentLimit,
		"a fragment of %d bytes", proto.Size(response))
	log.events = append(log.events, response.Events...)
	log.lastMain = last
	log.open = response.Fragment
	log.split = log.split || response.Fragment
}

func (w *watchStream) controls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.control)
}

func (w *watchStream) progresses() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.progress)
}

func (w *watchStream) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// received tells how many events the n-th watcher has got so far.
func (w *watchStream) received(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n >= len(w.logs) {
		return 0
	}
	return len(w.logs[n].events)
}

func (w *watchStream) event(n, i int) *mvccpb.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs[n].events[i]
}

func (w *watchStream) promises() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	broken := w.broken
	w.broken = nil
	return broken
}

// watchLimit bounds the wait for what must come. Shrinking lowers it, for there
// every history that still differs would wait so long.
var watchLimit = 10 * time.Second

func failure(op operation, resolved proto.Message, path string, a, b any) *difference {
	return &difference{op: op, resolved: resolved, fields: []fieldDifference{{path, fmt.Sprint(a), fmt.Sprint(b)}}}
}

// openStreams opens the stream on both sides if it isn't.
func (r *runner) openStreams(op operation) (*streamModel, [2]*watchStream, *difference) {
	var pair [2]*watchStream
	for i, s := range r.sides {
		if s.streams[op.stream] == nil {
			stream, err := openWatch(s.conn)
			if err != nil {
				return nil, pair, failure(op, nil, fmt.Sprintf("opening a watch stream on side %c", 'a'+i), err, "")
			}
			s.streams[op.stream] = stream
		}
		pair[i] = s.streams[op.stream]
	}
	return r.models[op.stream], pair, nil
}

func (r *runner) sendWatch(op operation, pair [2]*watchStream, request *pb.WatchRequest) *difference {
	var failed [2]error
	for i, stream := range pair {
		failed[i] = stream.send(request)
	}
	if failed[0] != nil || failed[1] != nil {
		return failure(op, r.resolved, "watch stream", failed[0], failed[1])
	}
	return nil
}

// control waits for the next control response on both sides and compares it.
func (r *runner) control(op operation, model *streamModel, pair [2]*watchStream) (*pb.WatchResponse, *difference) {
	var arrived [2]bool
	for i, stream := range pair {
		arrived[i] = waitFor(watchLimit, func() bool { return stream.controls() > model.controls || stream.failed() != nil }) && stream.failed() == nil
	}
	if !arrived[0] || !arrived[1] {
		say := func(i int) string {
			if err := pair[i].failed(); err != nil {
				return err.Error()
			}
			if !arrived[i] {
				return "nothing"
			}
			pair[i].mu.Lock()
			defer pair[i].mu.Unlock()
			return compactJSON(pair[i].control[model.controls])
		}
		return nil, failure(op, r.resolved, "control response", say(0), say(1))
	}
	var responses [2]proto.Message
	for i, stream := range pair {
		stream.mu.Lock()
		responses[i] = proto.Clone(stream.control[model.controls])
		stream.mu.Unlock()
	}
	model.controls++
	reference := proto.Clone(responses[1]).(*pb.WatchResponse)
	maskPair(r.resolved, false, responses[0], responses[1])
	if fields := compareMessages("", responses[0].ProtoReflect(), responses[1].ProtoReflect()); len(fields) > 0 {
		return nil, &difference{op: op, resolved: r.resolved, fields: fields}
	}
	return reference, nil
}

func (r *runner) runWatchCreate(op operation) *difference {
	model, pair, d := r.openStreams(op)
	if d != nil || model.halfClose {
		return d
	}
	request := r.resolved.(*pb.WatchCreateRequest)
	if d := r.sendWatch(op, pair, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: request}}); d != nil {
		return d
	}
	response, d := r.control(op, model, pair)
	if d != nil || response.Canceled {
		return d
	}
	watcher := &watcherModel{id: response.WatchId, log: model.created, request: request, from: max(request.StartRevision, 1)}
	model.created++
	model.watchers = append(model.watchers, watcher)
	if request.StartRevision == 0 {
		watcher.from = r.clock.current + 1
	}
	if watcher.from > r.clock.current {
		return nil
	}
	if watcher.from < r.clock.compacted {
		// Cancelled as soon as the server tries to catch up.
		watcher.dead = true
		_, d := r.control(op, model, pair)
		return d
	}
	if watcher.from == r.clock.compacted {
		watcher.edge = watcher.from
	}
	model.behind = true
	return nil
}

func (r *runner) runWatchCancel(op operation) *difference {
	// Events that were on their way may or may not come after a cancel.
	if d := r.settle(op); d != nil {
		return d
	}
	model, pair, d := r.openStreams(op)
	if d != nil || model.halfClose {
		return d
	}
	request := r.resolved.(*pb.WatchCancelRequest)
	if d := r.sendWatch(op, pair, &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{CancelRequest: request}}); d != nil {
		return d
	}
	for i, watcher := range model.watchers {
		if watcher.id == request.WatchId {
			model.watchers = append(model.watchers[:i:i], model.watchers[i+1:]...)
			_, d := r.control(op, model, pair)
			return d
		}
	}
	return nil // an unknown id gets no answer; a wrong one shows when settling
}

// runWatchProgress asks for progress. Etcd answers only if the stream has
// watchers, none is behind, none starts in the future and none was cancelled
// by compaction (which stays in its way until the client cancels it as well).
func (r *runner) runWatchProgress(op operation) *difference {
	if d := r.settle(op); d != nil {
		return d
	}
	model, pair, d := r.openStreams(op)
	if d != nil || model.halfClose {
		return d
	}
	request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
	expected := len(model.watchers) > 0
	for _, watcher := range model.watchers {
		expected = expected && !watcher.dead && watcher.request.StartRevision <= r.clock.current
	}
	if !expected {
		return r.sendWatch(op, pair, request)
	}
	var arrived [2]bool
	r.both(func(i int, _ *side) {
		stream := pair[i]
		before := stream.progresses()
		deadline := time.Now().Add(watchLimit)
		for sent := 0; !arrived[i] && time.Now().Before(deadline) && stream.failed() == nil; sent++ {
			// A server may still call one behind, and then it swallows
			// the request. It is repeated; each repeat may be answered.
			if sent > 0 {
				model.spare[i]++
			}
			_ = stream.send(request)
			arrived[i] = waitFor(500*time.Millisecond, func() bool { return stream.progresses() > before || stream.failed() != nil })
		}
		model.progress[i]++
	})
	if !arrived[0] || !arrived[1] {
		return failure(op, r.resolved, "progress response", arrived[0], arrived[1])
	}
	var responses [2]proto.Message
	for i, stream := range pair {
		stream.mu.Lock()
		responses[i] = proto.Clone(stream.progress[len(stream.progress)-1])
		stream.mu.Unlock()
	}
	maskPair(nil, false, responses[0], responses[1])
	if fields := compareMessages("", responses[0].ProtoReflect(), responses[1].ProtoReflect()); len(fields) > 0 {
		return &difference{op: op, fields: fields}
	}
	return nil
}

// runWatchEmpty sends a request without a union, which is ignored.
func (r *runner) runWatchEmpty(op operation) *difference {
	model, pair, d := r.openStreams(op)
	if d != nil || model.halfClose {
		return d
	}
	return r.sendWatch(op, pair, &pb.WatchRequest{})
}

// runWatchHalfClose ends the requests; etcd goes on sending events.
func (r *runner) runWatchHalfClose(op operation) *difference {
	model, pair, d := r.openStreams(op)
	if d != nil {
		return d
	}
	for _, stream := range pair {
		_ = stream.stream.CloseSend()
	}
	model.halfClose = true
	return nil
}

func (r *runner) runWatchClose(op operation) *difference {
	if d := r.settle(op); d != nil {
		return d
	}
	for _, s := range r.sides {
		if s.streams[op.stream] != nil {
			s.streams[op.stream].close()
			s.streams[op.stream] = nil
		}
	}
	r.models[op.stream] = &streamModel{}
	return nil
}
