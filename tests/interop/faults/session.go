package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
	"kedge/tests/interop/history"
)

// session is one cluster under load, from its begin to the judgement of all that
// its clients were told.
type session struct {
	ctx     context.Context
	options *options
	random  *rand.Rand
	cluster *cluster.Cluster
	history *history.History
	load    *history.Load
	figures *figures
	notes   []string // what is worth a word beside the figures

	stopWatches context.CancelFunc
	background  sync.WaitGroup
}

func beginSession(ctx context.Context, o *options, programs []string, seed uint64, network *cluster.Network) (*session, error) {
	flags := []string{"--heartbeat-interval=" + fmt.Sprint(o.election.Milliseconds()/10), "--election-timeout=" + fmt.Sprint(o.election.Milliseconds()),
		"--snapshot-count=" + fmt.Sprint(o.snapshotCount), "--log-level=info"}
	// Whoever was away comes up to date by the log on every other cluster, mostly by an image on those between.
	catchUp := []int{200, 5000}[seed%2]
	flags = append(flags, "--snapshot-catchup-entries="+fmt.Sprint(catchUp), "--max-wals=1")
	c, err := cluster.New(ctx, cluster.Options{Parent: o.folder, Programs: programs, Flags: flags, Network: network, Keep: o.keep})
	if err != nil {
		return nil, err
	}
	s := &session{ctx: ctx, options: o, cluster: c, history: history.New(), random: rand.New(rand.NewPCG(seed, 1))}
	s.load = &history.Load{Cluster: c, History: s.history, Clients: o.clients, Think: o.think, Keys: 8, Timeout: 3 * time.Second}
	s.load.Past.Store(o.kept / 4)
	watching, stop := context.WithCancel(ctx)
	s.stopWatches = stop
	for _, kind := range []history.WatchKind{
		{Name: "staying", Stay: true, Previous: true},
		{Name: "staying, with progress", Stay: true, Progress: true},
		{Name: "moving", Previous: true, Fragment: true},
		{Name: "moving, of a prefix", Prefix: "k/"},
		{Name: "the Go client's"},
		{Name: "the Go client's, of a prefix", Prefix: "k/", Previous: true, Official: true},
	} {
		kind.Official = kind.Official || kind.Name == "the Go client's"
		s.history.StartWatch(watching, c, kind, 2, 0)
	}
	s.load.Start(ctx, watching, seed)
	s.background.Go(func() { s.compact(watching) })
	return s, nil
}

// compact keeps the newest revisions, many enough for a watch that was cut off
// for a while.
func (s *session) compact(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Second):
		}
		n := s.cluster.Any()
		if n == nil {
			continue
		}
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		if answer, err := pb.NewKVClient(n.Conn()).Range(call, &pb.RangeRequest{Key: []byte("x")}); err == nil && answer.Header.Revision > s.options.kept {
			_, _ = pb.NewKVClient(n.Conn()).Compact(call, &pb.CompactionRequest{Revision: answer.Header.Revision - s.options.kept})
		}
		cancel()
	}
}

// end stops the load and judges.
func (s *session) end() (*history.Verdict, error) {
	defer s.cluster.Close()
	defer s.stopWatches()
	s.load.Stop()
	if err := s.cluster.WaitReady(s.ctx); err != nil {
		return nil, err
	}
	n := s.cluster.Any()
	answer, err := pb.NewKVClient(n.Conn()).Range(s.ctx, &pb.RangeRequest{Key: []byte("x")})
	if err != nil {
		return nil, err
	}
	upTo := answer.Header.Revision
	s.history.WaitWatches(upTo, 60*time.Second)
	_, _, hashError := s.cluster.SameHash(s.ctx, 60*time.Second)
	s.stopWatches()
	s.history.WaitWatchesEnd()
	s.background.Wait()
	verdict := s.history.Check(upTo, s.options.leases)
	if hashError != nil {
		verdict.Failures = append(verdict.Failures, hashError.Error())
	}
	if err := s.cluster.Dead(); err != nil {
		verdict.Failures = append(verdict.Failures, err.Error())
	}
	return verdict, nil
}

// sleep a random time between two.
func (s *session) sleep(from, to time.Duration) {
	time.Sleep(from + time.Duration(s.random.Int64N(int64(to-from)+1)))
}

func (s *session) note(format string, arguments ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, arguments...))
}
