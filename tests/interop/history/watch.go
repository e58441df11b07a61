package history

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"kedge/tests/interop/cluster"
)

// WatchKind is what a watcher asks for.
type WatchKind struct {
	Name     string
	Prefix   string // "" is everything
	Previous bool
	Progress bool
	Fragment bool
	Official bool // the Go client's own watch, which resumes by itself
	Stay     bool // with one member as long as it is one
}

// Watch is one watcher: from its first revision on it wants each event once and
// in order, whatever becomes of the members that it is connected to.
type Watch struct {
	Kind  WatchKind
	From  int64
	Until int64 // 0: as long as there is anything

	mu       sync.Mutex
	events   []Event
	last     int64 // the newest revision of which it saw all events, by an event
	progress int64 // by a progress notice
	streams  int   // that it has had
	done     chan struct{}
}

// position is the revision up to which nothing can be missing.
func (w *Watch) position() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// take adds the events of one response.
func (w *Watch) take(h *History, events []*mvccpb.Event) {
	now := h.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		event := Event{Delete: e.Type == mvccpb.Event_DELETE, Key: string(e.Kv.Key), Value: short(e.Kv.Value),
			Create: e.Kv.CreateRevision, Mod: e.Kv.ModRevision, Version: e.Kv.Version, Lease: e.Kv.Lease, Arrival: now}
		if e.PrevKv != nil {
			event.Previous = &Row{string(e.PrevKv.Key), short(e.PrevKv.Value), e.PrevKv.CreateRevision, e.PrevKv.ModRevision, e.PrevKv.Version}
		}
		if event.Mod < w.last {
			h.fail(fmt.Sprintf("watch %s: an event of revision %d after one of %d", w.Kind.Name, event.Mod, w.last))
		}
		if event.Mod <= w.progress {
			h.fail(fmt.Sprintf("watch %s: an event of revision %d after progress to %d was told", w.Kind.Name, event.Mod, w.progress))
		}
		if w.Kind.Prefix == "" && event.Mod > w.last+1 {
			h.fail(fmt.Sprintf("watch %s: revision %d follows %d", w.Kind.Name, event.Mod, w.last))
		}
		w.last = max(w.last, event.Mod)
		w.events = append(w.events, event)
	}
}

func (w *Watch) takeProgress(revision int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress = max(w.progress, revision)
}

// StartWatch begins a watcher at a revision; it ends with the context, or when
// it has seen `until`, if that is not 0.
func (h *History) StartWatch(ctx context.Context, c *cluster.Cluster, kind WatchKind, from, until int64) *Watch {
	w := &Watch{Kind: kind, From: from, Until: until, last: from - 1, done: make(chan struct{})}
	h.mu.Lock()
	h.watches = append(h.watches, w)
	h.mu.Unlock()
	go func() {
		defer close(w.done)
		if kind.Official {
			w.runOfficial(ctx, h, c)
			return
		}
		var at *cluster.Node
		for ctx.Err() == nil && !w.over() {
			if at == nil || !kind.Stay || !member(c, at) {
				at = c.Any()
			}
			if at == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if err := w.run(ctx, h, c, at); err != nil && ctx.Err() == nil {
				h.fail(fmt.Sprintf("watch %s: %v", kind.Name, err))
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return w
}

// over is whether it has seen all that it was to see.
func (w *Watch) over() bool { return w.Until > 0 && w.position() >= w.Until }

func member(c *cluster.Cluster, n *cluster.Node) bool {
	for _, other := range c.Nodes() {
		if other == n {
			return true
		}
	}
	return false
}

func (w *Watch) request() *pb.WatchRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	create := &pb.WatchCreateRequest{Key: []byte(w.Kind.Prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(w.Kind.Prefix)),
		StartRevision: max(w.last, w.progress) + 1, PrevKv: w.Kind.Previous, ProgressNotify: w.Kind.Progress, Fragment: w.Kind.Fragment}
	if w.Kind.Prefix == "" {
		create.Key, create.RangeEnd = []byte{0}, []byte{0}
	}
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}
}

// run watches through one member until the stream ends. Only what can't be
// excused by the stream's end is an error.
func (w *Watch) run(ctx context.Context, h *History, c *cluster.Cluster, at *cluster.Node) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A member that is paused or cut off ends no stream: whoever doesn't stay looks for another one after a while.
	idle := time.AfterFunc(time.Hour, cancel)
	defer idle.Stop()
	// A connection of its own: one to a paused member keeps what it was sent.
	conn, err := at.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := pb.NewWatchClient(conn).Watch(ctx)
	if err != nil {
		return nil
	}
	if err := stream.Send(w.request()); err != nil {
		return nil
	}
	if w.Kind.Progress {
		go w.askForProgress(ctx, stream)
	}
	var fragments []*mvccpb.Event
	for {
		if !w.Kind.Stay {
			idle.Reset(4 * time.Second)
		}
		response, err := stream.Recv()
		if err != nil {
			return nil
		}
		switch {
		case response.Canceled && response.CompactRevision > 0:
			return fmt.Errorf("%s: cancelled, compacted at %d, it had seen all before %d", at, response.CompactRevision, w.position()+1)
		case response.Canceled: // no leader, shutting down: it may come back
			return nil
		case response.Created:
			w.mu.Lock()
			w.streams++
			w.mu.Unlock()
		case response.Fragment:
			fragments = append(fragments, response.Events...)
		case len(response.Events) > 0 || len(fragments) > 0:
			w.take(h, append(fragments, response.Events...))
			fragments = nil
			if w.over() {
				return nil
			}
		default:
			w.takeProgress(response.Header.Revision)
		}
	}
}

func (w *Watch) askForProgress(ctx context.Context, stream pb.Watch_WatchClient) {
	for wait := time.Duration(0); ctx.Err() == nil; wait = 200 * time.Millisecond {
		time.Sleep(wait) // the first at once: a watch of the past has much before it then
		request := &pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}
		if stream.Send(request) != nil {
			return
		}
	}
}

func endpoints(nodes []*cluster.Node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, "http://"+n.Client)
	}
	return list
}

// runOfficial leaves it to the Go client to go on after failures.
func (w *Watch) runOfficial(ctx context.Context, h *History, c *cluster.Cluster) {
	client, err := NewClient(c)
	if err != nil {
		h.fail(err.Error())
		return
	}
	defer client.Close()
	for ctx.Err() == nil {
		options := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithRev(w.position() + 1)}
		if w.Kind.Previous {
			options = append(options, clientv3.WithPrevKV())
		}
		for response := range client.Watch(clientv3.WithRequireLeader(ctx), w.Kind.Prefix, options...) {
			if response.CompactRevision > 0 {
				h.fail(fmt.Sprintf("watch %s: compacted at %d", w.Kind.Name, response.CompactRevision))
				return
			}
			var events []*mvccpb.Event
			for _, e := range response.Events {
				events = append(events, (*mvccpb.Event)(e))
			}
			w.take(h, events)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// WaitWatchesEnd waits for the watchers, whose context was cancelled.
func (h *History) WaitWatchesEnd() {
	for _, w := range h.watches {
		<-w.done
	}
}
