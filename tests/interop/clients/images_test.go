package clients

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
)

// TestImagesGoBothWays has a member be away for longer than the leader's log
// reaches back: a kedge among etcds, then an etcd among kedges. Each gets the
// leader's store as an image, and then has the same rows in all buckets.
func TestImagesGoBothWays(t *testing.T) {
	own, etcd := program(t, *serverFlag), program(t, *referenceFlag)
	for _, way := range []struct {
		name     string
		programs []string // the first leads, the last is away
		puts     int
		bytes    int
	}{
		// etcd forgets its log every hundred entries, kedge with its segments of 64 MB.
		{"etcd to kedge", []string{etcd, etcd, own}, 400, 1000},
		{"kedge to etcd", []string{own, own, etcd}, 160, 1000000},
		{"kedge to kedge", []string{own, etcd, own}, 160, 1000000},
	} {
		t.Run(way.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), scenarioLimit)
			defer cancel()
			c, err := cluster.New(ctx, cluster.Options{Parent: t.TempDir(), Programs: way.programs,
				Flags: []string{"--snapshot-count=10", "--snapshot-catchup-entries=1", "--max-wals=1"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			leader, late := c.Nodes()[0], c.Nodes()[2]
			if err := lead(ctx, c, leader); err != nil {
				t.Fatal(err)
			}
			late.Kill()
			if err := change(ctx, leader, way.puts, way.bytes); err != nil {
				t.Fatal(err)
			}
			if err := late.Start(); err != nil {
				t.Fatal(err)
			}
			if err := late.WaitReady(ctx, cluster.StartLimit); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.SameHash(ctx, 30*time.Second); err != nil {
				t.Error(err)
			}
			// An etcd that starts writes the row meta/confState again, in the order of a map: its hash over all
			// buckets is its own.
			if late.Program != etcd {
				if err := sameBuckets(ctx, c); err != nil {
					t.Error(err)
				}
			}
			if n := late.Count(`"applied snapshot"`); n == 0 {
				t.Error("it was brought up to date without an image")
			}
			if left := late.Leftovers(); len(left) > 0 {
				t.Errorf("left behind: %s", strings.Join(left, " "))
			}
			// And it goes on by the log.
			if err := change(ctx, leader, 5, 100); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.SameHash(ctx, 30*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// change writes some keys over and over, deletes one, grants a lease and compacts.
func change(ctx context.Context, n *cluster.Node, puts, size int) error {
	kv := pb.NewKVClient(n.Conn())
	granted, err := pb.NewLeaseClient(n.Conn()).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: 5000})
	if err != nil {
		return err
	}
	for i := range puts {
		put := &pb.PutRequest{Key: fmt.Appendf(nil, "key/%d", i%7), Value: make([]byte, size), Lease: granted.ID * int64(i%2)}
		if _, err := kv.Put(ctx, put); err != nil {
			return err
		}
	}
	last, err := kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: []byte("key/3")})
	if err != nil {
		return err
	}
	if _, err := kv.Compact(ctx, &pb.CompactionRequest{Revision: last.Header.Revision - 2, Physical: true}); err != nil {
		return err
	}
	_, err = kv.Put(ctx, &pb.PutRequest{Key: []byte("last"), Value: []byte("x")})
	return err
}
