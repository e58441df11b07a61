package cluster

import (
	"context"
	"fmt"
	"os"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"kedge/tests/interop/member"
)

// changeLimit is how long a member change may be refused ("unhealthy cluster",
// "can only promote a learner member which is in sync with leader", no leader).
const changeLimit = 90 * time.Second

// retry repeats a change on one member after another until it isn't refused.
func (c *Cluster) retry(ctx context.Context, what string, change func(context.Context, pb.ClusterClient) error) error {
	deadline := time.Now().Add(changeLimit)
	for {
		n := c.Any()
		if n == nil {
			return fmt.Errorf("%s: no member runs", what)
		}
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := change(call, pb.NewClusterClient(n.conn))
		cancel()
		switch code := status.Code(err); {
		case err == nil:
			return nil
		case code == codes.InvalidArgument || code == codes.Unimplemented || ctx.Err() != nil || time.Now().After(deadline):
			return fmt.Errorf("%s through %s: %w", what, n, err)
		}
		if err := c.Dead(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// list is the membership as the cluster tells it.
func (c *Cluster) list(ctx context.Context) ([]*pb.Member, error) {
	var members []*pb.Member
	err := c.retry(ctx, "member list", func(ctx context.Context, client pb.ClusterClient) error {
		answer, err := client.MemberList(ctx, &pb.MemberListRequest{Linearizable: true})
		if err == nil {
			members = answer.Members
		}
		return err
	})
	return members, err
}

// find is the member with that peer URL, nil if there is none.
func (c *Cluster) find(ctx context.Context, n *Node) (*pb.Member, error) {
	members, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if len(m.PeerURLs) > 0 && m.PeerURLs[0] == "http://"+n.Peer {
			return m, nil
		}
	}
	return nil, nil
}

// AddLearner adds a new member as a learner and starts it.
func (c *Cluster) AddLearner(ctx context.Context, program string) (*Node, error) {
	n, err := c.newNode(program)
	if err != nil {
		return nil, err
	}
	err = c.retry(ctx, "member add --learner", func(call context.Context, client pb.ClusterClient) error {
		// An attempt before may have been taken although its answer was an error.
		if known, err := c.find(ctx, n); err != nil || known != nil {
			return err
		}
		_, err := client.MemberAdd(call, &pb.MemberAddRequest{PeerURLs: []string{"http://" + n.Peer}, IsLearner: true})
		return err
	})
	if err != nil {
		n.close(c.keep)
		return nil, err
	}
	return n, c.start(n)
}

// start starts a member that the cluster has been told of.
func (c *Cluster) start(n *Node) error {
	n.initial, n.state = initialCluster(append(c.Nodes(), n)), "existing"
	return n.Start()
}

// NewMember makes a member that the cluster doesn't know yet: the caller adds
// it, then lets it join.
func (c *Cluster) NewMember(program string) (*Node, error) { return c.newNode(program) }

// Join starts a new member, of which the cluster has been told by other means.
func (c *Cluster) Join(n *Node) error {
	if err := c.start(n); err != nil {
		return err
	}
	c.set(append(c.Nodes(), n))
	return nil
}

// Promote makes a voter of a learner as soon as it has caught up, and lets
// clients know it.
func (c *Cluster) Promote(ctx context.Context, n *Node) error {
	err := c.retry(ctx, "member promote", func(call context.Context, client pb.ClusterClient) error {
		if ended := n.Ended(); ended != "" {
			return status.Errorf(codes.InvalidArgument, "%s (%s) ended: %s\n%s", n, n.Program, ended, member.LastWords(n.Log()))
		}
		known, err := c.find(ctx, n)
		if err != nil {
			return err
		}
		if known == nil {
			return status.Errorf(codes.InvalidArgument, "%s is no member", n)
		}
		if !known.IsLearner {
			return nil
		}
		_, err = client.MemberPromote(call, &pb.MemberPromoteRequest{ID: known.ID})
		return err
	})
	if err != nil {
		return err
	}
	if err := n.WaitReady(ctx, StartLimit); err != nil {
		return err
	}
	c.set(append(c.Nodes(), n))
	return nil
}

// Remove removes a member, and expects its process to end by itself.
func (c *Cluster) Remove(ctx context.Context, n *Node) error {
	var kept []*Node
	for _, other := range c.Nodes() {
		if other != n {
			kept = append(kept, other)
		}
	}
	id := n.ID()
	// Clients first stop using it, as a careful operator would have it.
	c.set(kept)
	err := c.retry(ctx, "member remove", func(call context.Context, client pb.ClusterClient) error {
		known, err := c.find(ctx, n)
		if err != nil || known == nil {
			return err
		}
		id = known.ID
		_, err = client.MemberRemove(call, &pb.MemberRemoveRequest{ID: known.ID})
		return err
	})
	if err != nil {
		return fmt.Errorf("%s (%x): %w", n, id, err)
	}
	if err := n.WaitEnd(30 * time.Second); err != nil {
		n.close(c.keep)
		return fmt.Errorf("removed, but %w", err)
	}
	n.close(c.keep)
	return nil
}

// Replace puts a new member in an old one's place, through a learner.
func (c *Cluster) Replace(ctx context.Context, old *Node, program string) (*Node, error) {
	n, err := c.AddLearner(ctx, program)
	if err != nil {
		return nil, err
	}
	if err := c.Promote(ctx, n); err != nil {
		return nil, err
	}
	return n, c.Remove(ctx, old)
}

// Wipe is a disk that was lost: the member is stopped and its data is gone.
func (n *Node) Wipe() error {
	n.Kill()
	return os.RemoveAll(n.Data())
}
