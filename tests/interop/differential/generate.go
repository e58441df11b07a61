package main

import (
	"bytes"
	"math"
	"math/rand/v2"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// generator makes histories from a seed. It knows nothing of the servers: what
// depends on their state is a placeholder, so a seed is always the same history.
type generator struct {
	*rand.Rand
	enabled func(kind string) bool
	queue   []operation // composites still to be handed out
}

func newGenerator(seed uint64, enabled func(string) bool) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 0x6b65646765)), enabled: enabled}
}

// history makes a whole history of n operations: random ones, with the rare
// and slow events (expiry, restart, kill) at chosen places.
func (g *generator) history(n int) []operation {
	operations := make([]operation, 0, n+8)
	for len(operations) < n {
		at := len(operations)
		switch {
		case at == n/4 && n >= 200 && g.enabled("lease-expire"):
			operations = append(operations, g.leaseExpire())
			continue
		case at == n/3 && n >= 200 && g.enabled("kill"):
			operations = append(operations, operation{kind: "kill"})
			continue
		case at == 2*n/3 && n >= 200 && g.enabled("restart"):
			operations = append(operations, operation{kind: "restart"})
			continue
		}
		operations = append(operations, g.next())
	}
	return append(operations, g.finale()...)
}

// finale compares everything that can be asked for, then compacts, compares
// again, restarts and compares once more.
func (g *generator) finale() []operation {
	look := func() []operation {
		ops := []operation{
			{kind: "range", request: &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}},
			{kind: "range", request: &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, Revision: relativeToCompacted(0)}},
			{kind: "range-stream", request: &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}}},
			{kind: "lease-list", request: &pb.LeaseLeasesRequest{}},
			{kind: "alarm", request: &pb.AlarmRequest{}},
			{kind: "status", request: &pb.StatusRequest{}},
			{kind: "member-list", request: &pb.MemberListRequest{Linearizable: true}},
			{kind: "hashkv", request: &pb.HashKVRequest{}},
			{kind: "hashkv", request: &pb.HashKVRequest{Revision: relativeToCompacted(0)}},
			{kind: "hashkv", request: &pb.HashKVRequest{Revision: relativeToCompacted(1)}},
			{kind: "hashkv", request: &pb.HashKVRequest{Revision: relativeToCurrent(-1)}},
			{kind: "hashkv", request: &pb.HashKVRequest{Revision: relativeToCurrent(-7)}},
		}
		for _, id := range leaseIDs {
			ops = append(ops, operation{kind: "lease-ttl", request: &pb.LeaseTimeToLiveRequest{ID: id, Keys: true}})
		}
		return ops
	}
	disarm := []operation{
		{kind: "alarm", request: &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: alarmMembers[0], Alarm: pb.AlarmType_CORRUPT}},
		{kind: "alarm", request: &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: alarmMembers[1], Alarm: pb.AlarmType_NOSPACE}},
	}
	var all []operation
	all = append(all, disarm...)
	all = append(all, look()...)
	all = append(all, operation{kind: "restart"})
	all = append(all, look()...)
	all = append(all, operation{kind: "compact", request: &pb.CompactionRequest{Revision: relativeToCurrent(-3), Physical: true}})
	all = append(all, look()...)
	all = append(all, operation{kind: "restart"})
	all = append(all, look()...)
	kept := all[:0]
	for _, op := range all {
		if g.enabled(op.kind) {
			kept = append(kept, op)
		}
	}
	return kept
}

func (g *generator) next() operation {
	if len(g.queue) > 0 {
		op := g.queue[0]
		g.queue = g.queue[1:]
		return op
	}
	sum := 0
	for _, name := range kindOrder {
		if g.enabled(name) {
			sum += kinds[name].weight
		}
	}
	if sum == 0 {
		panic("every kind of operation is switched off")
	}
	pick := g.IntN(sum)
	for _, name := range kindOrder {
		if !g.enabled(name) {
			continue
		}
		if pick -= kinds[name].weight; pick < 0 {
			if g.chance(0.006) && g.enabled("put") && g.enabled("delete") {
				g.bulk()
			}
			return kinds[name].generate(g)
		}
	}
	panic("unreachable")
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

// oneOf picks an element.
func oneOf[T any](g *generator, choices ...T) T { return choices[g.IntN(len(choices))] }

// keys is small so that operations meet: neighbours, prefixes of each other,
// binary ones, and lengths around the 511 bytes that LMDB allows a key.
var keys = func() [][]byte {
	list := [][]byte{
		[]byte("a"), []byte("a\x00"), []byte("aa"), []byte("ab"), []byte("ab/1"), []byte("ab/2"), []byte("b"), []byte("c"),
		{0}, {0, 0}, {0xff}, {0xff, 0xff}, []byte("k\xff"), []byte("l"), []byte("key with space"), []byte("sch\xc3\xb6n"), []byte("-dash"), []byte("quote'\"\n"),
	}
	for _, n := range []int{510, 511, 512, 600, 5000} {
		list = append(list, append([]byte("long"), bytes.Repeat([]byte("x"), n-4)...))
	}
	// Equal up to beyond what a truncated key would keep.
	list = append(list, append(append([]byte("long"), bytes.Repeat([]byte("x"), 596)...), "1"...))
	list = append(list, append(append([]byte("long"), bytes.Repeat([]byte("x"), 596)...), "2"...))
	return list
}()

func (g *generator) key() []byte {
	if g.chance(0.012) {
		return nil
	}
	if g.chance(0.5) {
		return keys[g.IntN(8)]
	}
	return keys[g.IntN(len(keys))]
}

// prefixEnd is the end of the range of all keys that begin with key.
func prefixEnd(key []byte) []byte {
	end := bytes.Clone(key)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return []byte{0}
}

func (g *generator) interval() (key, end []byte) {
	key = g.key()
	switch g.IntN(10) {
	case 0, 1, 2:
		return key, nil
	case 3, 4:
		return key, prefixEnd(key)
	case 5:
		return key, []byte{0}
	case 6:
		return []byte{0}, []byte{0}
	case 7:
		return key, key
	default:
		end = g.key()
		// Mostly the right way round.
		if bytes.Compare(key, end) > 0 && g.chance(0.8) && len(end) > 0 {
			key, end = end, key
		}
		return key, end
	}
}

func (g *generator) value() []byte {
	switch p := g.Float64(); {
	case p < 0.1:
		return nil
	case p < 0.8:
		return []byte(oneOf(g, "1", "2", "3", "10", "x", "\x00", "\xff\xfe", "a longer value"))
	case p < 0.97:
		return g.bytes(g.IntN(200))
	case p < 0.998:
		return g.bytes(g.IntN(20000))
	default:
		return g.bytes(g.IntN(120000))
	}
}

// bytes makes n bytes that compress well in a saved history yet differ.
func (g *generator) bytes(n int) []byte {
	return bytes.Repeat([]byte{byte('a' + g.IntN(26)), byte(g.IntN(256))}, n/2+1)[:n]
}

// revision picks a revision for a read: mostly recent, sometimes around the
// compaction, sometimes nonsense.
func (g *generator) revision() int64 {
	switch p := g.Float64(); {
	case p < 0.5:
		return 0
	case p < 0.8:
		return relativeToCurrent(-int64(g.IntN(40)))
	case p < 0.92:
		return relativeToCompacted(int64(g.IntN(8)) - 2)
	case p < 0.95:
		return relativeToCurrent(1 + int64(g.IntN(3)))
	default:
		return oneOf(g, int64(1), 2, -1, -7, math.MinInt64, math.MaxInt64, 1<<40)
	}
}

// bound is a revision for a filter, for which 0 means none.
func (g *generator) bound() int64 {
	if g.chance(0.05) {
		return oneOf(g, int64(-1), 1, math.MaxInt64, math.MinInt64)
	}
	return relativeToCurrent(-int64(g.IntN(80)))
}

func (g *generator) lease() int64 {
	if g.chance(0.75) {
		return 0
	}
	return leaseIDs[g.IntN(len(leaseIDs))]
}

// leaseIDs: the generator names its leases, for ids made by the servers differ.
var leaseIDs = []int64{1, 2, 3, 4, 0x1234567890abcdef, math.MaxInt64, -9, math.MinInt64}

func (g *generator) putRequest() *pb.PutRequest {
	request := &pb.PutRequest{Key: g.key(), Value: g.value(), Lease: g.lease(), PrevKv: g.chance(0.25)}
	if g.chance(0.08) {
		request.IgnoreValue = true
		if g.chance(0.85) {
			request.Value = nil
		}
	}
	if g.chance(0.08) {
		request.IgnoreLease = true
		if g.chance(0.85) {
			request.Lease = 0
		}
	}
	return request
}

func (g *generator) put() operation {
	request := g.putRequest()
	if g.chance(0.002) {
		// Around the two limits: the raft request's 1.5 MiB, where a byte
		// more or less decides, and the message's 2 MiB.
		request.Key = []byte("big")
		request.Value = g.bytes(oneOf(g, 1572864-200+g.IntN(250), 2097152-60+g.IntN(100), 1500000, 3000000))
		g.queue = append(g.queue,
			operation{kind: "range", request: &pb.RangeRequest{Key: []byte("big")}},
			operation{kind: "put", request: &pb.PutRequest{Key: []byte("big"), Value: []byte("small again"), PrevKv: g.chance(0.5)}})
	}
	return operation{kind: "put", request: request}
}

func (g *generator) rangeRequest() *pb.RangeRequest {
	request := &pb.RangeRequest{}
	request.Key, request.RangeEnd = g.interval()
	request.Revision = g.revision()
	request.Serializable = g.chance(0.2)
	request.KeysOnly = g.chance(0.12)
	request.CountOnly = g.chance(0.1)
	if g.chance(0.35) {
		request.Limit = oneOf(g, int64(1), 2, 3, 4, 5, 7, 10, 11, 20, 1000, -1, math.MaxInt64, math.MinInt64)
	}
	if g.chance(0.35) {
		request.SortOrder = pb.RangeRequest_SortOrder(g.IntN(3))
		request.SortTarget = pb.RangeRequest_SortTarget(g.IntN(5))
	}
	if g.chance(0.02) {
		request.SortOrder = oneOf(g, pb.RangeRequest_SortOrder(3), -1)
	}
	if g.chance(0.02) {
		request.SortTarget = oneOf(g, pb.RangeRequest_SortTarget(5), -3)
	}
	if g.chance(0.2) {
		for _, field := range []*int64{&request.MinModRevision, &request.MaxModRevision, &request.MinCreateRevision, &request.MaxCreateRevision} {
			if g.chance(0.4) {
				*field = g.bound()
			}
		}
	}
	return request
}

func (g *generator) rangeOperation() operation {
	return operation{kind: "range", request: g.rangeRequest()}
}

func (g *generator) rangeStream() operation {
	request := g.rangeRequest()
	if g.chance(0.85) {
		// Only the default order and no filters are served.
		request.SortOrder, request.SortTarget = 0, 0
		request.MinModRevision, request.MaxModRevision, request.MinCreateRevision, request.MaxCreateRevision = 0, 0, 0, 0
	}
	return operation{kind: "range-stream", request: request}
}

func (g *generator) deleteRequest() *pb.DeleteRangeRequest {
	request := &pb.DeleteRangeRequest{PrevKv: g.chance(0.4)}
	request.Key, request.RangeEnd = g.interval()
	if len(request.RangeEnd) > 0 && g.chance(0.6) {
		request.RangeEnd = nil // whole ranges too often would leave little to read
	}
	return request
}

func (g *generator) deleteRange() operation {
	return operation{kind: "delete", request: g.deleteRequest()}
}

func (g *generator) compare() *pb.Compare {
	c := &pb.Compare{Key: g.key(), Result: pb.Compare_CompareResult(g.IntN(4)), Target: pb.Compare_CompareTarget(g.IntN(5))}
	if g.chance(0.2) {
		c.Key, c.RangeEnd = g.interval()
	}
	union := c.Target
	if g.chance(0.05) {
		union = pb.Compare_CompareTarget(g.IntN(5))
	}
	number := func(small int) int64 {
		if g.chance(0.3) {
			return oneOf(g, int64(0), 1, -1, math.MaxInt64)
		}
		return int64(g.IntN(small))
	}
	switch union {
	case pb.Compare_VERSION:
		c.TargetUnion = &pb.Compare_Version{Version: number(5)}
	case pb.Compare_CREATE:
		c.TargetUnion = &pb.Compare_CreateRevision{CreateRevision: oneOf(g, number(2), relativeToCurrent(-int64(g.IntN(40))))}
	case pb.Compare_MOD:
		c.TargetUnion = &pb.Compare_ModRevision{ModRevision: oneOf(g, number(2), relativeToCurrent(-int64(g.IntN(20))))}
	case pb.Compare_VALUE:
		c.TargetUnion = &pb.Compare_Value{Value: g.value()}
	case pb.Compare_LEASE:
		c.TargetUnion = &pb.Compare_Lease{Lease: oneOf(g, 0, leaseIDs[g.IntN(len(leaseIDs))])}
	}
	if g.chance(0.03) {
		c.TargetUnion = nil
	}
	if g.chance(0.02) {
		c.Result = oneOf(g, pb.Compare_CompareResult(4), -1)
	}
	if g.chance(0.02) {
		c.Target = oneOf(g, pb.Compare_CompareTarget(5), -1)
	}
	return c
}

// requestOps makes one branch. used keeps most transactions free of duplicate
// keys, which the request check refuses as a whole.
func (g *generator) requestOps(depth int, used map[string]bool) []*pb.RequestOp {
	n := oneOf(g, 0, 1, 1, 2, 2, 3, 4)
	var ops []*pb.RequestOp
	for range n {
		op := &pb.RequestOp{}
		switch p := g.IntN(100); {
		case p < 35:
			request := g.putRequest()
			if used[string(request.Key)] && g.chance(0.9) {
				continue
			}
			used[string(request.Key)] = true
			op.Request = &pb.RequestOp_RequestPut{RequestPut: request}
		case p < 65:
			op.Request = &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest()}
		case p < 82:
			request := g.deleteRequest()
			if g.chance(0.7) {
				request.RangeEnd = nil
				if used[string(request.Key)] && g.chance(0.9) {
					continue
				}
				used[string(request.Key)] = true
			}
			op.Request = &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: request}
		case p < 98 && depth > 0:
			op.Request = &pb.RequestOp_RequestTxn{RequestTxn: g.txnRequest(depth-1, used)}
		case p == 98 && g.chance(0.5): // no union at all
		default:
			op.Request = &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: oneOf(g, []byte("a"), []byte("b"))}}
		}
		ops = append(ops, op)
	}
	return ops
}

func (g *generator) txnRequest(depth int, used map[string]bool) *pb.TxnRequest {
	request := &pb.TxnRequest{}
	for range oneOf(g, 0, 0, 1, 1, 2, 3) {
		request.Compare = append(request.Compare, g.compare())
	}
	inherited := func() map[string]bool {
		m := map[string]bool{}
		for k := range used {
			m[k] = true
		}
		return m
	}
	success, failure := inherited(), inherited()
	request.Success = g.requestOps(depth, success)
	request.Failure = g.requestOps(depth, failure)
	for _, m := range []map[string]bool{success, failure} {
		for k := range m {
			used[k] = true
		}
	}
	return request
}

// spare keeps a transaction from killing etcd. A put that is to keep value or
// lease of a key that the same transaction deleted before passes the checks,
// which look at the state before it, and panics when it is executed. And a
// delete to the end (range_end of one zero byte) escapes the check for duplicate
// keys; a key that it deletes and a put makes anew in the same revision is lost
// by a compaction at that revision, and ends the process when it is read.
func spare(request *pb.TxnRequest) *pb.TxnRequest {
	var puts []*pb.PutRequest
	var deletes []*pb.DeleteRangeRequest
	var walk func(*pb.TxnRequest)
	walk = func(txn *pb.TxnRequest) {
		for _, branch := range [][]*pb.RequestOp{txn.Success, txn.Failure} {
			for _, op := range branch {
				switch u := op.Request.(type) {
				case *pb.RequestOp_RequestPut:
					puts = append(puts, u.RequestPut)
				case *pb.RequestOp_RequestDeleteRange:
					deletes = append(deletes, u.RequestDeleteRange)
				case *pb.RequestOp_RequestTxn:
					walk(u.RequestTxn)
				}
			}
		}
	}
	walk(request)
	if len(puts) == 0 || len(deletes) == 0 {
		return request
	}
	for _, put := range puts {
		put.IgnoreValue, put.IgnoreLease = false, false
	}
	for _, d := range deletes {
		if bytes.Equal(d.RangeEnd, []byte{0}) {
			d.RangeEnd = nil
		}
	}
	return request
}

func (g *generator) txn() operation {
	switch p := g.Float64(); {
	case p < 0.03:
		return operation{kind: "txn", request: g.oversizedTxn()}
	case p < 0.15: // read-only ones take another way through the server
		request := &pb.TxnRequest{Compare: []*pb.Compare{g.compare()}}
		for i := range 1 + g.IntN(3) {
			op := &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: g.rangeRequest()}}
			if i%2 == 0 {
				request.Success = append(request.Success, op)
			} else {
				request.Failure = append(request.Failure, op)
			}
		}
		return operation{kind: "txn", request: request}
	}
	return operation{kind: "txn", request: spare(g.txnRequest(3, map[string]bool{}))}
}

// oversizedTxn is at the limit of 128 operations or just beyond it, flat or
// nested: a nested one has what its level leaves of the budget.
func (g *generator) oversizedTxn() *pb.TxnRequest {
	n := oneOf(g, 127, 128, 129)
	key := func(i int) []byte { return []byte{'t', byte(i)} }
	put := func(i int) *pb.RequestOp {
		return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key(i), Value: []byte("t")}}}
	}
	request := &pb.TxnRequest{}
	switch g.IntN(4) {
	case 0:
		for i := range n {
			request.Success = append(request.Success, put(i))
		}
		request.Failure = append(request.Failure, put(0))
	case 1:
		for i := range n {
			request.Compare = append(request.Compare, &pb.Compare{Key: key(i), Target: pb.Compare_VERSION, Result: pb.Compare_GREATER, TargetUnion: &pb.Compare_Version{Version: -1}})
		}
		request.Success = append(request.Success, put(1))
	case 2: // one level after the other
		leaf := &pb.TxnRequest{Success: []*pb.RequestOp{put(0)}}
		for range n - 1 {
			leaf = &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: leaf}}}}
		}
		request = leaf
	case 3: // what one level leaves for the next
		outer := 60 + g.IntN(10)
		for i := range outer - 1 {
			request.Success = append(request.Success, put(i))
		}
		inner := &pb.TxnRequest{}
		for i := range n - outer {
			inner.Success = append(inner.Success, put(100+i))
		}
		request.Success = append(request.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: inner}})
	}
	g.queue = append(g.queue, operation{kind: "delete", request: &pb.DeleteRangeRequest{Key: []byte("t"), RangeEnd: []byte("u")}})
	return request
}

// bulk queues more keys than one chunk of RangeStream or one batch holds, a
// few reads of them, and their removal.
func (g *generator) bulk() {
	for i := range 1 + g.IntN(3) {
		request := &pb.TxnRequest{}
		for j := range 100 {
			request.Success = append(request.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{
				RequestPut: &pb.PutRequest{Key: []byte{'m', byte(i), byte(j)}, Value: g.bytes(g.IntN(40))}}})
		}
		g.queue = append(g.queue, operation{kind: "txn", request: request})
	}
	g.queue = append(g.queue,
		g.rangeStream(), g.rangeOperation(), g.rangeOperation(),
		operation{kind: "range-stream", request: &pb.RangeRequest{Key: []byte("m"), RangeEnd: []byte("n"), Limit: int64(g.IntN(120))}},
		operation{kind: "delete", request: &pb.DeleteRangeRequest{Key: []byte("m"), RangeEnd: []byte("n"), PrevKv: g.chance(0.5)}})
	if g.chance(0.3) {
		g.fragments()
	}
}

// fragments queues a watch whose events, with the pairs before them, are too
// big for one message.
func (g *generator) fragments() {
	if !g.enabled("watch-create") {
		return
	}
	stream := g.IntN(watchStreams)
	for i := range 3 {
		g.queue = append(g.queue, operation{kind: "put", request: &pb.PutRequest{Key: []byte{'f', byte(i)}, Value: g.bytes(600000 + g.IntN(700000))}})
	}
	g.queue = append(g.queue,
		operation{kind: "watch-create", stream: stream, request: &pb.WatchCreateRequest{
			Key: []byte("f"), RangeEnd: []byte("g"), PrevKv: true, Fragment: g.chance(0.7), StartRevision: oneOf(g, 0, relativeToCurrent(-2))}},
		operation{kind: "delete", request: &pb.DeleteRangeRequest{Key: []byte("f"), RangeEnd: []byte("g")}},
		operation{kind: "watch-progress", stream: stream},
		operation{kind: "watch-close", stream: stream})
}

func (g *generator) compact() operation {
	request := &pb.CompactionRequest{Physical: g.chance(0.4)}
	switch p := g.Float64(); {
	case p < 0.7:
		request.Revision = relativeToCurrent(-int64(g.IntN(60)))
	case p < 0.8:
		request.Revision = relativeToCompacted(int64(g.IntN(4)) - 1)
	case p < 0.85:
		request.Revision = relativeToCurrent(0)
	default:
		request.Revision = oneOf(g, 0, relativeToCurrent(1), -1, math.MaxInt64, math.MinInt64)
	}
	// The hash at a compacted revision may come from what the compaction
	// remembered; look while it is fresh.
	if g.enabled("hashkv") {
		g.queue = append(g.queue,
			operation{kind: "hashkv", request: &pb.HashKVRequest{Revision: relativeToCompacted(0)}},
			operation{kind: "hashkv", request: &pb.HashKVRequest{}})
	}
	return operation{kind: "compact", request: request}
}

func (g *generator) leaseGrant() operation {
	// Long enough to outlive any run: when a lease expires is not compared
	// here but by lease-expire, on its own.
	ttl := oneOf(g, int64(100000), 200000, 3000000, 8999999999, 9000000000)
	if g.chance(0.1) {
		ttl = oneOf(g, int64(9000000001), math.MaxInt64)
	}
	return operation{kind: "lease-grant", request: &pb.LeaseGrantRequest{ID: leaseIDs[g.IntN(len(leaseIDs))], TTL: ttl}}
}

func (g *generator) leaseRevoke() operation {
	return operation{kind: "lease-revoke", request: &pb.LeaseRevokeRequest{ID: oneOf(g, 0, 77, g.leaseID(), g.leaseID(), g.leaseID())}}
}

func (g *generator) leaseID() int64 { return leaseIDs[g.IntN(len(leaseIDs))] }

func (g *generator) leaseKeepAlive() operation {
	return operation{kind: "lease-keepalive", request: &pb.LeaseKeepAliveRequest{ID: oneOf(g, 0, 77, g.leaseID(), g.leaseID(), g.leaseID(), g.leaseID())}}
}

func (g *generator) leaseTimeToLive() operation {
	return operation{kind: "lease-ttl", request: &pb.LeaseTimeToLiveRequest{ID: oneOf(g, 0, 77, g.leaseID(), g.leaseID(), g.leaseID(), g.leaseID()), Keys: g.chance(0.7)}}
}

func (g *generator) leaseAuto() operation {
	return operation{kind: "lease-auto", request: &pb.LeaseGrantRequest{TTL: oneOf(g, int64(0), -5, 1, 2, 3, 100, 100000)}}
}

func (g *generator) leaseExpire() operation {
	return operation{kind: "lease-expire", request: &pb.LeaseGrantRequest{ID: 4711, TTL: oneOf(g, int64(0), -1, 1, 2, math.MinInt64)}}
}

const watchStreams = 4

func (g *generator) watchCreate() operation {
	request := &pb.WatchCreateRequest{PrevKv: g.chance(0.4), ProgressNotify: g.chance(0.2), Fragment: g.chance(0.3)}
	request.Key, request.RangeEnd = g.interval()
	switch p := g.Float64(); {
	case p < 0.55:
	case p < 0.8:
		request.StartRevision = relativeToCurrent(-int64(g.IntN(60)))
	case p < 0.88:
		request.StartRevision = relativeToCompacted(int64(g.IntN(5)) - 2)
	case p < 0.94:
		request.StartRevision = relativeToCurrent(1 + int64(g.IntN(20)))
	default:
		request.StartRevision = oneOf(g, int64(-1), math.MinInt64, math.MaxInt64, 1)
	}
	if g.chance(0.25) {
		request.Filters = oneOf(g,
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT},
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NODELETE},
			[]pb.WatchCreateRequest_FilterType{pb.WatchCreateRequest_NOPUT, pb.WatchCreateRequest_NODELETE},
			[]pb.WatchCreateRequest_FilterType{7})
	}
	if g.chance(0.3) {
		request.WatchId = oneOf(g, int64(1), 2, 3, 5, 5, math.MaxInt64, -2, math.MinInt64)
	}
	return operation{kind: "watch-create", stream: g.IntN(watchStreams), request: request}
}

func (g *generator) watchCancel() operation {
	return operation{kind: "watch-cancel", stream: g.IntN(watchStreams), request: &pb.WatchCancelRequest{
		WatchId: oneOf(g, int64(0), 0, 1, 1, 2, 2, 3, 4, 5, 6, -1, -2, math.MaxInt64, 99)}}
}

// onStream generates watch operations that say nothing but the stream.
func onStream(name string) func(*generator) operation {
	return func(g *generator) operation { return operation{kind: name, stream: g.IntN(watchStreams)} }
}

func (g *generator) hashKV() operation {
	return operation{kind: "hashkv", request: &pb.HashKVRequest{Revision: g.revision()}}
}

// alarmMembers: the member's own id would have to be asked for, any other does
// the same: alarms are rows that a client may set for whom it likes.
var alarmMembers = []uint64{0xfeed, 7, 0, math.MaxUint64}

// alarm queues the whole life of an alarm, so that most of a history runs
// without one.
func (g *generator) alarm() operation {
	query := operation{kind: "alarm", request: &pb.AlarmRequest{MemberID: oneOf(g, alarmMembers...), Alarm: pb.AlarmType(g.IntN(3))}}
	if !g.chance(0.4) {
		return query
	}
	which := oneOf(g, pb.AlarmType_NOSPACE, pb.AlarmType_NOSPACE, pb.AlarmType_CORRUPT, pb.AlarmType_NONE, 9)
	member := oneOf(g, alarmMembers...)
	set := func(action pb.AlarmRequest_AlarmAction) operation {
		return operation{kind: "alarm", request: &pb.AlarmRequest{Action: action, MemberID: member, Alarm: which}}
	}
	var during []operation
	for range 6 {
		switch g.IntN(6) {
		case 0:
			during = append(during, g.put())
		case 1:
			during = append(during, g.txn())
		case 2:
			during = append(during, g.deleteRange())
		case 3:
			during = append(during, g.leaseGrant(), g.leaseRevoke())
		case 4:
			during = append(during, g.compact())
		default:
			during = append(during, g.rangeOperation(), operation{kind: "status", request: &pb.StatusRequest{}})
		}
	}
	if g.chance(0.3) {
		during = append(during, set(pb.AlarmRequest_ACTIVATE))
	}
	during = append(during, query, set(pb.AlarmRequest_DEACTIVATE))
	if g.chance(0.3) {
		during = append(during, set(pb.AlarmRequest_DEACTIVATE))
	}
	for _, op := range during {
		if g.enabled(op.kind) {
			g.queue = append(g.queue, op)
		}
	}
	return set(pb.AlarmRequest_ACTIVATE)
}

func (g *generator) memberList() operation {
	return operation{kind: "member-list", request: &pb.MemberListRequest{Linearizable: g.chance(0.5)}}
}

func (g *generator) health() operation {
	return operation{kind: "health", request: &healthpb.HealthCheckRequest{Service: oneOf(g, "", "", "etcdserverpb.KV", "nonsense")}}
}

// rawCall makes requests that no generated type can express: unknown fields,
// fields given twice, merged messages, wrong wire types, cut or random bytes,
// methods that don't exist.
func (g *generator) rawCall() operation {
	target := oneOf(g, "put", "range", "delete", "txn", "lease-ttl", "hashkv")
	op := kinds[target].generate(g)
	// Composites don't survive being taken apart.
	g.queue = nil
	one, _ := proto.Marshal(clock{1, 1}.resolve(op.request))
	raw := operation{kind: "raw", method: kinds[target].method}
	switch g.IntN(9) {
	case 0: // an unknown field of each wire type
		raw.raw = protowire.AppendVarint(protowire.AppendTag(one, 1000, protowire.VarintType), 5)
		raw.raw = protowire.AppendBytes(protowire.AppendTag(raw.raw, 1001, protowire.BytesType), []byte("unknown"))
		raw.raw = protowire.AppendFixed64(protowire.AppendTag(raw.raw, 1002, protowire.Fixed64Type), 1)
		raw.raw = protowire.AppendFixed32(protowire.AppendTag(raw.raw, 536870911, protowire.Fixed32Type), 1)
	case 1: // two messages behind each other merge into one
		two, _ := proto.Marshal(clock{1, 1}.resolve(kinds[target].generate(g).request))
		g.queue = nil
		raw.raw = append(one, two...)
	case 2: // a known field number with another wire type
		raw.raw = protowire.AppendVarint(protowire.AppendTag(one, protowire.Number(1+g.IntN(6)), protowire.VarintType), uint64(g.IntN(300)))
	case 3:
		raw.raw = protowire.AppendBytes(protowire.AppendTag(one, protowire.Number(1+g.IntN(13)), protowire.BytesType), g.bytes(g.IntN(6)))
	case 4: // cut short
		if len(one) > 1 {
			one = one[:1+g.IntN(len(one)-1)]
		}
		raw.raw = one
	case 5: // numbers in more bytes than they need, and more bits than the type has
		raw.raw = append(protowire.AppendTag(one, protowire.Number(3+g.IntN(4)), protowire.VarintType), 0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, oneOf(g, byte(0), 1, 2))
	case 6: // groups, which nobody uses any more, and field number 0
		raw.raw = protowire.AppendTag(one, 2000, protowire.StartGroupType)
		raw.raw = protowire.AppendVarint(protowire.AppendTag(raw.raw, 1, protowire.VarintType), 5)
		raw.raw = protowire.AppendTag(raw.raw, oneOf(g, protowire.Number(2000), 2001), protowire.EndGroupType)
		if g.chance(0.3) {
			raw.raw = append(raw.raw, 0)
		}
	case 7:
		raw.raw = make([]byte, g.IntN(20))
		for i := range raw.raw {
			raw.raw[i] = byte(g.IntN(256))
		}
	default:
		raw.method = oneOf(g, "/etcdserverpb.KV/Nonsense", "/etcdserverpb.Nonsense/Put", "/nonsense/Put", "/etcdserverpb.KV/put", "/grpc.health.v1.Health/Nonsense")
		raw.raw = one
	}
	if target == "txn" {
		// Two halves that are harmless may not be so when merged.
		merged := &pb.TxnRequest{}
		if proto.Unmarshal(raw.raw, merged) == nil && !proto.Equal(merged, spare(proto.Clone(merged).(*pb.TxnRequest))) {
			raw.raw = one
		}
	}
	return raw
}
