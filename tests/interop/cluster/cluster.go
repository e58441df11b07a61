package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/member"
)

// StartLimit bounds how long a member may take to serve, on a loaded machine.
const StartLimit = 60 * time.Second

// Options of a cluster.
type Options struct {
	Parent   string   // where the members' folders go
	Programs []string // one a member
	Flags    []string // for each member
	Network  *Network // nil: everything on loopback
	Keep     bool     // the folders stay
}

// Cluster is a set of members. Its list changes as members come and go.
type Cluster struct {
	home    string
	flags   []string
	network *Network
	keep    bool

	mu      sync.Mutex
	nodes   []*Node
	made    int // names are never used twice
	changed []func([]*Node)
}

// New starts a new cluster and waits until each member serves.
func New(ctx context.Context, o Options) (*Cluster, error) {
	// Another process may take a port between the look and the start.
	for range 3 {
		c, err := begin(ctx, o)
		if err == nil || !strings.Contains(err.Error(), "address already in use") {
			return c, err
		}
	}
	return begin(ctx, o)
}

func begin(ctx context.Context, o Options) (*Cluster, error) {
	home, err := os.MkdirTemp(o.Parent, "cluster-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{home: home, flags: o.Flags, network: o.Network, keep: o.Keep}
	var nodes []*Node
	for _, program := range o.Programs {
		n, err := c.newNode(program)
		if err != nil {
			c.Close()
			return nil, err
		}
		nodes = append(nodes, n)
		c.set(append(c.Nodes(), n))
	}
	for _, n := range nodes {
		n.initial, n.state = initialCluster(nodes), "new"
		if err := n.Start(); err != nil {
			c.Close()
			return nil, err
		}
	}
	if err := c.WaitReady(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func initialCluster(nodes []*Node) string {
	var pairs []string
	for _, n := range nodes {
		pairs = append(pairs, n.Name+"=http://"+n.Peer)
	}
	return strings.Join(pairs, ",")
}

// newNode makes a member that has not begun and is in no list.
func (c *Cluster) newNode(program string) (*Node, error) {
	c.mu.Lock()
	c.made++
	n := &Node{Name: fmt.Sprintf("m%d", c.made), Program: program, cluster: c}
	number := c.made
	c.mu.Unlock()
	n.home = filepath.Join(c.home, n.Name)
	if err := os.Mkdir(n.home, 0o700); err != nil {
		return nil, err
	}
	if c.network != nil {
		host, prefix, err := c.network.host(number)
		if err != nil {
			return nil, err
		}
		n.Client, n.Peer, n.prefix = host+":2379", host+":2380", prefix
	} else {
		client, err := member.FreePort()
		if err != nil {
			return nil, err
		}
		peer, err := member.FreePort()
		if err != nil {
			return nil, err
		}
		n.Client, n.Peer = fmt.Sprintf("127.0.0.1:%d", client), fmt.Sprintf("127.0.0.1:%d", peer)
	}
	var err error
	n.conn, err = n.Dial()
	return n, err
}

// Nodes are the members now.
func (c *Cluster) Nodes() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Node{}, c.nodes...)
}

func (c *Cluster) set(nodes []*Node) {
	c.mu.Lock()
	c.nodes = nodes
	changed := append([]func([]*Node){}, c.changed...)
	c.mu.Unlock()
	for _, f := range changed {
		f(append([]*Node{}, nodes...))
	}
}

// OnChange calls f with the members whenever their list has changed.
func (c *Cluster) OnChange(f func([]*Node)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = append(c.changed, f)
}

// Serving are the members whose process runs and isn't paused.
func (c *Cluster) Serving() []*Node {
	var serving []*Node
	for _, n := range c.Nodes() {
		if n.Serving() {
			serving = append(serving, n)
		}
	}
	return serving
}

// Any is a random member that serves, nil if none does.
func (c *Cluster) Any() *Node {
	serving := c.Serving()
	if len(serving) == 0 {
		return nil
	}
	return serving[rand.IntN(len(serving))]
}

// WaitReady waits until each member that runs serves linearizable reads.
func (c *Cluster) WaitReady(ctx context.Context) error {
	for _, n := range c.Serving() {
		if err := n.WaitReady(ctx, StartLimit); err != nil {
			return err
		}
	}
	return nil
}

// Leader waits for a member that takes itself for the leader of the highest
// term that any member knows. It also gives that term.
func (c *Cluster) Leader(ctx context.Context) (*Node, uint64, error) {
	deadline := time.Now().Add(StartLimit)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		var leader *Node
		var leaderTerm, highest uint64
		for _, n := range c.Serving() {
			status, err := n.Status(ctx)
			if err != nil {
				continue
			}
			highest = max(highest, status.RaftTerm)
			if status.Leader == status.Header.MemberId && status.RaftTerm >= leaderTerm {
				leader, leaderTerm = n, status.RaftTerm
			}
		}
		if leader != nil && leaderTerm == highest {
			return leader, leaderTerm, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, 0, errors.New("no leader")
}

// Follower is a random member that isn't the leader.
func (c *Cluster) Follower(leader *Node) *Node {
	var followers []*Node
	for _, n := range c.Serving() {
		if n != leader {
			followers = append(followers, n)
		}
	}
	return followers[rand.IntN(len(followers))]
}

// SameHash waits until all members have applied the same, and compares their
// HashKV at every revision from the compacted one up that the caller names; 0
// is the newest. It gives the hash.
func (c *Cluster) SameHash(ctx context.Context, limit time.Duration) (uint32, int64, error) {
	deadline := time.Now().Add(limit)
	for {
		hash, revision, err := c.sameHash(ctx)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return hash, revision, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *Cluster) sameHash(ctx context.Context) (uint32, int64, error) {
	nodes := c.Serving()
	if len(nodes) == 0 {
		return 0, 0, errors.New("no member runs")
	}
	current, err := pb.NewKVClient(nodes[0].conn).Range(ctx, &pb.RangeRequest{Key: []byte("ready")})
	if err != nil {
		return 0, 0, err
	}
	revision := current.Header.Revision
	var first *pb.HashKVResponse
	for _, n := range nodes {
		call, cancel := context.WithTimeout(ctx, 30*time.Second)
		answer, err := pb.NewMaintenanceClient(n.conn).HashKV(call, &pb.HashKVRequest{Revision: revision})
		cancel()
		if err != nil {
			return 0, 0, fmt.Errorf("HashKV of %s at %d: %w", n, revision, err)
		}
		if first == nil {
			first = answer
		} else if answer.Hash != first.Hash || answer.CompactRevision != first.CompactRevision {
			return 0, 0, fmt.Errorf("HashKV at %d: %s (%s) has %d compacted at %d, %s (%s) has %d compacted at %d", revision,
				nodes[0], nodes[0].Program, first.Hash, first.CompactRevision, n, n.Program, answer.Hash, answer.CompactRevision)
		}
	}
	return first.Hash, revision, nil
}

// Dead tells of members whose process ended without being told to.
func (c *Cluster) Dead() error {
	for _, n := range c.Nodes() {
		if ended := n.Ended(); ended != "" {
			return fmt.Errorf("%s (%s) ended: %s\n%s", n, n.Program, ended, member.LastWords(n.Log()))
		}
	}
	return nil
}

// Close ends all processes and removes their folders.
func (c *Cluster) Close() {
	for _, n := range c.Nodes() {
		n.close(c.keep)
	}
	if !c.keep {
		os.RemoveAll(c.home)
	}
}
