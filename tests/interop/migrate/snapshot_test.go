package migrate

import (
	"os"
	"path/filepath"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
)

// save has a tool save a snapshot of a member.
func (b *bed) save(tool string, n *cluster.Node, name string) string {
	b.t.Helper()
	path := filepath.Join(b.folder, name)
	b.run(tool, "--endpoints="+n.Client, "snapshot", "save", path)
	return path
}

// restore makes a cluster of these programs' own, stops it, and has a tool put
// the snapshot in the place of each member's data.
func (b *bed) restore(tool, file string, programs ...string) *cluster.Cluster {
	b.t.Helper()
	c := b.cluster(programs...)
	initial := ""
	for _, n := range c.Nodes() {
		n.Stop()
		initial += "," + n.Name + "=http://" + n.Peer
	}
	for _, n := range c.Nodes() {
		b.check(os.RemoveAll(n.Data()))
		b.run(tool, "snapshot", "restore", file, "--data-dir="+n.Data(), "--name="+n.Name, "--initial-cluster="+initial[1:],
			"--initial-advertise-peer-urls=http://"+n.Peer, "--initial-cluster-token=test")
	}
	for _, n := range c.Nodes() {
		b.check(n.Start())
	}
	b.check(c.WaitReady(b.ctx))
	return c
}

func (b *bed) sameStatus(file string) {
	b.t.Helper()
	etcd := b.run(filepath.Join(b.official, "etcdutl"), "-w", "json", "snapshot", "status", file)
	if own := b.kedgeutl("-w", "json", "snapshot", "status", file); own != etcd {
		b.t.Errorf("status of %s: kedgeutl %s, etcdutl %s", file, own, etcd)
	}
}

// TestASnapshotOfEtcdBecomesThreeMembers: etcd, etcdctl's file, kedgeutl, three kedges.
func TestASnapshotOfEtcdBecomesThreeMembers(t *testing.T) {
	for _, version := range []string{"etcd35", "etcd36", "etcd"} {
		t.Run(version, func(t *testing.T) {
			b := newBed(t)
			n := b.cluster(b.old(version)).Nodes()[0]
			b.check(fill(b.ctx, n.Conn()))
			before := b.read(n)
			file := b.save(filepath.Join(b.official, "etcdctl"), n, "etcd.db")
			n.Stop()
			b.sameStatus(file)
			c := b.restore(filepath.Join(b.beside, "kedgeutl"), file, b.kedge, b.kedge, b.kedge)
			for _, n := range c.Nodes() {
				b.check(before.same(b.read(n)))
			}
			members, err := pb.NewClusterClient(c.Nodes()[0].Conn()).MemberList(b.ctx, &pb.MemberListRequest{})
			b.check(err)
			if len(members.Members) != 3 {
				t.Errorf("members %v", members.Members)
			}
			b.check(disarm(b.ctx, c.Nodes()[1].Conn()))
			b.check(puts(b.ctx, c.Nodes()[1], "more", 10))
			b.sameEverywhere(c)
			b.check(c.Dead())
		})
	}
}

// TestASnapshotOfKedgeBecomesAnEtcd: an etcd's folder with users, kedge on it,
// kedgectl's file, etcdutl, an etcd; and three of them.
func TestASnapshotOfKedgeBecomesAnEtcd(t *testing.T) {
	b := newBed(t)
	n := b.cluster(b.etcd).Nodes()[0]
	b.check(fill(b.ctx, n.Conn()))
	before := b.read(n)
	n.Stop()
	b.restart(n, b.kedge)
	file := b.save(filepath.Join(b.beside, "kedgectl"), n, "kedge.db")
	n.Stop()
	b.sameStatus(file)
	c := b.restore(filepath.Join(b.official, "etcdutl"), file, b.etcd, b.etcd, b.etcd)
	for _, n := range c.Nodes() {
		b.check(before.same(b.read(n)))
	}
	b.check(disarm(b.ctx, c.Nodes()[1].Conn()))
	b.check(puts(b.ctx, c.Nodes()[1], "more", 10))
	b.sameEverywhere(c)
	b.check(passwordsWork(b.ctx, c.Nodes()[0].Conn()))
}
