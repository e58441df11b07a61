package clients

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// What scenarios of the Go client share: a client, notes of its answers, and
// waiting for what both servers come to.

// goClient runs a scenario with a Go client on each server.
func goClient(t *testing.T, scenario func(ctx context.Context, m *server, client *clientv3.Client, n notes) error) {
	t.Helper()
	onBoth(t, func(ctx context.Context, m *server, told *transcript) error {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + m.Endpoint}, DialTimeout: 5 * time.Second,
			Logger: zap.NewNop()}) // its warnings about cancelled calls say nothing here
		if err != nil {
			return err
		}
		defer client.Close()
		return scenario(ctx, m, client, notes{told})
	})
}

// notes writes answers down; the first unexpected failure ends the scenario.
type notes struct{ *transcript }

func (n notes) answer(step string, message proto.Message, err error) {
	n.add("> %s", step)
	if err != nil {
		n.add("error: %v", err)
		return
	}
	data, err := protojson.Marshal(message)
	if err != nil {
		n.add("error: %v", err)
		return
	}
	// protojson varies its spaces.
	n.add("%s", strings.ReplaceAll(string(data), " ", ""))
}

// headed is an answer of a service that is a client of its own server.
type headed interface {
	proto.Message
	GetHeader() *pb.ResponseHeader
}

// plain leaves the header's revision alone: ids and terms are compared elsewhere.
func (n notes) plain(step string, message headed, err error) {
	if err == nil {
		header := message.GetHeader()
		header.ClusterId, header.MemberId, header.RaftTerm = 0, 0, 0
	}
	n.answer(step, message, err)
}

// until waits for a condition that both servers reach.
func until(ctx context.Context, what string, condition func() (bool, error)) error {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok, err := condition(); ok || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: not within 15 s", what)
}

// keys is the number of keys with a prefix.
func keys(ctx context.Context, client *clientv3.Client, prefix string, want int64) error {
	return until(ctx, fmt.Sprintf("%d keys %s", want, prefix), func() (bool, error) {
		r, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		return err == nil && r.Count == want, err
	})
}

func leases(ctx context.Context, client *clientv3.Client, ids ...int64) error {
	for _, id := range ids {
		if _, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{ID: id, TTL: 300}); err != nil {
			return err
		}
	}
	return nil
}
