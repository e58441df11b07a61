package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"kedge/tests/interop/member"
)

// callLimit bounds every single call; a server that hangs is a finding.
const callLimit = 15 * time.Second

// side is one of the two servers and the runner's open streams to it.
type side struct {
	server    *member.Member
	conn      *grpc.ClientConn
	tap       *watchStream
	streams   [watchStreams]*watchStream
	keepalive grpc.ClientStream
	release   context.CancelFunc // ends keepalive
}

// runner runs one history on two fresh servers, a (under test) and b (the
// reference), and tracks what the answers of b say about the state.
type runner struct {
	sides    [2]*side
	clock    clock
	models   [watchStreams]*streamModel
	tapped   eventLog // b's tap: every event since the start
	tapDone  int      // how much of the open taps is in it
	counts   tally
	resolved proto.Message // the request as it last went out
	code     codes.Code    // the reference's last status
	// redial makes a side's connection; nil: straight to the server.
	redial func(index int, s *member.Member) (*grpc.ClientConn, error)
	// record is told each request as it goes out.
	record func(resolved proto.Message)
}

func newRunner(a, b *member.Member, redial func(int, *member.Member) (*grpc.ClientConn, error)) (*runner, error) {
	r := &runner{sides: [2]*side{{server: a}, {server: b}}, counts: tally{}, redial: redial}
	r.clock.current = 1
	return r, r.connect()
}

// connect opens what has to be open on freshly started servers.
func (r *runner) connect() error {
	for i, s := range r.sides {
		connect := r.redial
		if connect == nil {
			connect = func(_ int, m *member.Member) (*grpc.ClientConn, error) { return dial(m.Endpoint) }
		}
		conn, err := connect(i, s.server)
		if err != nil {
			return err
		}
		s.conn = conn
		for n := range s.streams {
			s.streams[n] = nil
		}
		s.keepalive = nil
		// From the next revision on: what came before is in the log.
		tap, err := openWatch(s.conn)
		if err != nil {
			return err
		}
		s.tap = tap
		create := &pb.WatchCreateRequest{Key: []byte{0}, RangeEnd: []byte{0}, StartRevision: r.clock.current + 1}
		if err := tap.create(create); err != nil {
			return err
		}
		if !waitFor(5*time.Second, func() bool { return tap.controls() > 0 || tap.failed() != nil }) || tap.failed() != nil {
			return fmt.Errorf("no answer to a watch: %v", tap.failed())
		}
	}
	for n := range r.models {
		r.models[n] = &streamModel{}
	}
	r.tapDone = 0
	return nil
}

func (r *runner) disconnect() {
	for _, s := range r.sides {
		if s.keepalive != nil {
			s.release()
			s.keepalive = nil
		}
		for n, stream := range s.streams {
			if stream != nil {
				stream.close()
				s.streams[n] = nil
			}
		}
		if s.tap != nil {
			s.tap.close()
		}
		if s.conn != nil {
			s.conn.Close()
			s.conn = nil
		}
	}
}

// both runs f for the two sides at the same time.
func (r *runner) both(f func(index int, s *side)) {
	var group sync.WaitGroup
	for i, s := range r.sides {
		group.Go(func() { f(i, s) })
	}
	group.Wait()
}

// run executes operations until one differs. The history's end settles all
// watches.
func (r *runner) run(operations []operation) *difference {
	for i, op := range operations {
		d := r.step(op)
		if d == nil && r.code == codes.Unavailable {
			// Equal, but what no server that runs answers here.
			d = failure(op, r.resolved, "answer", "unavailable", "unavailable")
		}
		if d == nil && i%40 == 39 {
			d = r.settle(op)
		}
		if d == nil && i == len(operations)-1 {
			d = r.settle(op)
			if d == nil {
				// Anything that comes unasked has come by now.
				time.Sleep(150 * time.Millisecond)
				d = r.settle(op)
			}
		}
		if d != nil {
			d.index = i
			r.postMortem(d)
			return d
		}
	}
	return nil
}

// postMortem adds how a server ended, if one did. Then that is the finding, and
// not what the broken connection happened to look like.
func (r *runner) postMortem(d *difference) {
	var state [2]string
	for n, s := range r.sides {
		if state[n] = s.server.Gone(); state[n] != "" {
			d.logs[n] = s.server.LastWords()
		} else {
			state[n] = "running"
		}
	}
	if d.logs[0] != "" || d.logs[1] != "" {
		d.fields = append([]fieldDifference{{"process", state[0], state[1]}}, d.fields...)
	}
}

func (r *runner) step(op operation) *difference {
	k := kinds[op.kind]
	r.resolved = r.clock.resolve(op.request)
	if r.record != nil {
		r.record(r.resolved)
	}
	r.code = codes.OK
	defer func() { r.counts.add(op.kind, r.code) }()
	if k.run != nil {
		return k.run(r, op)
	}
	_, _, d := r.call(op, k.method, r.resolved, k.response, k.streams)
	return d
}

// call sends one request to both sides and compares. It returns the two
// answers as they came, and moves the clock by the reference's.
func (r *runner) call(op operation, method string, request proto.Message, response func() proto.Message, streams bool) (a, b answer, d *difference) {
	return r.callMasked(op, method, request, request, response, streams)
}

// callMasked is call for a request that is encoded already; typed is what the
// masks take it for.
func (r *runner) callMasked(op operation, method string, request any, typed proto.Message, response func() proto.Message, streams bool) (a, b answer, d *difference) {
	var answers [2]answer
	r.both(func(i int, s *side) {
		if streams {
			answers[i] = collect(s.conn, method, request, response)
		} else {
			answers[i] = invoke(s.conn, method, request, response)
		}
	})
	a, b = answers[0], answers[1]
	r.code = b.status.Code()
	r.observe(b.message)
	copied := answers
	for i := range copied {
		if copied[i].message != nil {
			copied[i].message = proto.Clone(copied[i].message)
		}
	}
	if fields := compareAnswers(typed, streams, copied[0], copied[1]); len(fields) > 0 {
		d = &difference{op: op, resolved: typed, fields: fields}
	}
	return a, b, d
}

// observe reads the revision out of an answer's header.
func (r *runner) observe(message proto.Message) {
	if with, ok := message.(interface{ GetHeader() *pb.ResponseHeader }); ok {
		r.clock.current = max(r.clock.current, with.GetHeader().GetRevision())
	}
}

func invoke(conn *grpc.ClientConn, method string, request any, response func() proto.Message) answer {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	var got answer
	reply := response()
	err := conn.Invoke(ctx, method, request, reply, grpc.Header(&got.header), grpc.Trailer(&got.trailer))
	got.status = status.Convert(err)
	if err == nil {
		got.message = reply
	}
	return got
}

// collect reads a stream of RangeStream's messages and joins them. Etcd's
// promise: pairs first, and header, count and more on the last message only.
func collect(conn *grpc.ClientConn, method string, request any, response func() proto.Message) answer {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	var got answer
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
	if err == nil {
		if err = stream.SendMsg(request); err == nil {
			err = stream.CloseSend()
		}
	}
	joined := &pb.RangeResponse{}
	ended := false
	for err == nil {
		message := response()
		if err = stream.RecvMsg(message); err != nil {
			break
		}
		part := message.(*pb.RangeStreamResponse).RangeResponse
		if ended {
			got.notes = append(got.notes, "a message after the one with the header")
		}
		if part.GetHeader() != nil {
			ended = true
		} else if part.GetMore() || part.GetCount() != 0 {
			got.notes = append(got.notes, "count or more without header")
		}
		if part != nil {
			proto.Merge(joined, part)
		}
	}
	if stream != nil {
		got.header, _ = stream.Header()
		got.trailer = stream.Trailer()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	got.status = status.Convert(err)
	got.message = joined // what came before an error is compared too
	return got
}

func (r *runner) runRaw(op operation) *difference {
	response := func() proto.Message { return &pb.PutResponse{} }
	var typed proto.Message
	for _, k := range kinds {
		if k.method == op.method {
			response = k.response
			typed = k.request()
			// The request as etcd's own library reads it, for the masks.
			if err := proto.Unmarshal(op.raw, typed); err != nil {
				typed = nil
			}
		}
	}
	_, _, d := r.callMasked(op, op.method, &frame{op.raw}, typed, response, false)
	return d
}

// runCompact settles the watches first: whether one that is still behind
// gets its events or is cancelled would be a matter of time. Afterwards it
// waits until the servers have done the deleting, which shows in HashKV.
func (r *runner) runCompact(op operation) *difference {
	if d := r.settle(op); d != nil {
		return d
	}
	request := r.resolved.(*pb.CompactionRequest)
	k := kinds[op.kind]
	_, b, d := r.call(op, k.method, request, k.response, false)
	if d != nil || b.status.Code() != codes.OK {
		return d
	}
	r.clock.compacted = max(r.clock.compacted, request.Revision)
	if request.Physical {
		return nil
	}
	r.both(func(_ int, s *side) {
		waitFor(3*time.Second, func() bool {
			got := invoke(s.conn, kinds["hashkv"].method, &pb.HashKVRequest{Revision: request.Revision}, message[pb.HashKVResponse])
			hash, ok := got.message.(*pb.HashKVResponse)
			return !ok || (hash.HashRevision == request.Revision && hash.CompactRevision != request.Revision)
		})
	})
	return nil
}

// runKeepAlive sends one request on a stream that stays open.
func (r *runner) runKeepAlive(op operation) *difference {
	var answers [2]answer
	r.both(func(i int, s *side) {
		var err error
		if s.keepalive == nil {
			var ctx context.Context
			ctx, s.release = context.WithCancel(context.Background())
			s.keepalive, err = s.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, kinds[op.kind].method)
		}
		reply := &pb.LeaseKeepAliveResponse{}
		if err == nil {
			err = s.keepalive.SendMsg(r.resolved)
		}
		if err == nil {
			// A receive has no limit of its own: the whole stream ends.
			timer := time.AfterFunc(callLimit, s.release)
			err = s.keepalive.RecvMsg(reply)
			timer.Stop()
		}
		answers[i].status = status.Convert(err)
		if err == nil {
			answers[i].message = reply
		} else {
			s.release()
			s.keepalive = nil
		}
	})
	r.code = answers[1].status.Code()
	if fields := compareAnswers(r.resolved, false, answers[0], answers[1]); len(fields) > 0 {
		return &difference{op: op, resolved: r.resolved, fields: fields}
	}
	return nil
}

// runLeaseAuto has the servers choose an id, compares the rest, and revokes
// each server's lease by its own id.
func (r *runner) runLeaseAuto(op operation) *difference {
	grant := kinds["lease-grant"]
	a, b, d := r.call(op, grant.method, r.resolved, grant.response, false)
	if d != nil || b.status.Code() != codes.OK {
		return d
	}
	ids := [2]int64{a.message.(*pb.LeaseGrantResponse).ID, b.message.(*pb.LeaseGrantResponse).ID}
	if ids[0] <= 0 {
		return &difference{op: op, resolved: r.resolved, fields: []fieldDifference{
			{"ID (positive)", fmt.Sprint(ids[0]), fmt.Sprint(ids[1])}}}
	}
	var answers [2]answer
	revoke := kinds["lease-revoke"]
	r.both(func(i int, s *side) {
		answers[i] = invoke(s.conn, revoke.method, &pb.LeaseRevokeRequest{ID: ids[i]}, revoke.response)
	})
	r.observe(answers[1].message)
	for i := range answers {
		// A short lease may have run out meanwhile on a busy machine.
		if answers[i].status.Code() == codes.NotFound {
			return nil
		}
	}
	if fields := compareAnswers(nil, false, answers[0], answers[1]); len(fields) > 0 {
		return &difference{op: op, resolved: r.resolved, fields: fields}
	}
	return nil
}

// runLeaseExpire grants a short lease, ties keys to it, and waits until both
// servers have let it run out: the keys go in one revision.
func (r *runner) runLeaseExpire(op operation) *difference {
	grant := kinds["lease-grant"]
	request := r.resolved.(*pb.LeaseGrantRequest)
	_, b, d := r.call(op, grant.method, request, grant.response, false)
	if d != nil || b.status.Code() != codes.OK {
		return d
	}
	put := kinds["put"]
	for _, key := range []string{"expires/b", "expires/a", "expires/c"} {
		if _, _, d := r.call(op, put.method, &pb.PutRequest{Key: []byte(key), Value: []byte("x"), Lease: request.ID}, put.response, false); d != nil {
			return d
		}
	}
	expired := [2]bool{}
	r.both(func(i int, s *side) {
		expired[i] = waitFor(15*time.Second, func() bool {
			got := invoke(s.conn, kinds["lease-ttl"].method, &pb.LeaseTimeToLiveRequest{ID: request.ID}, message[pb.LeaseTimeToLiveResponse])
			ttl, ok := got.message.(*pb.LeaseTimeToLiveResponse)
			return !ok || ttl.TTL == -1
		})
	})
	if expired[0] != expired[1] {
		return &difference{op: op, resolved: request, fields: []fieldDifference{
			{"expired within 15 s", fmt.Sprint(expired[0]), fmt.Sprint(expired[1])}}}
	}
	look := kinds["range"]
	_, _, d = r.call(op, look.method, &pb.RangeRequest{Key: []byte("expires/"), RangeEnd: []byte("expires0")}, look.response, false)
	return d
}

// runRestart stops both servers, with a signal that lets them finish or one
// that doesn't, and starts them on the same data.
func (r *runner) runRestart(op operation) *difference {
	if d := r.settle(op); d != nil {
		return d
	}
	signal := syscall.SIGTERM
	if op.kind == "kill" {
		signal = syscall.SIGKILL
		// A compaction's end is written with the next batch, and one that
		// didn't get there runs again after the start, which HashKV shows.
		// Hash commits the batch.
		r.both(func(_ int, s *side) {
			invoke(s.conn, kinds["hash"].method, &pb.HashRequest{}, message[pb.HashResponse])
		})
	}
	r.disconnect()
	var failed [2]error
	r.both(func(i int, s *side) {
		s.server.Stop(signal)
		failed[i] = s.server.Start()
	})
	if failed[1] == nil && failed[0] == nil {
		if err := r.connect(); err == nil {
			return nil
		} else {
			failed[0] = err
		}
	}
	text := func(err error) string {
		if err == nil {
			return "serves again"
		}
		return err.Error()
	}
	return &difference{op: op, fields: []fieldDifference{{"start", text(failed[0]), text(failed[1])}}}
}

// waitFor polls until the condition holds or the limit has passed.
func waitFor(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	pause := 100 * time.Microsecond
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(pause)
		pause = min(2*pause, 5*time.Millisecond)
	}
	return true
}
