package migrate

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kedge/tests/interop/cluster"
	"kedge/tests/interop/member"
)

var (
	serverFlag = flag.String("server", "build/kedge", "the server under test; a relative path is taken from the project's root")
	binFlag    = flag.String("bin", "build/interop/bin", "folder of the official programs: etcd, etcd35, etcd36, etcdctl, etcdutl")
)

const scenarioLimit = 3 * time.Minute

// bed has the programs.
type bed struct {
	t              *testing.T
	ctx            context.Context
	kedge, beside  string
	etcd, official string
	folder         string
}

// newBed also lets tests run side by side: most of the time they wait for elections.
func newBed(t *testing.T) *bed {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), scenarioLimit)
	t.Cleanup(cancel)
	b := &bed{t: t, ctx: ctx, folder: t.TempDir()}
	var err error
	b.kedge, err = member.Program(*serverFlag)
	b.check(err)
	b.etcd, err = member.Program(filepath.Join(*binFlag, "etcd"))
	b.check(err)
	b.beside, b.official = filepath.Dir(b.kedge), filepath.Dir(b.etcd)
	return b
}

// old is an official server of another version. A test of one that was not built is left out.
func (b *bed) old(name string) string {
	b.t.Helper()
	path := filepath.Join(b.official, name)
	if _, err := os.Stat(path); err != nil {
		b.t.Skipf("%v: ../build.sh builds it", err)
	}
	return path
}

func (b *bed) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) run(program string, arguments ...string) string {
	b.t.Helper()
	out, err := member.Run(b.ctx, program, arguments...)
	b.check(err)
	return out
}

func (b *bed) kedgeutl(arguments ...string) string {
	b.t.Helper()
	return b.run(filepath.Join(b.beside, "kedgeutl"), arguments...)
}

func (b *bed) cluster(programs ...string) *cluster.Cluster {
	b.t.Helper()
	c, err := cluster.New(b.ctx, cluster.Options{Parent: b.folder, Programs: programs, Flags: []string{"--snapshot-count=60"}})
	b.check(err)
	b.t.Cleanup(c.Close)
	return c
}

func (b *bed) read(n *cluster.Node) *holdings {
	b.t.Helper()
	h, err := read(b.ctx, n.Conn(), n.Program != b.kedge)
	b.check(err)
	return h
}

// restart goes on with another program, on the data that is there.
func (b *bed) restart(n *cluster.Node, program string) {
	b.t.Helper()
	n.Program = program
	b.check(n.Start())
	b.check(n.WaitReady(b.ctx, cluster.StartLimit))
}

// export puts etcd's folder in the place of kedge's; the member is stopped.
func (b *bed) export(n *cluster.Node) {
	b.t.Helper()
	b.check(os.Rename(n.Data(), n.Data()+".kedge"))
	b.kedgeutl("export", n.Data()+".kedge", n.Data())
}

// puts writes some keys; while a leader is elected it tries again.
func puts(ctx context.Context, n *cluster.Node, name string, count int) error {
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; i < count; i++ {
		put := &pb.PutRequest{Key: fmt.Appendf(nil, "%s/%d", name, i), Value: make([]byte, 100*i)}
		_, err := pb.NewKVClient(n.Conn()).Put(ctx, put)
		if status.Code(err) == codes.Unavailable && time.Now().Before(deadline) {
			time.Sleep(50 * time.Millisecond)
			i--
		} else if err != nil {
			return err
		}
	}
	return nil
}

// --- one member's folder, there and back ---

// TestADataFolderIsTakenOver has each version of etcd leave a folder, in order
// or killed, kedge take it over and go on, and etcd 3.7 take over what kedge
// exports.
func TestADataFolderIsTakenOver(t *testing.T) {
	for _, version := range []string{"etcd35", "etcd36", "etcd"} {
		for _, end := range []string{"stopped", "killed"} {
			t.Run(version+" "+end, func(t *testing.T) {
				b := newBed(t)
				n := b.cluster(b.old(version)).Nodes()[0]
				b.check(fill(b.ctx, n.Conn()))
				before := b.read(n)
				if end == "killed" {
					n.Kill()
				} else {
					n.Stop()
				}
				b.restart(n, b.kedge)
				b.check(before.same(b.read(n)))
				if n.Count("converted the store of etcd") != 1 {
					t.Errorf("it was not converted\n%s", member.LastWords(n.Log()))
				}
				b.check(disarm(b.ctx, n.Conn()))
				b.check(puts(b.ctx, n, "by-kedge", 20))
				at := b.read(n)
				n.Kill()
				b.export(n)
				b.restart(n, b.etcd)
				back := b.read(n)
				b.check(at.same(back))
				// What kedge cannot be asked for is what it was.
				at.parts["users"], at.parts["roles"] = before.parts["users"], before.parts["roles"]
				b.check(at.same(back))
				b.check(puts(b.ctx, n, "by-etcd", 20))
				b.check(passwordsWork(b.ctx, n.Conn()))
			})
		}
	}
}

// TestAClusterIsMovedMemberByMember replaces each member's program in place
// while the others serve, there and back. Members of both kinds have the same
// history at each step.
func TestAClusterIsMovedMemberByMember(t *testing.T) {
	for _, version := range []string{"etcd35", "etcd36", "etcd"} {
		t.Run(version, func(t *testing.T) {
			b := newBed(t)
			old := b.old(version)
			c := b.cluster(old, old, old)
			b.check(fill(b.ctx, c.Nodes()[0].Conn()))
			b.check(disarm(b.ctx, c.Nodes()[0].Conn()))
			b.check(puts(b.ctx, c.Nodes()[1], "etcd", 20))
			before := b.read(c.Nodes()[0])
			for i, n := range c.Nodes() {
				n.Stop()
				b.check(puts(b.ctx, c.Nodes()[(i+1)%3], "there", 10))
				b.restart(n, b.kedge)
				b.sameEverywhere(c)
			}
			leases := b.read(c.Nodes()[0]).parts["leases"]
			if fmt.Sprint(leases) != fmt.Sprint(before.parts["leases"]) {
				t.Errorf("leases %v, were %v", leases, before.parts["leases"])
			}
			for i, n := range c.Nodes() {
				n.Stop()
				b.check(puts(b.ctx, c.Nodes()[(i+1)%3], "back", 10))
				b.export(n)
				b.restart(n, b.etcd)
				b.sameEverywhere(c)
			}
			after := b.read(c.Nodes()[2])
			for _, part := range []string{"leases", "users", "roles"} {
				if fmt.Sprint(after.parts[part]) != fmt.Sprint(before.parts[part]) {
					t.Errorf("%s %v, were %v", part, after.parts[part], before.parts[part])
				}
			}
			b.check(c.Dead())
		})
	}
}

func (b *bed) sameEverywhere(c *cluster.Cluster) {
	b.t.Helper()
	b.check(c.WaitReady(b.ctx))
	_, _, err := c.SameHash(b.ctx, 30*time.Second)
	b.check(err)
}
