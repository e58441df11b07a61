package clients

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kedge/tests/interop/cluster"
)

// TestEtcdctlMembers has the official etcdctl add, promote, update, list and
// remove members of a cluster of three and move its leadership, on both servers.
func TestEtcdctlMembers(t *testing.T) {
	etcdctl := program(t, *etcdctlFlag)
	masks := slices.Concat(masks, ofThree, []mask{
		{regexp.MustCompile(`(http://)?127\.0\.0\.1:\d+`), "URL", "each member has its own ports"},
		{regexp.MustCompile(`\b(URL,)+URL\b`), "URL", "several of them"},
		{regexp.MustCompile(`(Member|from|to) +`), "$1 ", "as wide as an id"},
		{regexp.MustCompile(`cluster +[0-9a-f]{12,16}`), "cluster ID", "made from the peers' URLs"},
		{regexp.MustCompile(`_CLUSTER="[^"]*"`), `_CLUSTER="..."`, "in the order of ids"},
	})
	compare(t, three, masks, func(ctx context.Context, m *server, told *transcript) error {
		s := &shell{ctx: ctx, etcdctl: etcdctl, server: m, told: told, names: map[string]string{}}
		c := m.cluster
		for _, n := range c.Nodes() {
			s.know(n)
		}
		leader, _, err := c.Leader(ctx)
		if err != nil {
			return err
		}
		// What depends on who leads is told of the leader and a follower, not of m1, m2, m3.
		follower := c.Follower(leader)
		s.names[id(leader)], s.names[id(follower)] = "old-leader", "new-leader"
		s.at(leader, "move-leader {new-leader}")
		if now, _, err := c.Leader(ctx); err != nil || now != follower {
			return fmt.Errorf("%v leads after move-leader to %s: %w", now, follower, err)
		}
		s.at(leader, "move-leader {new-leader}")
		s.at(follower, "move-leader 1234")
		s.know(leader)
		s.know(follower)
		s.list("simple")

		if err := healthy(ctx); err != nil {
			return err
		}
		joining, err := c.NewMember(leader.Program)
		if err != nil {
			return err
		}
		add := "member add m4 --learner --peer-urls=http://" + joining.Peer
		added := s.quiet(add)
		found := regexp.MustCompile(`Member +([0-9a-f]+) added`).FindStringSubmatch(added)
		if found == nil {
			return fmt.Errorf("member add: %q", added)
		}
		s.names[found[1]] = "m4"
		told.add("> %s\n%s", add, s.renamed(added))
		s.list("simple")
		time.Sleep(1100 * time.Millisecond) // the id is a hash of the second, and the same id is another error
		s.run(add, "")
		s.run("member add m5 --learner --peer-urls=http://127.0.0.1:1", "")
		s.run("member promote {m4}", "")
		s.run("member promote 1234", "")
		s.run("member promote {m1}", "")
		if err := c.Join(joining); err != nil {
			return err
		}
		// It is not in sync at first; only that it gets there is the same on both.
		if err := s.until("member promote {m4}", "promoted in cluster"); err != nil {
			return err
		}
		if err := joining.WaitReady(ctx, cluster.StartLimit); err != nil {
			return err
		}
		s.list("simple")
		s.run("member update {m1} --peer-urls=http://127.0.0.1:1,http://127.0.0.1:2", "")
		s.list("simple")
		s.run("member update {m1} --peer-urls=http://"+c.Nodes()[0].Peer, "")
		s.run("member update 1234 --peer-urls=http://127.0.0.1:1", "")
		s.run("member remove 1234", "")
		if err := healthy(ctx); err != nil {
			return err
		}
		gone := c.Follower(follower)
		s.names[id(gone)] = "gone"
		s.at(follower, "member remove {gone}") // the one that goes may answer, or be gone: etcd does either
		if err := gone.WaitEnd(20 * time.Second); err != nil {
			return fmt.Errorf("the removed member: %w", err)
		}
		m.members = slices.DeleteFunc(append(m.members, joining), func(n *cluster.Node) bool { return n == gone })
		s.run("member remove {gone}", "")
		told.add("%d members", strings.Count(s.quiet("member list"), "started"))
		s.run("put a 1", "")
		s.run("get a", "")
		return ctx.Err()
	})
}

func id(n *cluster.Node) string { return fmt.Sprintf("%x", n.ID()) }

// know names a member in the transcript.
func (s *shell) know(n *cluster.Node) {
	s.names[id(n)] = n.Name
	s.names[fmt.Sprint(n.ID())] = n.Name + "-decimal"
}

// healthy is how long members must have seen each other before a change.
func healthy(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(6 * time.Second):
		return nil
	}
}

// at runs a command on one member.
func (s *shell) at(n *cluster.Node, line string) {
	members := s.server.members
	s.server.members, s.server.turn = []*cluster.Node{n}, 0
	s.run(line, "")
	s.server.members = members
}

// quiet runs a command that is not in the transcript.
func (s *shell) quiet(line string) string {
	other := *s
	other.told = &transcript{}
	return other.run(line, "")
}

// list is the member list in the order of names; etcd's is that of ids.
func (s *shell) list(format string) {
	lines := strings.Split(strings.TrimSpace(s.renamed(s.quiet("member list --write-out="+format))), "\n")
	slices.Sort(lines)
	s.told.add("> member list\n%s", strings.Join(lines, "\n"))
}

// until repeats a command until its output has a text.
func (s *shell) until(line, text string) error {
	for {
		out := s.quiet(line)
		if strings.Contains(out, text) {
			s.told.add("> at last %s\n%s", line, strings.TrimSpace(s.renamed(out)))
			return nil
		}
		if s.ctx.Err() != nil {
			return fmt.Errorf("%s: %s", line, out)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
