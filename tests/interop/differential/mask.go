package main

import (
	"bytes"
	"sort"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A rule says what of a field is still compared.
type rule int

const (
	ignored      rule = iota // nothing
	withinMargin             // numbers may be 120 apart: seconds that a slow machine takes
	anyOrder                 // the elements, but not their order
	tieOrder                 // see maskTies
	oneSpace                 // the texts, with runs of spaces taken for one
	sortedChunks             // see maskStream
	prefixOnly               // the text up to its last colon
	regrouped                // see eventLog: the sequence, not how it is cut into messages
)

type mask struct {
	message protoreflect.FullName // or what else is compared, in round brackets
	field   protoreflect.Name
	rule    rule
	reason  string
	// when narrows the mask to some requests; nil: always.
	when func(request proto.Message) bool
}

// masks is the one list of everything that two correct servers may answer
// differently. Whatever isn't here must be equal to the byte.
var masks = []mask{
	{message: "etcdserverpb.ResponseHeader", field: "raft_term", rule: ignored,
		reason: "each start costs an election, and a slow one more than one"},
	{message: "etcdserverpb.StatusResponse", field: "raftTerm", rule: ignored, reason: "as above"},
	{message: "etcdserverpb.StatusResponse", field: "raftIndex", rule: ignored,
		reason: "a server may log more of its own entries (elections, cluster version, member attributes)"},
	{message: "etcdserverpb.StatusResponse", field: "raftAppliedIndex", rule: ignored, reason: "as above"},
	{message: "etcdserverpb.StatusResponse", field: "dbSize", rule: ignored, reason: "two storage engines, two file sizes"},
	{message: "etcdserverpb.StatusResponse", field: "dbSizeInUse", rule: ignored, reason: "as above"},
	{message: "etcdserverpb.StatusResponse", field: "errors", rule: oneSpace,
		reason: "an alarm in protobuf's text form, whose spaces differ from build to build of etcd"},
	{message: "etcdserverpb.HashResponse", field: "hash", rule: ignored,
		reason: "covers the raft index and term in the meta bucket; HashKV is the one that is compared"},
	{message: "etcdserverpb.LeaseTimeToLiveResponse", field: "TTL", rule: withinMargin, reason: "what is left by each server's clock"},
	{message: "etcdserverpb.LeaseTimeToLiveResponse", field: "keys", rule: anyOrder, reason: "etcd walks a map"},
	{message: "etcdserverpb.LeaseLeasesResponse", field: "leases", rule: anyOrder,
		reason: "ordered by instants of expiry, which a renewal or restart makes a matter of time"},
	{message: "etcdserverpb.LeaseGrantResponse", field: "ID", rule: ignored, reason: "made by the server when the request has none",
		when: func(request proto.Message) bool {
			grant, ok := request.(*pb.LeaseGrantRequest)
			return ok && grant.ID == 0
		}},
	{message: "etcdserverpb.RangeResponse", field: "kvs", rule: tieOrder,
		reason: "kedge sorts stably by key, etcd doesn't: the order among equals, and under a limit which of them are kept"},
	{message: "(RangeStream)", field: "kvs, count, more", rule: sortedChunks,
		reason: "with a sort target but no order etcd sorts each chunk by itself and goes on behind its last pair: some come twice, some never; kedge gives every pair once, in key order. By VALUE etcd also reads the pairs whose keys alone are asked for, and so tells their leases"},
	{message: "(error)", field: "grpc: error unmarshalling request", rule: prefixOnly, reason: "what follows is the text of Go's protobuf library"},
	{message: "(event responses)", field: "grouping, header.revision", rule: regrouped,
		reason: "a watcher that catches up gets revisions in batches; etcd promises the sequence of events and that no revision is cut"},
	{message: "(RangeStream)", field: "chunks", rule: regrouped, reason: "chunk sizes are the server's choice; the concatenation is compared"},
}

const ttlMargin = 120

// maskPair edits both answers in place so that only what must be equal is left
// unequal.
func maskPair(request proto.Message, streamed bool, a, b proto.Message) {
	if a == nil || b == nil {
		return
	}
	switch request := request.(type) {
	case *pb.RangeRequest:
		ra, aok := a.(*pb.RangeResponse)
		rb, bok := b.(*pb.RangeResponse)
		if aok && bok {
			maskTies(request, ra, rb)
			if streamed {
				maskStream(request, ra, rb)
			}
		}
	case *pb.TxnRequest:
		ta, aok := a.(*pb.TxnResponse)
		tb, bok := b.(*pb.TxnResponse)
		if aok && bok {
			maskTxn(request, ta, tb)
		}
	}
	maskFields(request, a.ProtoReflect(), b.ProtoReflect())
}

func maskFields(request proto.Message, a, b protoreflect.Message) {
	name := a.Descriptor().FullName()
	for _, m := range masks {
		if m.message != name || (m.when != nil && !m.when(request)) {
			continue
		}
		field := a.Descriptor().Fields().ByName(m.field)
		if field == nil {
			panic("mask of an unknown field: " + string(m.message) + "." + string(m.field))
		}
		switch m.rule {
		case ignored:
			a.Clear(field)
			b.Clear(field)
		case withinMargin:
			x, y := a.Get(field).Int(), b.Get(field).Int()
			if x-y <= ttlMargin && y-x <= ttlMargin && (x < 0) == (y < 0) {
				a.Clear(field)
				b.Clear(field)
			}
		case anyOrder:
			sortList(a, field)
			sortList(b, field)
		case oneSpace:
			for _, message := range []protoreflect.Message{a, b} {
				list := message.Mutable(field).List()
				for i := range list.Len() {
					list.Set(i, protoreflect.ValueOfString(strings.Join(strings.Fields(list.Get(i).String()), " ")))
				}
			}
		}
	}
	a.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Message() == nil || field.IsMap() || !b.Has(field) {
			return true
		}
		if field.IsList() {
			x, y := value.List(), b.Get(field).List()
			for i := 0; i < x.Len() && i < y.Len(); i++ {
				maskFields(request, x.Get(i).Message(), y.Get(i).Message())
			}
			return true
		}
		maskFields(request, value.Message(), b.Get(field).Message())
		return true
	})
}

func sortList(message protoreflect.Message, field protoreflect.FieldDescriptor) {
	if !message.Has(field) {
		return
	}
	list := message.Mutable(field).List()
	encoded := func(v protoreflect.Value) string {
		if field.Message() != nil {
			data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(v.Message().Interface())
			return string(data)
		}
		return string(v.Bytes())
	}
	values := make([]protoreflect.Value, list.Len())
	for i := range values {
		values[i] = list.Get(i)
	}
	sort.SliceStable(values, func(i, j int) bool { return encoded(values[i]) < encoded(values[j]) })
	// Elements are shared while they are moved, so the list is built anew.
	fresh := message.NewField(field).List()
	for _, v := range values {
		fresh.Append(v)
	}
	message.Set(field, protoreflect.ValueOfList(fresh))
}

func maskTxn(request *pb.TxnRequest, a, b *pb.TxnResponse) {
	if a.Succeeded != b.Succeeded {
		return // a difference anyway
	}
	ops := request.Success
	if !a.Succeeded {
		ops = request.Failure
	}
	for i, op := range ops {
		if i >= len(a.Responses) || i >= len(b.Responses) {
			return
		}
		switch {
		case op.GetRequestRange() != nil:
			ra, rb := a.Responses[i].GetResponseRange(), b.Responses[i].GetResponseRange()
			if ra != nil && rb != nil {
				maskTies(op.GetRequestRange(), ra, rb)
			}
		case op.GetRequestTxn() != nil:
			ta, tb := a.Responses[i].GetResponseTxn(), b.Responses[i].GetResponseTxn()
			if ta != nil && tb != nil {
				maskTxn(op.GetRequestTxn(), ta, tb)
			}
		}
	}
}

// maskTies brings pairs that compare equal under the request's sort into key
// order. Where a limit cut the list, the last group of equals may hold
// different pairs on the two sides: of those only the number is compared.
func maskTies(request *pb.RangeRequest, a, b *pb.RangeResponse) {
	var attribute func(*mvccpb.KeyValue) string
	switch request.SortTarget {
	case pb.RangeRequest_VERSION:
		attribute = func(kv *mvccpb.KeyValue) string { return number(kv.Version) }
	case pb.RangeRequest_CREATE:
		attribute = func(kv *mvccpb.KeyValue) string { return number(kv.CreateRevision) }
	case pb.RangeRequest_MOD:
		attribute = func(kv *mvccpb.KeyValue) string { return number(kv.ModRevision) }
	case pb.RangeRequest_VALUE:
		attribute = func(kv *mvccpb.KeyValue) string { return string(kv.Value) }
		if request.KeysOnly {
			// The values that decided the order were dropped: any two
			// pairs may have been equal.
			attribute = func(*mvccpb.KeyValue) string { return "" }
		}
	default:
		return
	}
	for _, response := range []*pb.RangeResponse{a, b} {
		kvs := response.Kvs
		for i := 0; i < len(kvs); {
			j := i
			for j < len(kvs) && attribute(kvs[j]) == attribute(kvs[i]) {
				j++
			}
			group := kvs[i:j]
			sort.SliceStable(group, func(x, y int) bool { return bytes.Compare(group[x].Key, group[y].Key) < 0 })
			if j == len(kvs) && response.More {
				for x := range group {
					blank := &mvccpb.KeyValue{}
					switch request.SortTarget {
					case pb.RangeRequest_VERSION:
						blank.Version = group[x].Version
					case pb.RangeRequest_CREATE:
						blank.CreateRevision = group[x].CreateRevision
					case pb.RangeRequest_MOD:
						blank.ModRevision = group[x].ModRevision
					case pb.RangeRequest_VALUE:
						blank.Value = group[x].Value
					}
					group[x] = blank
				}
			}
			i = j
		}
	}
}

// maskStream takes the order out of a stream with a sort target but no order; if
// there was more than etcd's first chunk of ten, or more behind a limit, it leaves
// only the header.
func maskStream(request *pb.RangeRequest, a, b *pb.RangeResponse) {
	const firstChunk = 10
	if request.SortTarget == pb.RangeRequest_KEY || request.SortOrder != pb.RangeRequest_NONE {
		return
	}
	whole := max(len(a.Kvs), len(b.Kvs)) <= firstChunk && !a.More && !b.More
	for _, response := range []*pb.RangeResponse{a, b} {
		if whole {
			if request.KeysOnly && request.SortTarget == pb.RangeRequest_VALUE {
				for _, kv := range response.Kvs {
					kv.Lease = 0
				}
			}
			sort.Slice(response.Kvs, func(i, j int) bool { return bytes.Compare(response.Kvs[i].Key, response.Kvs[j].Key) < 0 })
		} else {
			response.Kvs, response.Count, response.More = nil, 0, false
		}
	}
}

func number(n int64) string {
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return string(b[:])
}

// maskError cuts an error's text where a mask says so.
func maskError(text string) string {
	for _, m := range masks {
		if m.message == "(error)" && m.rule == prefixOnly && strings.HasPrefix(text, string(m.field)+":") {
			return string(m.field)
		}
	}
	return text
}
