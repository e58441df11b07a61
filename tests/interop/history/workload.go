package history

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"kedge/tests/interop/cluster"
)

// Load is many clients at work on a cluster.
type Load struct {
	Cluster *cluster.Cluster
	History *History
	Clients int
	Think   time.Duration // between a client's operations
	Keys    int           // of one epoch
	Timeout time.Duration // of one operation
	Past    atomic.Int64  // how many revisions back a watch may begin

	epoch  atomic.Int64 // keys' names change with it, so that the history of a key is bounded
	values atomic.Int64
	group  sync.WaitGroup
	stop   context.CancelFunc
}

// NextEpoch lets the clients go on with fresh keys.
func (l *Load) NextEpoch() { l.epoch.Add(1) }

// Start starts the clients: those that do everything, one that holds leases,
// one that reads from every member, one that watches what is past.
// Watches that it starts end with `watching`.
func (l *Load) Start(ctx, watching context.Context, seed uint64) {
	ctx, l.stop = context.WithCancel(ctx)
	for i := range l.Clients {
		l.group.Go(func() { l.client(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	l.group.Go(func() { l.holdLeases(ctx) })
	l.group.Go(func() { l.read(ctx, rand.New(rand.NewPCG(seed, 1<<32))) })
	l.group.Go(func() { l.lookBack(ctx, watching, rand.New(rand.NewPCG(seed, 1<<33))) })
}

// Stop ends the clients, each after its operation.
func (l *Load) Stop() {
	l.stop()
	l.group.Wait()
}

// client does one operation after another through one member, and takes
// another member when one failed.
func (l *Load) client(ctx context.Context, number int, random *rand.Rand) {
	var at *cluster.Node
	var conn *grpc.ClientConn
	leave := func() {
		if conn != nil {
			conn.Close()
		}
		at, conn = nil, nil
	}
	defer func() { leave() }()
	for ctx.Err() == nil {
		if at == nil {
			if at = l.Cluster.Any(); at == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			var err error
			if conn, err = at.Dial(); err != nil {
				l.History.fail(err.Error())
				return
			}
		}
		op := l.next(number, random)
		op.Member = at.Name
		// Not cut short when the load ends, so that few outcomes are unknown.
		call, cancel := context.WithTimeout(context.Background(), l.Timeout)
		l.History.perform(call, conn, op)
		cancel()
		if op.Error != "" || random.IntN(200) == 0 || !member(l.Cluster, at) {
			leave()
		}
		time.Sleep(time.Duration(random.Int64N(int64(2*l.Think) + 1)))
	}
}

func (l *Load) next(client int, random *rand.Rand) *Op {
	epoch := l.epoch.Load()
	prefix := fmt.Sprintf("k/%d/", epoch)
	key := func() string { return fmt.Sprintf("%s%d", prefix, random.IntN(l.Keys)) }
	op := &Op{Client: client, Key: key()}
	fresh := func() string {
		value := fmt.Sprintf("%d", l.values.Add(1))
		if random.IntN(25) == 0 {
			value += strings.Repeat(" ", 60000)
		}
		return value
	}
	switch n := random.IntN(100); {
	case n < 30:
		op.Kind, op.Value = Put, fresh()
	case n < 34:
		op.Kind = Delete
	case n < 60:
		op.Kind = Get
	case n < 70:
		op.Kind = SerialGet
	case n < 82:
		op.Kind, op.Value = Swap, fresh()
		// What was written last, most likely: so that some swaps do and some don't.
		op.Expect = long(l.History.lastValue(op.Key))
	case n < 88:
		op.Kind, op.Value, op.Other = PutPair, fresh(), key()
		if op.Other == op.Key {
			op.Kind, op.Other = Put, ""
		}
	case n < 96:
		op.Kind, op.Key = List, prefix
	default:
		op.Kind, op.Key = SerialList, prefix
	}
	return op
}

// read sends a linearizable read to each member every 50 ms, whatever became of
// the one before, also to a member that is paused or cut off: what that answers
// when it goes on must not be from before.
func (l *Load) read(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		for _, n := range l.Cluster.Nodes() {
			prefix := fmt.Sprintf("k/%d/", l.epoch.Load())
			op := &Op{Client: -2, Member: n.Name, Kind: Get, Key: fmt.Sprintf("%s%d", prefix, random.IntN(l.Keys))}
			if random.IntN(2) == 0 {
				op.Kind, op.Key = List, prefix
			}
			l.group.Go(func() {
				call, cancel := context.WithTimeout(context.Background(), l.Timeout)
				defer cancel()
				l.History.perform(call, n.Conn(), op)
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// lookBack begins a watch of what is past every second, which ends when it has
// come to what was new when it began.
func (l *Load) lookBack(ctx, watching context.Context, random *rand.Rand) {
	for number := 0; ctx.Err() == nil; number++ {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		if now := l.History.newest(); now > 10 {
			from := max(2, now-1-random.Int64N(min(now-2, l.Past.Load())))
			kind := WatchKind{Name: fmt.Sprintf("of the past %d", number), Progress: true, Previous: random.IntN(2) == 0, Fragment: random.IntN(2) == 0}
			l.History.StartWatch(watching, l.Cluster, kind, from, now)
		}
	}
}

// newest is the newest revision that a write was told.
func (h *History) newest() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.ops) - 1; i >= 0; i-- {
		if op := h.ops[i]; op.Kind == Put && op.Error == "" {
			return op.Revision
		}
	}
	return 0
}

// lastValue is a recent value of a key, "" if there is none.
func (h *History) lastValue(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.ops) - 1; i >= max(0, len(h.ops)-200); i-- {
		if op := h.ops[i]; op.Kind.writes() && op.Kind != Delete && op.Key == key && op.Error == "" {
			return op.Value
		}
	}
	return ""
}

func rows(kvs []*mvccpb.KeyValue) []Row {
	var rows []Row
	for _, kv := range kvs {
		rows = append(rows, Row{string(kv.Key), short(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version})
	}
	return rows
}

func rangeRequest(op *Op) *pb.RangeRequest {
	request := &pb.RangeRequest{Key: []byte(op.Key), Serializable: !op.Kind.linearizable()}
	if op.Kind == List || op.Kind == SerialList {
		end := []byte(op.Key)
		end[len(end)-1]++
		request.RangeEnd = end
	}
	return request
}

func putOf(key, value string) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte(key), Value: []byte(value)}}}
}

func swapRequest(op *Op) *pb.TxnRequest {
	compare := &pb.Compare{Key: []byte(op.Key), Target: pb.Compare_VALUE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_Value{Value: []byte(op.Expect)}}
	if op.Expect == "" { // it expects no such key
		compare.Target, compare.TargetUnion = pb.Compare_VERSION, &pb.Compare_Version{Version: 0}
	}
	get := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(op.Key)}}}
	return &pb.TxnRequest{Compare: []*pb.Compare{compare}, Success: []*pb.RequestOp{putOf(op.Key, op.Value)}, Failure: []*pb.RequestOp{get}}
}

// short is a value as the history keeps it: without the blanks that only make it
// long, and with their number.
func short(value []byte) string {
	trimmed := bytes.TrimRight(value, " ")
	if len(trimmed) == len(value) {
		return string(value)
	}
	return fmt.Sprintf("%s+%d", trimmed, len(value)-len(trimmed))
}

// long is the value itself again.
func long(value string) string {
	if at := strings.IndexByte(value, '+'); at >= 0 {
		var blanks int
		_, _ = fmt.Sscan(value[at+1:], &blanks)
		return value[:at] + strings.Repeat(" ", blanks)
	}
	return value
}

// perform does one operation and writes down what came of it.
func (h *History) perform(ctx context.Context, conn *grpc.ClientConn, op *Op) {
	kv := pb.NewKVClient(conn)
	var header *pb.ResponseHeader
	var err error
	op.Call = h.Now()
	switch op.Kind {
	case Put:
		var answer *pb.PutResponse
		if answer, err = kv.Put(ctx, &pb.PutRequest{Key: []byte(op.Key), Value: []byte(op.Value)}); err == nil {
			header = answer.Header
		}
	case Delete:
		var answer *pb.DeleteRangeResponse
		if answer, err = kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte(op.Key)}); err == nil {
			header, op.Done = answer.Header, answer.Deleted > 0
		}
	case Swap:
		var answer *pb.TxnResponse
		if answer, err = kv.Txn(ctx, swapRequest(op)); err == nil {
			header, op.Done = answer.Header, answer.Succeeded
			if !op.Done {
				op.Rows = rows(answer.Responses[0].GetResponseRange().Kvs)
			}
		}
	case PutPair:
		var answer *pb.TxnResponse
		request := &pb.TxnRequest{Success: []*pb.RequestOp{putOf(op.Key, op.Value), putOf(op.Other, op.Value)}}
		if answer, err = kv.Txn(ctx, request); err == nil {
			header = answer.Header
		}
	default:
		var answer *pb.RangeResponse
		if answer, err = kv.Range(ctx, rangeRequest(op)); err == nil {
			header, op.Rows = answer.Header, rows(answer.Kvs)
		}
	}
	op.Return = h.Now()
	op.Value, op.Expect = short([]byte(op.Value)), short([]byte(op.Expect))
	if err != nil {
		op.Error = err.Error()
	} else {
		op.Revision = header.Revision
	}
	h.Add(op)
}

// Probe puts through each of these members, a new put every 20 ms and none
// waiting for another, until one that it sent is confirmed. It gives the time
// that took from the moment `since`.
func (l *Load) Probe(ctx context.Context, nodes func() []*cluster.Node, since time.Time, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	served := make(chan time.Duration, 1)
	var group sync.WaitGroup
	// Those under way at the end are cancelled: their outcome stays unknown.
	defer func() { cancel(); group.Wait() }()
	for ctx.Err() == nil {
		for _, n := range nodes() {
			group.Go(func() {
				op := &Op{Client: -1, Member: n.Name, Kind: Put, Key: fmt.Sprintf("probe/%d", l.epoch.Load()), Value: fmt.Sprint(l.values.Add(1))}
				l.History.perform(ctx, n.Conn(), op)
				if op.Error == "" {
					select {
					case served <- time.Since(since):
					default:
					}
				}
			})
		}
		select {
		case taken := <-served:
			return taken, nil
		case <-time.After(20 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("nothing was served within %s", limit)
}

// holdLeases grants a lease every half second, renews it for a while, and then
// lets go of it; what the watches must show is judged at the end.
func (l *Load) holdLeases(ctx context.Context) {
	for ctx.Err() == nil {
		l.group.Go(func() { l.holdLease(ctx) })
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (l *Load) holdLease(ctx context.Context) {
	h := l.History
	random := rand.New(rand.NewPCG(rand.Uint64(), 0))
	id := int64(random.Uint64()>>1 | 1)
	lease := &Lease{ID: id, Key: fmt.Sprintf("lease/%x", id), TTL: 3 + random.Int64N(4)}
	ask := func(call func(context.Context, *grpc.ClientConn) (int64, error)) {
		n := l.Cluster.Any()
		if n == nil {
			return
		}
		timed, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		sent := h.Now()
		if ttl, err := call(timed, n.Conn()); err == nil && ttl > 0 {
			lease.Earliest = sent + ttl*int64(time.Second)
		}
	}
	ask(func(ctx context.Context, conn *grpc.ClientConn) (int64, error) {
		answer, err := pb.NewLeaseClient(conn).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: lease.TTL})
		if err != nil {
			return 0, err
		}
		return answer.TTL, nil
	})
	if lease.Earliest == 0 {
		return // perhaps granted, perhaps not; it has no key
	}
	n := l.Cluster.Any()
	if n == nil {
		return
	}
	timed, cancel := context.WithTimeout(ctx, time.Second)
	_, err := pb.NewKVClient(n.Conn()).Put(timed, &pb.PutRequest{Key: []byte(lease.Key), Lease: id})
	cancel()
	h.mu.Lock()
	h.leases = append(h.leases, lease)
	h.mu.Unlock()
	if err != nil {
		lease.Dropped = h.Now()
		return // perhaps attached; it must not go early all the same
	}
	for range random.IntN(12) {
		select {
		case <-ctx.Done():
		case <-time.After(700 * time.Millisecond):
		}
		if ctx.Err() != nil || h.Now() > lease.Earliest {
			break
		}
		ask(func(ctx context.Context, conn *grpc.ClientConn) (int64, error) {
			stream, err := pb.NewLeaseClient(conn).LeaseKeepAlive(ctx)
			if err != nil {
				return 0, err
			}
			if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
				return 0, err
			}
			answer, err := stream.Recv()
			if err != nil {
				return 0, err
			}
			return answer.TTL, nil
		})
	}
	lease.Dropped = h.Now()
}

// Fill writes so many entries, of values of so many bytes, as fast as it goes.
func (l *Load) Fill(ctx context.Context, entries, size int) error {
	var left atomic.Int64
	left.Store(int64(entries))
	var group sync.WaitGroup
	for range min(32, 1+64000/max(1, size/100)) {
		group.Go(func() {
			for ctx.Err() == nil && left.Add(-1) >= 0 {
				n := l.Cluster.Any()
				op := &Op{Client: -1, Member: n.Name, Kind: Put, Key: fmt.Sprintf("fill/%d", left.Load()%1000), Value: fmt.Sprint(l.values.Add(1))}
				op.Value += strings.Repeat(" ", max(0, size-len(op.Value)))
				call, cancel := context.WithTimeout(ctx, 4*l.Timeout)
				l.History.perform(call, n.Conn(), op)
				cancel()
			}
		})
	}
	group.Wait()
	return ctx.Err()
}
