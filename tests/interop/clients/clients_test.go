// Package clients runs ordinary clients (the Go client and the official
// etcdctl) through the same scenario on two servers, the one under test and
// etcd, or on a cluster of three of each, and compares what they were told, line
// by line.
package clients

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"kedge/tests/interop/cluster"
	"kedge/tests/interop/member"
)

var (
	serverFlag    = flag.String("server", "build/kedge", "command of the server under test; a relative path is taken from the project's root")
	referenceFlag = flag.String("reference", "build/interop/bin/etcd", "command of the reference")
	etcdctlFlag   = flag.String("etcdctl", "build/interop/bin/etcdctl", "the official etcdctl")
)

// scenarioLimit bounds one scenario on one server.
const scenarioLimit = 90 * time.Second

func program(t *testing.T, command string) string {
	t.Helper()
	path, err := member.Program(command)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// transcript collects what a client was told.
type transcript struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *transcript) add(format string, arguments ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.out, format+"\n", arguments...)
}

// masks hide what two correct servers may answer differently.
type mask struct {
	pattern     *regexp.Regexp
	replacement string
	reason      string
}

var masks = []mask{
	{regexp.MustCompile(`127\.0\.0\.1:\d{5}\b`), "ENDPOINT", "each server has its own port"},
	{regexp.MustCompile(`etcd-endpoints://0x[0-9a-f]+/`), "etcd-endpoints://POINTER/", "an address in etcdctl's memory"},
	{regexp.MustCompile(`lease [0-9a-f]{16} granted`), "lease ID granted", "made by the server"},
	{regexp.MustCompile(`"ID":\d{10,19},"TTL"`), `"ID":ID,"TTL"`, "made by the server; not always as long"},
	{regexp.MustCompile(`("raft_term":|"RaftTerm" : |"raftTerm":|"term":)\d+`), "${1}TERM", "elections"},
	{regexp.MustCompile(`("raftIndex":|"RaftIndex" : |"raftAppliedIndex":|"RaftAppliedIndex" : )\d+`), "${1}INDEX", "the servers' own entries"},
	{regexp.MustCompile(`("dbSize":|"DBSize" : |"DbSize" : |"dbSizeInUse":|"DBSizeInUse" : |"DbSizeInUse" : )\d+`), "${1}SIZE", "two storage engines"},
	{regexp.MustCompile(`took (= )?[0-9.]+[µnm]?s|"[Tt]ook" : "[^"]*"|"took":"[^"]*"|took="[^"]*"`), "took TIME", "time"},
	{regexp.MustCompile(`[0-9.]+(ms|µs|ns)\b`), "TIME", "time"},
	{regexp.MustCompile(`remaining\((\d+)s\)|("TTL" : |"ttl":)9\d{2}\b`), "remaining", "what is left of a lease"},
	{regexp.MustCompile(`\d{4}[/-]\d\d[/-]\d\d[T ][0-9:.]+Z?`), "DATE", "time"},
}

// ofThree are the masks for several members, whose ids come from ports that are
// not the same twice.
var ofThree = []mask{
	{regexp.MustCompile(`"(cluster_id|member_id|clusterId|memberId|leader)":"?\d+"?`), `"$1":ID`, "made from the peers' URLs"},
	{regexp.MustCompile(`"(ClusterID|MemberID|Leader)" : \d+`), `"$1" : ID`, "made from the peers' URLs"},
	{regexp.MustCompile(`leader=[0-9a-f]+`), `leader=ID`, "made from the peers' URLs"},
}

func masked(text string, masks []mask) []string {
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.replacement)
	}
	return strings.Split(strings.TrimRight(text, "\n"), "\n")
}

// server is what a scenario runs on: one member, or several.
type server struct {
	Endpoint string           // where the clients go: of several members, a follower
	cluster  *cluster.Cluster // nil: one member
	members  []*cluster.Node
	turn     int
	gone     func() string // how a process ended, "" if none did
	close    func()
}

// next is another member's endpoint at each call, and that member has applied
// all that was confirmed before: so what it says of itself is not behind.
func (s *server) next(ctx context.Context) string {
	if s.members == nil {
		return s.Endpoint
	}
	n := s.members[s.turn%len(s.members)]
	s.turn++
	_, _ = pb.NewKVClient(n.Conn()).Range(ctx, &pb.RangeRequest{Key: []byte("barrier")})
	return n.Client
}

func one(ctx context.Context, folder, name, command string) (*server, error) {
	m, err := member.New(folder, name, command)
	if err != nil {
		return nil, err
	}
	return &server{Endpoint: m.Endpoint, close: m.Close, gone: func() string {
		if state := m.Gone(); state != "" {
			return state + "\n" + m.LastWords()
		}
		return ""
	}}, nil
}

func three(ctx context.Context, folder, name, command string) (*server, error) {
	c, err := cluster.New(ctx, cluster.Options{Parent: folder, Programs: []string{command, command, command}})
	if err != nil {
		return nil, err
	}
	leader, _, err := c.Leader(ctx)
	if err == nil {
		err = settled(ctx, c)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return &server{Endpoint: c.Follower(leader).Client, cluster: c, members: c.Nodes(), close: c.Close, gone: func() string {
		if err := c.Dead(); err != nil {
			return err.Error()
		}
		return ""
	}}, nil
}

// settled waits until the members have agreed on the storage's version, which
// follows the cluster's after a while.
func settled(ctx context.Context, c *cluster.Cluster) error {
	for {
		behind := 0
		for _, n := range c.Nodes() {
			status, err := n.Status(ctx)
			if err != nil {
				return err
			}
			if status.StorageVersion != "3.7.0" {
				behind++
			}
		}
		if behind == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// onBoth runs a scenario on both servers at the same time and compares; first
// on one member, then on three.
func onBoth(t *testing.T, scenario func(ctx context.Context, m *server, told *transcript) error) {
	t.Helper()
	t.Run("one member", func(t *testing.T) { compare(t, one, masks, scenario) })
	t.Run("three members", func(t *testing.T) { compare(t, three, slices.Concat(masks, ofThree), scenario) })
}

func compare(t *testing.T, start func(ctx context.Context, folder, name, command string) (*server, error),
	masks []mask, scenario func(ctx context.Context, m *server, told *transcript) error) {
	t.Helper()
	folder := t.TempDir()
	commands := [2]string{program(t, *serverFlag), program(t, *referenceFlag)}
	var told [2]transcript
	var failed [2]error
	var group sync.WaitGroup
	for i := range commands {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), scenarioLimit)
			defer cancel()
			m, err := start(ctx, folder, string("ab"[i]), commands[i])
			if err != nil {
				failed[i] = err
				return
			}
			defer m.close()
			if failed[i] = scenario(ctx, m, &told[i]); failed[i] != nil {
				if state := m.gone(); state != "" {
					failed[i] = fmt.Errorf("%w; the server ended: %s", failed[i], state)
				}
			}
		})
	}
	group.Wait()
	for i, err := range failed {
		if err != nil {
			t.Errorf("%s: %v\nso far:\n%s", commands[i], err, lastLines(told[i].out.String(), 15))
		}
	}
	if t.Failed() {
		return
	}
	a, b := masked(told[0].out.String(), masks), masked(told[1].out.String(), masks)
	differing := 0
	step := ""
	for n := range max(len(a), len(b)) {
		x, y := "(nothing)", "(nothing)"
		if n < len(a) {
			x = a[n]
		}
		if n < len(b) {
			y = b[n]
		}
		if strings.HasPrefix(y, "> ") {
			step = y
		}
		if x != y {
			if differing++; differing <= 10 {
				t.Errorf("line %d, after %q:\n  %s: %s\n  reference: %s", n+1, step, commands[0], x, y)
			}
			if strings.HasPrefix(x, "> ") != strings.HasPrefix(y, "> ") {
				break // out of step: nothing after it is comparable
			}
		}
	}
	t.Logf("%d lines compared, %d differ", len(b), differing)
	if testing.Verbose() {
		t.Logf("transcript of the reference:\n%s", strings.Join(b, "\n"))
	}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
