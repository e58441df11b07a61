package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"kedge/tests/interop/member"
)

// etcdCommand finds the program that ../build.sh makes.
func etcdCommand(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("INTEROP_BIN")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "build", "interop", "bin")
	}
	path, err := filepath.Abs(filepath.Join(folder, "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run ../build.sh first", err)
	}
	return path
}

// laboratoryWith runs etcd against etcd, with a lying proxy before side a.
func laboratoryWith(t *testing.T, alter alteration) *laboratory {
	command := etcdCommand(t)
	return &laboratory{a: command, b: command, folder: t.TempDir(),
		redial: func(index int, s *member.Member) (*grpc.ClientConn, error) {
			if index == 1 {
				return dial(s.Endpoint)
			}
			return dial(startProxy(t, s.Endpoint, alter).address)
		}}
}

func without(names ...string) func(string) bool {
	return func(kind string) bool {
		for _, name := range names {
			if kind == name {
				return false
			}
		}
		return true
	}
}

// quick leaves out what takes seconds and no alteration here is about.
var quick = without("restart", "kill", "lease-expire")

func TestEtcdAgainstItselfThroughAnHonestProxyShowsNoDifference(t *testing.T) {
	lab := laboratoryWith(t, alteration{message: func(string, proto.Message) int { return 1 }})
	counts := tally{}
	found, steps, err := lab.attempt(newGenerator(3, without()).history(400), counts)
	if err != nil {
		t.Fatal(err)
	}
	if found != nil {
		report(os.Stderr, 20, "with nothing altered", found, nil, steps, "")
		t.Fatalf("expected no difference, found %s", found.signature())
	}
	if counts.total() < 400 {
		t.Errorf("expected at least 400 operations, counted %d", counts.total())
	}
}

// onMessages alters responses of one Go type; alter tells how often to send.
func onMessages[T proto.Message](alter func(T) int) alteration {
	return alteration{message: func(_ string, response proto.Message) int {
		if typed, ok := response.(T); ok {
			return alter(typed)
		}
		return 1
	}}
}

// always is onMessages for alterations that keep the number of messages.
func always[T proto.Message](alter func(T)) alteration {
	return onMessages(func(m T) int { alter(m); return 1 })
}

// nth lets the n-th event response through altered and all others untouched.
func nth(n int, alter func(*pb.WatchResponse) int) alteration {
	seen := 0
	return onMessages(func(m *pb.WatchResponse) int {
		if len(m.Events) == 0 {
			return 1
		}
		if seen++; seen == n {
			return alter(m)
		}
		return 1
	})
}

func TestEveryAlterationIsFound(t *testing.T) {
	cases := []struct {
		name  string
		alter alteration
	}{
		{"value of a pair", always(func(m *pb.RangeResponse) {
			for _, kv := range m.Kvs {
				kv.Value = append(kv.Value, 'x')
			}
		})},
		{"lease of a pair", always(func(m *pb.RangeResponse) {
			for _, kv := range m.Kvs {
				kv.Lease = 0
			}
		})},
		{"version of a pair", always(func(m *pb.RangeResponse) {
			for _, kv := range m.Kvs {
				kv.Version = 1
			}
		})},
		{"a pair too few", always(func(m *pb.RangeResponse) {
			if len(m.Kvs) > 2 {
				m.Kvs = m.Kvs[:len(m.Kvs)-1]
			}
		})},
		{"order of pairs", always(func(m *pb.RangeResponse) {
			for i, j := 0, len(m.Kvs)-1; i < j; i, j = i+1, j-1 {
				m.Kvs[i], m.Kvs[j] = m.Kvs[j], m.Kvs[i]
			}
		})},
		{"count", always(func(m *pb.RangeResponse) {
			if m.More {
				m.Count--
			}
		})},
		{"more", always(func(m *pb.RangeResponse) { m.More = false })},
		{"stream's order", always(func(m *pb.RangeStreamResponse) {
			if kvs := m.RangeResponse.GetKvs(); len(kvs) > 1 {
				kvs[0], kvs[1] = kvs[1], kvs[0]
			}
		})},
		{"stream's header on every chunk", always(func(m *pb.RangeStreamResponse) {
			if m.RangeResponse != nil && m.RangeResponse.Header == nil {
				m.RangeResponse.Header = &pb.ResponseHeader{}
			}
		})},
		{"revision of a put", always(func(m *pb.PutResponse) { m.Header.Revision++ })},
		{"previous pair of a put", always(func(m *pb.PutResponse) { m.PrevKv = nil })},
		{"number of deleted", always(func(m *pb.DeleteRangeResponse) {
			if m.Deleted > 1 {
				m.Deleted = 1
			}
		})},
		{"branch of a txn", always(func(m *pb.TxnResponse) { m.Succeeded = true })},
		{"inner header of a txn", always(func(m *pb.TxnResponse) {
			for _, op := range m.Responses {
				if put := op.GetResponsePut(); put != nil {
					put.Header = nil
				}
			}
		})},
		{"range in a nested txn", always(func(m *pb.TxnResponse) {
			for _, op := range m.Responses {
				for _, inner := range op.GetResponseTxn().GetResponses() {
					if r := inner.GetResponseRange(); r != nil {
						r.Count += 5
					}
				}
			}
		})},
		{"member id", always(func(m *pb.CompactionResponse) { m.Header.MemberId++ })},
		{"hash of the keys", always(func(m *pb.HashKVResponse) { m.Hash++ })},
		{"compacted revision beside the hash", always(func(m *pb.HashKVResponse) { m.CompactRevision = 0 })},
		{"granted time of a lease", always(func(m *pb.LeaseTimeToLiveResponse) { m.GrantedTTL-- })},
		{"time left of a lease", always(func(m *pb.LeaseTimeToLiveResponse) { m.TTL -= 1000 })},
		{"keys of a lease", always(func(m *pb.LeaseTimeToLiveResponse) {
			if len(m.Keys) > 0 {
				m.Keys = m.Keys[1:]
			}
		})},
		{"time of a renewed lease", always(func(m *pb.LeaseKeepAliveResponse) { m.TTL++ })},
		{"a lease too many", always(func(m *pb.LeaseLeasesResponse) { m.Leases = append(m.Leases, &pb.LeaseStatus{ID: 5}) })},
		{"alarms", always(func(m *pb.AlarmResponse) { m.Alarms = nil })},
		{"version", always(func(m *pb.StatusResponse) { m.Version = "3.7.2" })},
		{"member's name", always(func(m *pb.MemberListResponse) { m.Members[0].Name = "other" })},
		{"an unknown field", always(func(m *pb.PutResponse) { m.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x01}) })},
		{"watch id", always(func(m *pb.WatchResponse) {
			if m.Created && m.WatchId >= 0 {
				m.WatchId++
			}
		})},
		{"reason of a cancel", always(func(m *pb.WatchResponse) { m.CancelReason = strings.TrimPrefix(m.CancelReason, "mvcc: ") })},
		{"event lost", nth(30, func(*pb.WatchResponse) int { return 0 })},
		{"event twice", nth(30, func(*pb.WatchResponse) int { return 2 })},
		{"previous pair of an event", nth(30, func(m *pb.WatchResponse) int {
			for _, event := range m.Events {
				event.Kv.Version++
			}
			return 1
		})},
		{"progress that nobody asked for", alteration{message: func() func(string, proto.Message) int {
			seen := 0
			return func(_ string, response proto.Message) int {
				if m, ok := response.(*pb.WatchResponse); ok && m.WatchId == -1 && !m.Created && !m.Canceled {
					if seen++; seen == 2 {
						return 2
					}
				}
				return 1
			}
		}()}},
		{"text of an error", alteration{failure: func(_ string, s *status.Status) *status.Status {
			return status.New(s.Code(), strings.Replace(s.Message(), "compacted", "compact", 1))
		}}},
		{"code of an error", alteration{failure: func(_ string, s *status.Status) *status.Status {
			if s.Code() == codes.NotFound {
				return status.New(codes.FailedPrecondition, s.Message())
			}
			return s
		}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			lab := laboratoryWith(t, c.alter)
			found, _, err := lab.attempt(newGenerator(5, quick).history(1500), tally{})
			if err != nil {
				t.Fatal(err)
			}
			if found == nil {
				t.Fatal("expected a difference, found none")
			}
			t.Logf("found at operation %d: %s", found.index+1, found.signature())
		})
	}
}

func TestADifferenceIsShrunkToTheOperationsThatShowIt(t *testing.T) {
	// A server that forgets leases in old revisions of a range: it takes a
	// grant, a put and a range to see it.
	lab := laboratoryWith(t, always(func(m *pb.RangeResponse) {
		for _, kv := range m.Kvs {
			kv.Lease = 0
		}
	}))
	defer lab.discard()
	operations := newGenerator(5, quick).history(600)
	found, _, err := lab.attempt(operations, tally{})
	if err != nil || found == nil {
		t.Fatalf("expected a difference, got %v, %v", found, err)
	}
	best, last, steps, attempts := lab.shrink(operations, found, 60*time.Second)
	if last == nil {
		t.Fatal("expected the difference to show again")
	}
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "history.json")
	report(&out, 30, fmt.Sprintf("after %d runs", attempts), last, best, steps, path)
	t.Log(out.String())
	if len(best) > 4 {
		t.Errorf("expected at most 4 operations, got %d", len(best))
	}
	again, err := loadHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	replayed, _, err := lab.attempt(again, tally{})
	if err != nil || replayed == nil || replayed.signature() != found.signature() {
		t.Errorf("expected %s from the saved history, got %v, %v", found.signature(), replayed, err)
	}
}

func TestTheSameSeedMakesTheSameHistory(t *testing.T) {
	path := func(n int) string { return filepath.Join(t.TempDir(), fmt.Sprint(n)) }
	one, two := path(1), path(2)
	for _, p := range []string{one, two} {
		if err := saveHistory(p, newGenerator(42, without()).history(3000)); err != nil {
			t.Fatal(err)
		}
	}
	// protojson varies its spaces on purpose, so the operations are compared.
	a, err := loadHistory(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadHistory(two)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Fatalf("expected equal lengths, got %d and %d", len(a), len(b))
	}
	used := map[string]int{}
	for i := range a {
		used[a[i].kind]++
		if a[i].kind != b[i].kind || a[i].stream != b[i].stream || !bytes.Equal(a[i].raw, b[i].raw) || !proto.Equal(a[i].request, b[i].request) {
			t.Fatalf("operation %d differs: %s and %s", i, describe(a[i], a[i].request), describe(b[i], b[i].request))
		}
	}
	for _, name := range kindOrder {
		if used[name] == 0 {
			t.Errorf("expected a history of 3000 to have a %s, it has none", name)
		}
	}
}

func TestPlaceholdersAreResolvedEverywhereInARequest(t *testing.T) {
	request := &pb.TxnRequest{
		Compare: []*pb.Compare{{TargetUnion: &pb.Compare_ModRevision{ModRevision: relativeToCurrent(-2)}}},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: &pb.TxnRequest{
			Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{
				Revision: relativeToCompacted(1), Limit: 1 << 40, MinModRevision: -1}}}}}}}},
	}
	got := clock{current: 50, compacted: 20}.resolve(request).(*pb.TxnRequest)
	if v := got.Compare[0].GetModRevision(); v != 48 {
		t.Errorf("expected 48, got %d", v)
	}
	inner := got.Success[0].GetRequestTxn().Failure[0].GetRequestRange()
	if inner.Revision != 21 || inner.Limit != 1<<40 || inner.MinModRevision != -1 {
		t.Errorf("expected 21, %d and -1, got %v", int64(1)<<40, inner)
	}
	if request.Compare[0].GetModRevision() == 48 {
		t.Error("expected the original to keep its placeholder")
	}
}

func TestMasksNameFieldsThatExist(t *testing.T) {
	for _, m := range masks {
		if m.reason == "" {
			t.Errorf("expected a reason for %s.%s", m.message, m.field)
		}
		if strings.HasPrefix(string(m.message), "(") {
			continue
		}
		kind, err := protoregistry.GlobalTypes.FindMessageByName(m.message)
		if err != nil {
			t.Error(err)
			continue
		}
		if kind.Descriptor().Fields().ByName(m.field) == nil {
			t.Errorf("%s has no field %s", m.message, m.field)
		}
	}
}

func TestTiesAreMaskedAndNothingElse(t *testing.T) {
	pair := func(key string, version int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(key), Version: version}
	}
	response := func(more bool, kvs ...*mvccpb.KeyValue) *pb.RangeResponse {
		return &pb.RangeResponse{Kvs: kvs, More: more}
	}
	byVersion := &pb.RangeRequest{SortTarget: pb.RangeRequest_VERSION, SortOrder: pb.RangeRequest_ASCEND}
	unordered := &pb.RangeRequest{SortTarget: pb.RangeRequest_VERSION}
	var many []*mvccpb.KeyValue
	for i := range 12 {
		many = append(many, pair(string(rune('a'+i)), int64(i)))
	}
	cases := []struct {
		name    string
		request *pb.RangeRequest
		a, b    *pb.RangeResponse
		equal   bool

		streamed bool
	}{
		{"equals in another order", byVersion, response(false, pair("b", 1), pair("a", 1), pair("c", 2)), response(false, pair("a", 1), pair("b", 1), pair("c", 2)), true, false},
		{"another pair", byVersion, response(false, pair("b", 1), pair("x", 1)), response(false, pair("a", 1), pair("b", 1)), false, false},
		{"unequals in another order", byVersion, response(false, pair("a", 1), pair("b", 2)), response(false, pair("b", 2), pair("a", 1)), false, false},
		{"the cut takes others of the equals", byVersion, response(true, pair("a", 1), pair("b", 2)), response(true, pair("a", 1), pair("c", 2)), true, false},
		{"the cut takes from another group", byVersion, response(true, pair("a", 1), pair("b", 2)), response(true, pair("a", 1), pair("c", 3)), false, false},
		{"a group before the cut", byVersion, response(true, pair("a", 1), pair("b", 2)), response(true, pair("x", 1), pair("b", 2)), false, false},
		{"sorted by key", &pb.RangeRequest{}, response(false, pair("b", 1), pair("a", 1)), response(false, pair("a", 1), pair("b", 1)), false, false},
		{"a streamed chunk", unordered, response(false, pair("b", 1)), response(false, pair("a", 1)), false, true},
		{"streamed chunks", unordered, response(false, many...), response(false, many[1:]...), true, true},
		{"many at once", unordered, response(false, many...), response(false, many[1:]...), false, false},
	}
	for _, c := range cases {
		a, b := proto.Clone(c.a), proto.Clone(c.b)
		maskPair(c.request, c.streamed, a, b)
		if got := proto.Equal(a, b); got != c.equal {
			t.Errorf("%s: expected equal=%v, got %v: %v and %v", c.name, c.equal, got, a, b)
		}
	}
}

func TestCommandsAreQuotedForBash(t *testing.T) {
	cases := map[string]proto.Message{
		`etcdctl put --lease=7 -- $'\xff\'' $''`: &pb.PutRequest{Key: []byte("\xff'"), Lease: 7},
		`etcdctl put -- "$(printf %b 'k'; printf 'xx%.0s' $(seq 20); printf %b 'y')" v`: &pb.PutRequest{
			Key: []byte("k" + strings.Repeat("x", 40) + "y"), Value: []byte("v")},
		`etcdctl get --rev=3 --from-key -- a`: &pb.RangeRequest{Key: []byte("a"), RangeEnd: []byte{0}, Revision: 3},
		`etcdctl del --prev-kv -- a b`:        &pb.DeleteRangeRequest{Key: []byte("a"), RangeEnd: []byte("b"), PrevKv: true},
		`etcdctl compaction --physical -- 9`:  &pb.CompactionRequest{Revision: 9, Physical: true},
		"etcdctl txn <<'END'\nver(\"a\") > \"1\"\n\nget -- b\n\n\nEND": &pb.TxnRequest{
			Compare: []*pb.Compare{{Key: []byte("a"), Result: pb.Compare_GREATER, Target: pb.Compare_VERSION, TargetUnion: &pb.Compare_Version{Version: 1}}},
			Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte("b")}}}}},
	}
	for want, request := range cases {
		got, ok := command(operation{}, request)
		if !ok || got != want {
			t.Errorf("expected %q, got %q, %v", want, got, ok)
		}
	}
	if line, ok := command(operation{}, &pb.PutRequest{Key: []byte("a\x00")}); ok {
		t.Errorf("expected no command for a key with a NUL, got %q", line)
	}
}

func TestSimplifyingEndsAndMakesEachMessageOnce(t *testing.T) {
	request := &pb.TxnRequest{Compare: []*pb.Compare{{Key: []byte("a")}},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: []byte("k"), Value: []byte("1234")}}}}}
	var seen []proto.Message
	for n := 0; ; n++ {
		copied, countdown := proto.Clone(request), n
		if !simplify(copied.ProtoReflect(), &countdown) {
			break
		}
		if proto.Equal(copied, request) {
			t.Errorf("expected change %d to change something", n)
		}
		seen = append(seen, copied)
	}
	if len(seen) != 9 {
		t.Errorf("expected 9 simpler requests, got %d: %v", len(seen), seen)
	}
	if !reflect.DeepEqual(request.Success[0].GetRequestPut().Value, []byte("1234")) {
		t.Error("expected the original to be left alone")
	}
}
