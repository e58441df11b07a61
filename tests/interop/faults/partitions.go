package main

import (
	"errors"
	"fmt"
	"time"

	"kedge/tests/interop/cluster"
)

// A shape is how the network between three members is cut. The first node is the
// leader, b and c are the followers in random order.
type shape struct {
	name string
	cut  func(w *cluster.Network, leader, b, c *cluster.Node) error
	// Whether a majority that includes a leader, old or new, must be able to serve; and who.
	serves func(leader, b, c *cluster.Node) []*cluster.Node
	// The leader's term must still be the cluster's after it has healed: nobody but the one cut off missed the leader.
	keepsTerm bool
}

var shapes = []shape{
	{name: "the leader alone",
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.CutBoth(leader, b), w.CutBoth(leader, c))
		},
		serves: func(_, b, c *cluster.Node) []*cluster.Node { return []*cluster.Node{b, c} }},
	{name: "a follower alone", keepsTerm: true,
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.CutBoth(leader, b), w.CutBoth(c, b))
		},
		serves: func(leader, _, c *cluster.Node) []*cluster.Node { return []*cluster.Node{leader, c} }},
	{name: "each alone",
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.CutBoth(leader, b), w.CutBoth(leader, c), w.CutBoth(b, c))
		}},
	{name: "the leader is not heard",
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.Cut(leader, b), w.Cut(leader, c))
		},
		serves: func(_, b, c *cluster.Node) []*cluster.Node { return []*cluster.Node{b, c} }},
	{name: "the leader hears nobody",
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.Cut(b, leader), w.Cut(c, leader))
		},
		serves: func(_, b, c *cluster.Node) []*cluster.Node { return []*cluster.Node{b, c} }},
	{name: "a follower is not heard", keepsTerm: true,
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.Cut(b, leader), w.Cut(b, c))
		},
		serves: func(leader, _, c *cluster.Node) []*cluster.Node { return []*cluster.Node{leader, c} }},
	{name: "a follower hears nobody", keepsTerm: true,
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.Cut(leader, b), w.Cut(c, b))
		},
		serves: func(leader, _, c *cluster.Node) []*cluster.Node { return []*cluster.Node{leader, c} }},
	{name: "leader and a follower don't see each other, both see the third", keepsTerm: true,
		cut:    func(w *cluster.Network, leader, b, _ *cluster.Node) error { return w.CutBoth(leader, b) },
		serves: func(leader, _, c *cluster.Node) []*cluster.Node { return []*cluster.Node{leader, c} }},
	{name: "the followers don't see each other, both see the leader", keepsTerm: true,
		cut:    func(w *cluster.Network, _, b, c *cluster.Node) error { return w.CutBoth(b, c) },
		serves: func(leader, b, c *cluster.Node) []*cluster.Node { return []*cluster.Node{leader, b, c} }},
	{name: "in a ring, each hears only the one before it",
		cut: func(w *cluster.Network, leader, b, c *cluster.Node) error {
			return errors.Join(w.Cut(leader, c), w.Cut(c, b), w.Cut(b, leader))
		}},
}

// partition cuts, waits until those who can serve do, stays so for a while,
// heals and waits until all serve.
func (s *session) partition() error {
	w := s.options.network
	leader, term, err := s.cluster.Leader(s.ctx)
	if err != nil {
		return err
	}
	var rest []*cluster.Node
	for _, n := range s.cluster.Nodes() {
		if n != leader {
			rest = append(rest, n)
		}
	}
	b, c := rest[0], rest[1]
	if s.random.IntN(2) == 0 {
		b, c = c, b
	}
	shape := shapes[s.options.shape%len(shapes)]
	s.options.shape++
	s.load.NextEpoch()
	begun := time.Now()
	if err := shape.cut(w, leader, b, c); err != nil {
		return errors.Join(err, w.Heal(s.cluster.Nodes()))
	}
	if shape.serves != nil {
		able := shape.serves(leader, b, c)
		taken, err := s.load.Probe(s.ctx, func() []*cluster.Node { return able }, begun, s.options.limit)
		s.figures.add(taken)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", shape.name, err), w.Heal(s.cluster.Nodes()))
		}
	}
	s.sleep(s.options.election, 5*s.options.election)
	if err := w.Heal(s.cluster.Nodes()); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return fmt.Errorf("after %s: %w", shape.name, err)
	}
	_, after, err := s.cluster.Leader(s.ctx)
	if err == nil && shape.keepsTerm && after != term {
		s.note("%s: the term went from %d to %d", shape.name, term, after)
	}
	return err
}
