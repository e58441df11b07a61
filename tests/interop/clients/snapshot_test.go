package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"kedge/tests/interop/member"
)

// snapshots is a server with something in each bucket that clients can fill,
// and the programs around it.
type snapshots struct {
	t                                    *testing.T
	ctx                                  context.Context
	server                               *member.Member
	kedgectl, kedgeutl, etcdctl, etcdutl string
	folder                               string
	conn                                 *grpc.ClientConn
}

func dial(t *testing.T, endpoint string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// newEmpty is a kedge with nothing in it, for at most so long.
func newEmpty(t *testing.T, limit time.Duration, flags ...string) *snapshots {
	t.Helper()
	own := program(t, *serverFlag)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	m, err := member.New(t.TempDir(), "kedge", strings.Join(append([]string{own}, flags...), " "))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s := &snapshots{t: t, ctx: ctx, server: m, folder: t.TempDir(), conn: dial(t, m.Endpoint)}
	s.programs(own)
	return s
}

func newSnapshots(t *testing.T) *snapshots {
	t.Helper()
	s := newEmpty(t, scenarioLimit)
	s.fill()
	return s
}

// programs are those beside the server, and the official ones.
func (s *snapshots) programs(server string) {
	beside, etcdctl := filepath.Dir(strings.Fields(server)[0]), program(s.t, *etcdctlFlag)
	s.kedgectl, s.kedgeutl = filepath.Join(beside, "kedgectl"), filepath.Join(beside, "kedgeutl")
	s.etcdctl, s.etcdutl = etcdctl, filepath.Join(filepath.Dir(etcdctl), "etcdutl")
}

// fill writes keys of many sizes, deletes some, compacts half of it, grants a lease and raises an alarm.
func (s *snapshots) fill() {
	kv, lease := pb.NewKVClient(s.conn), pb.NewLeaseClient(s.conn)
	random := rand.New(rand.NewSource(1))
	must := func(_ any, err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	must(lease.LeaseGrant(s.ctx, &pb.LeaseGrantRequest{ID: 7, TTL: 5000}))
	var revision int64
	for i := range 600 {
		value := make([]byte, random.Intn(1<<random.Intn(15)))
		random.Read(value)
		r, err := kv.Put(s.ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "key/%d", i%200), Value: value, Lease: int64(i % 2 * 7)})
		must(r, err)
		if i == 300 {
			revision = r.Header.Revision
		}
	}
	must(kv.DeleteRange(s.ctx, &pb.DeleteRangeRequest{Key: []byte("key/1"), RangeEnd: []byte("key/2")}))
	must(kv.Compact(s.ctx, &pb.CompactionRequest{Revision: revision, Physical: true}))
	must(kv.Put(s.ctx, &pb.PutRequest{Key: []byte("big"), Value: make([]byte, 1<<20)}))
	must(pb.NewMaintenanceClient(s.conn).Alarm(s.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_ACTIVATE, MemberID: 5, Alarm: pb.AlarmType_CORRUPT}))
}

func (s *snapshots) run(name string, arguments ...string) (string, error) {
	return member.Run(s.ctx, name, arguments...)
}

func (s *snapshots) must(name string, arguments ...string) string {
	s.t.Helper()
	out, err := s.run(name, arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *snapshots) path(name string) string { return filepath.Join(s.folder, name) }

// save has a program save a snapshot, and checks what it leaves behind.
func (s *snapshots) save(program, name string) string {
	s.t.Helper()
	path := s.path(name)
	s.must(program, "--endpoints="+s.server.Endpoint, "snapshot", "save", path)
	info, err := os.Stat(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		s.t.Errorf("%s has mode %v", name, info.Mode())
	}
	if _, err := os.Stat(path + ".part"); !errors.Is(err, os.ErrNotExist) {
		s.t.Errorf("%s.part is left behind: %v", name, err)
	}
	return path
}

// checkPages is bbolt's own check of the pages, and a read of all that is in them.
func checkPages(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var buckets []string
	err = db.View(func(tx *bolt.Tx) error {
		for problem := range tx.Check() {
			t.Errorf("%s: %v", filepath.Base(path), problem)
		}
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			buckets = append(buckets, string(name))
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "alarm auth authRoles authUsers cluster key lease members members_removed meta"
	if got := strings.Join(buckets, " "); got != want {
		t.Errorf("buckets %q, expected %q", got, want)
	}
}

func (s *snapshots) sameStatus(path string) {
	s.t.Helper()
	for _, format := range []string{"simple", "fields", "json", "table"} {
		own := s.must(s.kedgeutl, "-w", format, "snapshot", "status", path)
		etcd := s.must(s.etcdutl, "-w", format, "snapshot", "status", path)
		if own != etcd {
			s.t.Errorf("status of %s as %s\nkedgeutl %q\netcdutl  %q", filepath.Base(path), format, own, etcd)
		}
	}
}

// TestSnapshotsAreBboltFiles saves with both clients and asks both tools, and
// bbolt, what they have got.
func TestSnapshotsAreBboltFiles(t *testing.T) {
	s := newSnapshots(t)
	first, second := s.save(s.etcdctl, "etcdctl.db"), s.save(s.kedgectl, "kedgectl.db")
	for _, path := range []string{first, second} {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content[:len(content)-sha256.Size])
		if !bytes.Equal(sum[:], content[len(content)-sha256.Size:]) {
			t.Errorf("%s does not end with its checksum", path)
		}
		checkPages(t, path)
		s.sameStatus(path)
	}
	// The other way round: what etcd's tools say of an etcd's snapshot, kedgeutl says too.
	m, err := member.New(t.TempDir(), "etcd", program(t, *referenceFlag))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s.server, s.conn = m, dial(t, m.Endpoint)
	s.fill()
	s.sameStatus(s.save(s.kedgectl, "of-etcd.db"))
}

// TestSnapshotMessages looks at the stream itself: sizes of the pieces, what
// remains, the version, the checksum as a message of its own.
func TestSnapshotMessages(t *testing.T) {
	s := newSnapshots(t)
	stream, err := pb.NewMaintenanceClient(s.conn).Snapshot(s.ctx, &pb.SnapshotRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var content []byte
	var total uint64
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Header != nil || r.Version != "3.7.0" {
			t.Fatalf("header %v, version %q", r.Header, r.Version)
		}
		if total == 0 {
			total = uint64(len(r.Blob)) + r.RemainingBytes
		}
		content = append(content, r.Blob...)
		if uint64(len(content)) <= total {
			if uint64(len(content))+r.RemainingBytes != total {
				t.Fatalf("%d bytes came, %d remain, of %d", len(content), r.RemainingBytes, total)
			}
			if r.RemainingBytes > 0 && len(r.Blob) != 32768 {
				t.Fatalf("a piece of %d bytes", len(r.Blob))
			}
		} else if r.RemainingBytes != 0 || len(r.Blob) != sha256.Size {
			t.Fatalf("the last message has %d bytes, %d remain", len(r.Blob), r.RemainingBytes)
		}
	}
	sum := sha256.Sum256(content[:total])
	if !bytes.Equal(sum[:], content[total:]) {
		t.Error("the last message is not the checksum")
	}
}

// TestEtcdStartsFromASnapshot restores with the official tool, starts the
// official server on it, compares what both hold, and lets etcd write on.
func TestEtcdStartsFromASnapshot(t *testing.T) {
	s := newSnapshots(t)
	path := s.save(s.kedgectl, "backup.db")
	data := s.path("restored")
	peer, err := member.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	client, err := member.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	peerURL, clientURL := fmt.Sprintf("http://127.0.0.1:%d", peer), fmt.Sprintf("http://127.0.0.1:%d", client)
	s.must(s.etcdutl, "snapshot", "restore", path, "--data-dir="+data, "--name=r", "--initial-cluster=r="+peerURL,
		"--initial-advertise-peer-urls="+peerURL)
	p, err := member.StartProcess(s.path("log"), append(strings.Fields(program(t, *referenceFlag)), "--name=r", "--data-dir="+data,
		"--listen-client-urls="+clientURL, "--advertise-client-urls="+clientURL, "--listen-peer-urls="+peerURL,
		"--initial-advertise-peer-urls="+peerURL))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(syscall.SIGKILL)
	conn := dial(t, strings.TrimPrefix(clientURL, "http://"))
	kv, maintenance := pb.NewKVClient(conn), pb.NewMaintenanceClient(conn)
	own, err := pb.NewMaintenanceClient(s.conn).HashKV(s.ctx, &pb.HashKVRequest{})
	if err != nil {
		t.Fatal(err)
	}
	restored, err := maintenance.HashKV(s.ctx, &pb.HashKVRequest{Revision: own.HashRevision}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err, member.LastWords(s.path("log")))
	}
	if restored.Hash != own.Hash || restored.CompactRevision != own.CompactRevision {
		t.Errorf("kedge %v, restored etcd %v", own, restored)
	}
	// The alarm came along: it is taken back first, then there is room for writes among the old pages.
	if _, err := maintenance.Alarm(s.ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: 5, Alarm: pb.AlarmType_CORRUPT}); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if _, err := kv.Put(s.ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "key/%d", i), Value: make([]byte, i*10)}); err != nil {
			t.Fatal(err)
		}
	}
	last, err := kv.DeleteRange(s.ctx, &pb.DeleteRangeRequest{Key: []byte("key/"), RangeEnd: []byte("key0")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Compact(s.ctx, &pb.CompactionRequest{Revision: last.Header.Revision, Physical: true}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	p.Stop(syscall.SIGTERM)
	checkPages(t, filepath.Join(data, "member", "snap", "db"))
}
