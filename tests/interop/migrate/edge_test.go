package migrate

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
)

// refuses starts kedge on the member's data, and has it end with a reason that has this text.
func (b *bed) refuses(n *cluster.Node, text string) {
	b.t.Helper()
	b.check(n.Start())
	b.check(n.WaitEnd(20 * time.Second))
	log, err := os.ReadFile(n.Log())
	b.check(err)
	if !strings.Contains(string(log), text) {
		b.t.Errorf("it did not say %q: %s", text, log[max(0, len(log)-600):])
	}
	n.Kill()
}

// TestAnEtcdThatHasJustBegunIsTakenOver kills etcd between its first entries in
// the log and its first commit to the store, or a little later. Before them
// there is nothing to take over: etcd itself does not come back from that.
func TestAnEtcdThatHasJustBegunIsTakenOver(t *testing.T) {
	for _, version := range []string{"etcd35", "etcd36", "etcd"} {
		for _, later := range []time.Duration{0, 30 * time.Millisecond} {
			t.Run(fmt.Sprint(version, " ", later), func(t *testing.T) {
				b := newBed(t)
				n := b.cluster(b.old(version)).Nodes()[0]
				n.Kill()
				b.check(os.RemoveAll(n.Data()))
				led := n.Count("elected leader")
				b.check(n.Start())
				for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && n.Count("elected leader") == led; {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(later)
				n.Kill()
				b.restart(n, b.kedge)
				b.check(puts(b.ctx, n, "by-kedge", 5))
				members, err := pb.NewClusterClient(n.Conn()).MemberList(b.ctx, &pb.MemberListRequest{})
				b.check(err)
				if len(members.Members) != 1 || members.Members[0].Name != n.Name {
					t.Errorf("members %v", members.Members)
				}
			})
		}
	}
}

// TestAuthenticationIsNotLost: refused; switched off on demand for a member
// alone that was stopped in order; for nobody else.
func TestAuthenticationIsNotLost(t *testing.T) {
	b := newBed(t)
	n := b.cluster(b.etcd).Nodes()[0]
	b.check(fill(b.ctx, n.Conn()))
	before := b.read(n)
	b.check(passwordsWork(b.ctx, n.Conn()))
	n.Stop()
	n.Program = b.kedge
	b.refuses(n, "authentication is enabled in this cluster")
	b.restart(n, b.kedge+" --migrate-disable-auth")
	n.Program = b.kedge // without the flag from now on
	b.check(before.same(b.read(n)))
	n.Stop()
	b.restart(n, b.kedge)
	n.Stop()
	b.export(n)
	b.restart(n, b.etcd)
	b.check(before.same(b.read(n)))
	b.check(passwordsWork(b.ctx, n.Conn()))

	three := b.cluster(b.etcd, b.etcd, b.etcd)
	leader := three.Nodes()[0]
	b.check(fill(b.ctx, leader.Conn()))
	b.check(passwordsWork(b.ctx, leader.Conn()))
	leader.Stop()
	leader.Program = b.kedge + " --migrate-disable-auth"
	b.refuses(leader, "--migrate-disable-auth is for a cluster of one member, this one has 3")
}

// TestAnEtcd35RestartsBesideKedge: an etcd 3.5 publishes itself at each start by
// an entry of a form that later versions have not got any more.
func TestAnEtcd35RestartsBesideKedge(t *testing.T) {
	b := newBed(t)
	old := b.old("etcd35")
	c := b.cluster(old, old, old)
	nodes := c.Nodes()
	nodes[0].Stop()
	b.restart(nodes[0], b.kedge)
	for i, end := range []func(){nodes[1].Stop, nodes[2].Kill, nodes[0].Kill} {
		end()
		b.check(puts(b.ctx, nodes[i], "while", 5))
		n := nodes[(i+1)%3]
		b.restart(n, n.Program)
		b.sameEverywhere(c)
	}
	for _, n := range nodes {
		members, err := pb.NewClusterClient(n.Conn()).MemberList(b.ctx, &pb.MemberListRequest{})
		b.check(err)
		for _, m := range members.Members {
			if m.Name == "" || len(m.ClientURLs) != 1 {
				t.Errorf("%s says %v", n, m)
			}
		}
	}
	b.check(c.Dead())
}
