package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
)

// A scenario is a round that is done again and again to a session, or (steps)
// one course of changes.
type scenario struct {
	name    string
	text    string
	round   func(*session) error
	steps   func(*session) error
	network bool
}

var scenarios = []scenario{
	{name: "leader-kill", text: "SIGKILL to the leader", round: (*session).leaderKill},
	{name: "any-kill", text: "SIGKILL to any member", round: (*session).anyKill},
	{name: "all-kill", text: "SIGKILL to all members at once", round: (*session).allKill},
	{name: "leader-pause", text: "SIGSTOP and SIGCONT to the leader", round: (*session).leaderPause},
	{name: "failover", text: "any of these, a leader's transfer, SIGTERM", round: (*session).failover},
	{name: "grow-shrink", text: "three to five members, each old one replaced through a learner, back to three", steps: (*session).growShrink},
	{name: "rolling", text: "each member replaced by one of -other, then back", steps: (*session).rolling},
	{name: "image", text: "a member that was away too long comes up by an image, on which both ends are killed", steps: (*session).image},
	{name: "partitions", text: "network namespaces, partitions of every shape", round: (*session).partition, network: true},
	{name: "steady", text: "no fault at all", round: (*session).steady},
}

// killAndRestart kills some members at once, measures until the others serve
// (or all that were restarted, if there are no others), and starts them again.
func (s *session) killAndRestart(victims []*cluster.Node) error {
	s.load.NextEpoch()
	begun := time.Now()
	done := make(chan struct{})
	for _, n := range victims {
		go func() { n.Kill(); done <- struct{}{} }()
	}
	for range victims {
		<-done
	}
	others := len(s.cluster.Serving()) > 0
	restart := func() error {
		for _, n := range victims {
			if err := n.Start(); err != nil {
				return err
			}
		}
		return nil
	}
	if !others {
		s.sleep(0, 300*time.Millisecond)
		begun = time.Now() // the cluster can't serve before
		if err := restart(); err != nil {
			return err
		}
	}
	taken, err := s.load.Probe(s.ctx, s.cluster.Serving, begun, s.options.limit)
	s.figures.add(taken)
	if err == nil && others {
		s.sleep(0, 500*time.Millisecond)
		err = restart()
	}
	return errors.Join(err, s.settle())
}

// settle waits until all members serve, and a moment more.
func (s *session) settle() error {
	if err := s.cluster.WaitReady(s.ctx); err != nil {
		return err
	}
	s.sleep(100*time.Millisecond, 700*time.Millisecond)
	return s.cluster.Dead()
}

func (s *session) leaderKill() error {
	leader, _, err := s.cluster.Leader(s.ctx)
	if err != nil {
		return err
	}
	return s.killAndRestart([]*cluster.Node{leader})
}

func (s *session) anyKill() error {
	nodes := s.cluster.Nodes()
	return s.killAndRestart([]*cluster.Node{nodes[s.random.IntN(len(nodes))]})
}

func (s *session) allKill() error { return s.killAndRestart(s.cluster.Nodes()) }

// leaderPause stops the leader, mostly for longer than the others wait for it,
// at times for less.
func (s *session) leaderPause() error {
	leader, _, err := s.cluster.Leader(s.ctx)
	if err != nil {
		return err
	}
	s.load.NextEpoch()
	begun := time.Now()
	if err := leader.Pause(); err != nil {
		return err
	}
	if s.random.IntN(5) == 0 {
		s.sleep(s.options.election/10, s.options.election)
	} else {
		var taken time.Duration
		taken, err = s.load.Probe(s.ctx, s.cluster.Serving, begun, s.options.limit)
		s.figures.add(taken)
		s.sleep(0, 2*s.options.election)
	}
	return errors.Join(err, leader.Resume(), s.settle())
}

// transfer moves the leadership to a follower; it measures like a fault.
func (s *session) transfer() error {
	leader, _, err := s.cluster.Leader(s.ctx)
	if err != nil {
		return err
	}
	target := s.cluster.Follower(leader)
	if _, err := target.Status(s.ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.options.limit)
	defer cancel()
	_, err = pb.NewMaintenanceClient(leader.Conn()).MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: target.ID()})
	if err != nil {
		return fmt.Errorf("move leader from %s to %s: %w", leader, target, err)
	}
	return s.settle()
}

// terminate is what an operator does to any member.
func (s *session) terminate() error {
	n := s.cluster.Any()
	n.Stop()
	s.sleep(0, 500*time.Millisecond)
	return errors.Join(n.Start(), s.settle())
}

func (s *session) failover() error {
	return []func(*session) error{(*session).leaderKill, (*session).leaderPause, (*session).anyKill, (*session).transfer,
		(*session).terminate, (*session).leaderKill, (*session).allKill}[s.random.IntN(7)](s)
}

func (s *session) steady() error {
	s.load.NextEpoch()
	s.sleep(time.Second, time.Second)
	return s.cluster.Dead()
}

// --- members come and go ---

func (s *session) growShrink() error {
	old := s.cluster.Nodes()
	for range 2 {
		if err := s.grow(old[0].Program); err != nil {
			return err
		}
	}
	for _, n := range old {
		s.load.NextEpoch()
		if _, err := s.cluster.Replace(s.ctx, n, n.Program); err != nil {
			return fmt.Errorf("replacing %s: %w", n, err)
		}
	}
	for range 2 {
		s.load.NextEpoch()
		nodes := s.cluster.Nodes()
		// The leader too, at times.
		if err := s.cluster.Remove(s.ctx, nodes[s.random.IntN(len(nodes))]); err != nil {
			return err
		}
	}
	s.note("%d members at the end", len(s.cluster.Nodes()))
	return s.settle()
}

func (s *session) grow(program string) error {
	s.load.NextEpoch()
	n, err := s.cluster.AddLearner(s.ctx, program)
	if err != nil {
		return err
	}
	return s.cluster.Promote(s.ctx, n)
}

// rolling moves the cluster to other programs and back, member by member; while
// it is mixed, the hashes must be equal.
func (s *session) rolling() error {
	there := s.options.other
	back := s.cluster.Nodes()[0].Program
	for _, program := range []string{there, back} {
		for _, old := range s.cluster.Nodes() {
			s.load.NextEpoch()
			n, err := s.cluster.Replace(s.ctx, old, program)
			if err != nil {
				return fmt.Errorf("%s (%s) in the place of %s (%s): %w", "a new member", program, old, old.Program, err)
			}
			if _, _, err := s.cluster.SameHash(s.ctx, 60*time.Second); err != nil {
				return err
			}
			if err := s.settle(); err != nil {
				return fmt.Errorf("after %s came: %w", n, err)
			}
		}
	}
	return nil
}

// image leaves a member behind for longer than the others keep their logs, so
// that it needs an image of the store, and cuts the first transfers short.
func (s *session) image() error {
	leader, _, err := s.cluster.Leader(s.ctx)
	if err != nil {
		return err
	}
	away := s.cluster.Follower(leader)
	away.Kill()
	s.load.Past.Store(50) // or each watch of the past would be told all of it
	// Segments have 64 MB, and with -max-wals=1 all are gone but the newest.
	if err := s.load.Fill(s.ctx, 500, 400_000); err != nil {
		return err
	}
	for i := range 6 {
		s.load.NextEpoch()
		if err := away.Start(); err != nil {
			return err
		}
		s.sleep(0, 600*time.Millisecond)
		victim := away
		if i%3 == 2 {
			if victim, _, err = s.cluster.Leader(s.ctx); err != nil {
				return err
			}
			victim.Kill()
			if err := victim.Start(); err != nil {
				return err
			}
		}
		away.Kill()
		s.sleep(0, 200*time.Millisecond)
	}
	begun := time.Now()
	if err := away.Start(); err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	s.note("caught up after %.1f s, by %d images that were begun", time.Since(begun).Seconds(), away.Count("receiving database snapshot"))
	if left := away.Leftovers(); len(left) > 0 {
		return fmt.Errorf("what is left of transfers: %v", left)
	}
	return nil
}
