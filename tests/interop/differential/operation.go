package main

import (
	"encoding/json"
	"fmt"
	"os"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// operation is one step of a history, the same for both servers.
type operation struct {
	kind    string
	request proto.Message // may hold placeholders; nil where the kind has none
	stream  int           // watch kinds: which of the watch streams
	method  string        // raw: full method name
	raw     []byte        // raw: the encoded request
}

// kind describes a sort of operation.
type kind struct {
	method   string // full gRPC method, if it is a call with one request
	request  func() proto.Message
	response func() proto.Message
	streams  bool // the server answers with a stream
	weight   int  // how often the generator picks it, out of the sum
	generate func(*generator) operation
	run      func(*runner, operation) *difference // nil: a plain call
}

// message makes constructors out of a message type.
func message[T any, P interface {
	*T
	proto.Message
}]() proto.Message {
	return P(new(T))
}

var kinds map[string]*kind

// kindOrder fixes an order for everything that walks the kinds: the generator
// must not depend on the order of a map.
var kindOrder = []string{
	"put", "range", "range-stream", "delete", "txn", "compact",
	"lease-grant", "lease-revoke", "lease-keepalive", "lease-ttl", "lease-list", "lease-auto", "lease-expire",
	"watch-create", "watch-cancel", "watch-progress", "watch-empty", "watch-half-close", "watch-close",
	"hashkv", "hash", "alarm", "status", "member-list", "defragment", "health", "raw",
	"restart", "kill",
}

func init() {
	kinds = map[string]*kind{
		"put": {method: "/etcdserverpb.KV/Put", request: message[pb.PutRequest], response: message[pb.PutResponse],
			weight: 280, generate: (*generator).put},
		"range": {method: "/etcdserverpb.KV/Range", request: message[pb.RangeRequest], response: message[pb.RangeResponse],
			weight: 230, generate: (*generator).rangeOperation},
		"range-stream": {method: "/etcdserverpb.KV/RangeStream", request: message[pb.RangeRequest], response: message[pb.RangeStreamResponse],
			streams: true, weight: 50, generate: (*generator).rangeStream},
		"delete": {method: "/etcdserverpb.KV/DeleteRange", request: message[pb.DeleteRangeRequest], response: message[pb.DeleteRangeResponse],
			weight: 60, generate: (*generator).deleteRange},
		"txn": {method: "/etcdserverpb.KV/Txn", request: message[pb.TxnRequest], response: message[pb.TxnResponse],
			weight: 160, generate: (*generator).txn},
		"compact": {method: "/etcdserverpb.KV/Compact", request: message[pb.CompactionRequest], response: message[pb.CompactionResponse],
			weight: 14, generate: (*generator).compact, run: (*runner).runCompact},
		"lease-grant": {method: "/etcdserverpb.Lease/LeaseGrant", request: message[pb.LeaseGrantRequest], response: message[pb.LeaseGrantResponse],
			weight: 24, generate: (*generator).leaseGrant},
		"lease-revoke": {method: "/etcdserverpb.Lease/LeaseRevoke", request: message[pb.LeaseRevokeRequest], response: message[pb.LeaseRevokeResponse],
			weight: 10, generate: (*generator).leaseRevoke},
		"lease-keepalive": {method: "/etcdserverpb.Lease/LeaseKeepAlive", request: message[pb.LeaseKeepAliveRequest], response: message[pb.LeaseKeepAliveResponse],
			weight: 12, generate: (*generator).leaseKeepAlive, run: (*runner).runKeepAlive},
		"lease-ttl": {method: "/etcdserverpb.Lease/LeaseTimeToLive", request: message[pb.LeaseTimeToLiveRequest], response: message[pb.LeaseTimeToLiveResponse],
			weight: 14, generate: (*generator).leaseTimeToLive},
		"lease-list": {method: "/etcdserverpb.Lease/LeaseLeases", request: message[pb.LeaseLeasesRequest], response: message[pb.LeaseLeasesResponse],
			weight: 6, generate: simple("lease-list", message[pb.LeaseLeasesRequest])},
		"lease-auto": {request: message[pb.LeaseGrantRequest], weight: 3, generate: (*generator).leaseAuto, run: (*runner).runLeaseAuto},
		"lease-expire": {request: message[pb.LeaseGrantRequest], weight: 0, generate: (*generator).leaseExpire,
			run: (*runner).runLeaseExpire},
		"watch-create":     {request: message[pb.WatchCreateRequest], weight: 40, generate: (*generator).watchCreate, run: (*runner).runWatchCreate},
		"watch-cancel":     {request: message[pb.WatchCancelRequest], weight: 16, generate: (*generator).watchCancel, run: (*runner).runWatchCancel},
		"watch-progress":   {weight: 12, generate: onStream("watch-progress"), run: (*runner).runWatchProgress},
		"watch-empty":      {weight: 2, generate: onStream("watch-empty"), run: (*runner).runWatchEmpty},
		"watch-half-close": {weight: 1, generate: onStream("watch-half-close"), run: (*runner).runWatchHalfClose},
		"watch-close":      {weight: 5, generate: onStream("watch-close"), run: (*runner).runWatchClose},
		"hashkv": {method: "/etcdserverpb.Maintenance/HashKV", request: message[pb.HashKVRequest], response: message[pb.HashKVResponse],
			weight: 20, generate: (*generator).hashKV},
		"hash": {method: "/etcdserverpb.Maintenance/Hash", request: message[pb.HashRequest], response: message[pb.HashResponse],
			weight: 2, generate: simple("hash", message[pb.HashRequest])},
		"alarm": {method: "/etcdserverpb.Maintenance/Alarm", request: message[pb.AlarmRequest], response: message[pb.AlarmResponse],
			weight: 4, generate: (*generator).alarm},
		"status": {method: "/etcdserverpb.Maintenance/Status", request: message[pb.StatusRequest], response: message[pb.StatusResponse],
			weight: 4, generate: simple("status", message[pb.StatusRequest])},
		"member-list": {method: "/etcdserverpb.Cluster/MemberList", request: message[pb.MemberListRequest], response: message[pb.MemberListResponse],
			weight: 3, generate: (*generator).memberList},
		"defragment": {method: "/etcdserverpb.Maintenance/Defragment", request: message[pb.DefragmentRequest], response: message[pb.DefragmentResponse],
			weight: 1, generate: simple("defragment", message[pb.DefragmentRequest])},
		"health": {method: "/grpc.health.v1.Health/Check", request: message[healthpb.HealthCheckRequest], response: message[healthpb.HealthCheckResponse],
			weight: 2, generate: (*generator).health},
		"raw":     {weight: 20, generate: (*generator).rawCall, run: (*runner).runRaw},
		"restart": {generate: nil, run: (*runner).runRestart},
		"kill":    {generate: nil, run: (*runner).runRestart},
	}
}

// simple generates requests that have no fields worth varying.
func simple(name string, request func() proto.Message) func(*generator) operation {
	return func(*generator) operation { return operation{kind: name, request: request()} }
}

type storedOperation struct {
	Kind    string          `json:"kind"`
	Request json.RawMessage `json:"request,omitempty"`
	Stream  int             `json:"stream,omitempty"`
	Method  string          `json:"method,omitempty"`
	Raw     []byte          `json:"raw,omitempty"`
}

// saveHistory writes operations so that -replay can run them again. The
// placeholders go out as they are.
func saveHistory(path string, operations []operation) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	encoder := json.NewEncoder(file)
	for _, op := range operations {
		stored := storedOperation{Kind: op.kind, Stream: op.stream, Method: op.method, Raw: op.raw}
		if op.request != nil {
			if stored.Request, err = protojson.Marshal(op.request); err != nil {
				return err
			}
		}
		if err := encoder.Encode(stored); err != nil {
			return err
		}
	}
	return file.Close()
}

func loadHistory(path string) ([]operation, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var operations []operation
	for decoder := json.NewDecoder(file); decoder.More(); {
		var stored storedOperation
		if err := decoder.Decode(&stored); err != nil {
			return nil, err
		}
		k := kinds[stored.Kind]
		if k == nil {
			return nil, fmt.Errorf("%s: unknown kind of operation %q", path, stored.Kind)
		}
		op := operation{kind: stored.Kind, stream: stored.Stream, method: stored.Method, raw: stored.Raw}
		if k.request != nil {
			op.request = k.request()
			if err := protojson.Unmarshal(stored.Request, op.request); err != nil {
				return nil, err
			}
		}
		operations = append(operations, op)
	}
	return operations, nil
}
