package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"kedge/tests/interop/member"
)

var keysFlag = flag.Int("keys", 5000, "of the snapshot with many keys (tests/prove takes 1,000,000)")

const (
	saveLimit    = 5 * time.Minute
	valueBytes   = 256
	putsInATxn   = 100
	largeBytes   = 1536 * 1024
	requestLimit = 4 << 20
)

// newSaved takes requests as large as its snapshots are to have values.
func newSaved(t *testing.T) *snapshots {
	t.Helper()
	return newEmpty(t, saveLimit, fmt.Sprintf("--max-request-bytes=%d", requestLimit))
}

func putOp(key, value []byte) *pb.RequestOp {
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value}}}
}

// puts writes keys from and up to behind to, putsInATxn at a time, each with a value of so many bytes.
func (s *snapshots) puts(from, to, size int) {
	s.t.Helper()
	kv, random := pb.NewKVClient(s.conn), rand.New(rand.NewSource(int64(from)))
	inATxn := min(putsInATxn, max(1, (requestLimit-1000)/(size+100)))
	for at := from; at < to; at += inATxn {
		txn := &pb.TxnRequest{}
		for i := at; i < min(at+inATxn, to); i++ {
			value := make([]byte, size)
			random.Read(value)
			txn.Success = append(txn.Success, putOp(fmt.Appendf(nil, "key/%08d", i), value))
		}
		if _, err := kv.Txn(s.ctx, txn); err != nil {
			s.t.Fatal(err)
		}
	}
}

type status struct {
	Revision int64
	TotalKey int
	Version  string
}

// restoredEtcd has the official tool look at the file and restore it, and starts the official server on that.
func (s *snapshots) restoredEtcd(path string) (status, *grpc.ClientConn) {
	s.t.Helper()
	var told status
	s.sameStatus(path)
	if err := json.Unmarshal([]byte(s.must(s.etcdutl, "-w", "json", "snapshot", "status", path)), &told); err != nil {
		s.t.Fatal(err)
	}
	data := path + ".restored"
	s.must(s.etcdutl, "snapshot", "restore", path, "--data-dir="+data)
	peer, err := member.FreePort()
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := member.FreePort()
	if err != nil {
		s.t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", client)
	p, err := member.StartProcess(path+".log", append(strings.Fields(program(s.t, *referenceFlag)), "--data-dir="+data,
		"--listen-client-urls="+url, "--advertise-client-urls="+url, "--listen-peer-urls=http://127.0.0.1:"+fmt.Sprint(peer),
		"--initial-advertise-peer-urls=http://localhost:2380", "--initial-cluster=default=http://localhost:2380"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Stop(syscall.SIGKILL) })
	return told, dial(s.t, strings.TrimPrefix(url, "http://"))
}

func count(t *testing.T, ctx context.Context, conn *grpc.ClientConn) (int, int64) {
	t.Helper()
	r, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte{0}, RangeEnd: []byte{0}, CountOnly: true}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return int(r.Count), r.Header.Revision
}

func (s *snapshots) hashAt(conn *grpc.ClientConn, revision int64) *pb.HashKVResponse {
	s.t.Helper()
	r, err := pb.NewMaintenanceClient(conn).HashKV(s.ctx, &pb.HashKVRequest{Revision: revision}, grpc.WaitForReady(true))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// expectRestored saves, restores with etcd's programs, and compares what etcd then holds with what kedge has of that
// revision.
func (s *snapshots) expectRestored(keys int) *grpc.ClientConn {
	s.t.Helper()
	path := s.save(s.kedgectl, "backup.db")
	_, revision := count(s.t, s.ctx, s.conn)
	checkPages(s.t, path)
	told, etcd := s.restoredEtcd(path)
	got, restored := count(s.t, s.ctx, etcd)
	if got != keys || restored != revision {
		s.t.Errorf("etcd has %d keys at revision %d, expected %d at %d", got, restored, keys, revision)
	}
	if keys > 0 && told.Revision != revision {
		s.t.Errorf("etcdutl says %+v, expected revision %d", told, revision)
	}
	own, theirs := s.hashAt(s.conn, revision), s.hashAt(etcd, revision)
	if own.Hash != theirs.Hash || own.CompactRevision != theirs.CompactRevision {
		s.t.Errorf("hash of revision %d: kedge %v, etcd %v", revision, own, theirs)
	}
	return etcd
}

func TestASnapshotWithoutKeys(t *testing.T) {
	newSaved(t).expectRestored(0)
}

func TestASnapshotOfManyKeys(t *testing.T) {
	s := newSaved(t)
	s.puts(0, *keysFlag, valueBytes)
	s.expectRestored(*keysFlag)
}

func TestASnapshotOfLargeValues(t *testing.T) {
	s := newSaved(t)
	s.puts(0, 12, largeBytes)
	etcd := s.expectRestored(12)
	for i := range 12 {
		get := &pb.RangeRequest{Key: fmt.Appendf(nil, "key/%08d", i)}
		large := grpc.MaxCallRecvMsgSize(requestLimit)
		own, err := pb.NewKVClient(s.conn).Range(s.ctx, get, large)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := pb.NewKVClient(etcd).Range(s.ctx, get, large)
		if err != nil {
			t.Fatal(err)
		}
		if len(theirs.Kvs) != 1 || len(theirs.Kvs[0].Value) != largeBytes || !bytes.Equal(own.Kvs[0].Value, theirs.Kvs[0].Value) {
			t.Errorf("key %d has another value", i)
		}
	}
}

// TestASnapshotAfterCompaction: three of four revisions are gone, and a third of the keys.
func TestASnapshotAfterCompaction(t *testing.T) {
	s := newSaved(t)
	const keys = 3000
	for range 4 {
		s.puts(0, keys, valueBytes)
	}
	kv := pb.NewKVClient(s.conn)
	gone, err := kv.DeleteRange(s.ctx, &pb.DeleteRangeRequest{Key: []byte("key/00000000"), RangeEnd: []byte("key/00001000")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Compact(s.ctx, &pb.CompactionRequest{Revision: gone.Header.Revision, Physical: true}); err != nil {
		t.Fatal(err)
	}
	s.puts(keys-1, keys, valueBytes) // of the compacted revision itself a server remembers the hash that compacting took
	before := s.save(s.kedgectl, "before.db")
	etcd := s.expectRestored(keys - 1000)
	_, err = pb.NewKVClient(etcd).Range(s.ctx, &pb.RangeRequest{Key: []byte("key/00002000"), Revision: gone.Header.Revision - 1})
	if err == nil || !strings.Contains(err.Error(), "required revision has been compacted") {
		t.Errorf("a read below the compaction: %v", err)
	}
	if info, err := os.Stat(before); err != nil || info.Size() > 3*keys*(valueBytes+100) {
		t.Errorf("the compacted file: %v %v", info, err)
	}
}

// TestASnapshotBesideHeavyWrites: eight writers, each of a pair of keys with one value; a snapshot has both or none, and
// is of one revision.
func TestASnapshotBesideHeavyWrites(t *testing.T) {
	s := newSaved(t)
	s.puts(0, 2000, valueBytes)
	ctx, stop := context.WithCancel(s.ctx)
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			kv := pb.NewKVClient(s.conn)
			for n := 0; ctx.Err() == nil; n++ {
				value, txn := fmt.Appendf(make([]byte, 1000), "%d", n), &pb.TxnRequest{}
				for _, side := range []string{"left", "right"} {
					txn.Success = append(txn.Success, putOp(fmt.Appendf(nil, "pair/%d/%s", w, side), value))
				}
				if _, err := kv.Txn(ctx, txn); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer func() {
		stop()
		writers.Wait()
	}()
	var last int64
	for i := range 3 {
		time.Sleep(200 * time.Millisecond)
		path := s.save(s.kedgectl, fmt.Sprintf("%d.db", i))
		checkPages(t, path)
		told, etcd := s.restoredEtcd(path)
		if told.Revision <= last {
			t.Errorf("revision %d after %d", told.Revision, last)
		}
		last = told.Revision
		own, theirs := s.hashAt(s.conn, last), s.hashAt(etcd, last)
		if own.Hash != theirs.Hash {
			t.Errorf("hash of revision %d: kedge %v, etcd %v", last, own, theirs)
		}
		pairs, err := pb.NewKVClient(etcd).Range(s.ctx, &pb.RangeRequest{Key: []byte("pair/"), RangeEnd: []byte("pair0")})
		if err != nil || len(pairs.Kvs) != 16 {
			t.Fatalf("%d keys of pairs, %v", len(pairs.Kvs), err)
		}
		for k := 0; k < len(pairs.Kvs); k += 2 {
			left, right := pairs.Kvs[k], pairs.Kvs[k+1]
			if !bytes.Equal(left.Value, right.Value) || left.ModRevision != right.ModRevision || left.ModRevision > last {
				t.Errorf("half of a txn: %s at %d, %s at %d, of %d", left.Key, left.ModRevision, right.Key, right.ModRevision, last)
			}
		}
	}
}
