// Package cluster starts clusters of any mix of servers on loopback, or in
// network namespaces, and does to their members what machines, networks and
// operators do: kill, pause, cut off, add, replace, remove.
package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"kedge/tests/interop/member"
)

// Node is one member: a program, its ports and its data folder, which outlive
// the process.
type Node struct {
	Name    string
	Program string // and leading arguments, by spaces
	Client  string // host:port of the client listener
	Peer    string // host:port of the peer listener

	cluster *Cluster
	prefix  []string // of the command: into a network namespace
	home    string
	initial string // --initial-cluster
	state   string // --initial-cluster-state
	conn    *grpc.ClientConn

	mu      sync.Mutex
	process *member.Process
	paused  bool
	id      uint64
}

func (n *Node) String() string { return n.Name }

// Log is the file with all that the member's processes printed.
func (n *Node) Log() string { return filepath.Join(n.home, "log") }

// Data is the member's data folder.
func (n *Node) Data() string { return filepath.Join(n.home, "data") }

// Conn is a connection to the member alone; it comes back when the member does.
func (n *Node) Conn() *grpc.ClientConn { return n.conn }

// Dial makes a connection of the caller's own.
func (n *Node) Dial() (*grpc.ClientConn, error) {
	backoff := grpc.ConnectParams{MinConnectTimeout: 500 * time.Millisecond}
	backoff.Backoff.BaseDelay = 10 * time.Millisecond
	backoff.Backoff.Multiplier = 1.3
	backoff.Backoff.MaxDelay = 100 * time.Millisecond
	return grpc.NewClient("passthrough:///"+n.Client, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(backoff), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
}

func (n *Node) command() []string {
	client, peer := "http://"+n.Client, "http://"+n.Peer
	command := append(append([]string{}, n.prefix...), strings.Fields(n.Program)...)
	command = append(command, "--name="+n.Name, "--data-dir="+n.Data(),
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer,
		"--initial-cluster="+n.initial, "--initial-cluster-state="+n.state, "--initial-cluster-token=test")
	return append(command, n.cluster.flags...)
}

// Start starts the process on the data that is there, and doesn't wait.
func (n *Node) Start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	process, err := member.StartProcess(n.Log(), n.command())
	if err != nil {
		return err
	}
	n.process, n.paused = process, false
	return nil
}

// Kill is SIGKILL, and waits for the end.
func (n *Node) Kill() { n.stop(syscall.SIGKILL) }

// Stop is SIGTERM, and waits for the end.
func (n *Node) Stop() { n.stop(syscall.SIGTERM) }

func (n *Node) stop(signal syscall.Signal) {
	n.mu.Lock()
	process := n.process
	n.process, n.paused = nil, false
	n.mu.Unlock()
	if process != nil {
		process.Stop(signal)
	}
}

// Pause is SIGSTOP.
func (n *Node) Pause() error { return n.setPaused(syscall.SIGSTOP, true) }

// Resume is SIGCONT.
func (n *Node) Resume() error { return n.setPaused(syscall.SIGCONT, false) }

func (n *Node) setPaused(signal syscall.Signal, paused bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return fmt.Errorf("%s does not run", n.Name)
	}
	n.paused = paused
	return n.process.Signal(signal)
}

// Serving is whether its process is there and not paused.
func (n *Node) Serving() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil && !n.paused
}

// Ended is how the process ended if that wasn't asked for, else "".
func (n *Node) Ended() string {
	n.mu.Lock()
	process := n.process
	n.mu.Unlock()
	if process == nil {
		return ""
	}
	select {
	case <-process.Exited():
		return process.Gone()
	default:
		return ""
	}
}

// WaitEnd waits until the process has ended by itself.
func (n *Node) WaitEnd(limit time.Duration) error {
	n.mu.Lock()
	process := n.process
	n.mu.Unlock()
	if process == nil {
		return nil
	}
	select {
	case <-process.Exited():
		return nil
	case <-time.After(limit):
		return fmt.Errorf("%s still runs after %s", n.Name, limit)
	}
}

// Status asks the member itself.
func (n *Node) Status(ctx context.Context) (*pb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, err := pb.NewMaintenanceClient(n.conn).Status(ctx, &pb.StatusRequest{})
	if err == nil {
		n.mu.Lock()
		n.id = status.Header.MemberId
		n.mu.Unlock()
	}
	return status, err
}

// ID is the member's id, once it has told it.
func (n *Node) ID() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// WaitReady waits until a linearizable read through the member succeeds.
func (n *Node) WaitReady(ctx context.Context, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	var last error
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if ended := n.Ended(); ended != "" {
			return fmt.Errorf("%s (%s) ended: %s\n%s", n.Name, n.Program, ended, member.LastWords(n.Log()))
		}
		call, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, last = pb.NewKVClient(n.conn).Range(call, &pb.RangeRequest{Key: []byte("ready")})
		cancel()
		if last == nil {
			_, last = n.Status(ctx)
		}
		if last == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("%s (%s) is not ready after %s: %w\n%s", n.Name, n.Program, limit, last, member.LastWords(n.Log()))
}

// Count is how many lines of its log have a text.
func (n *Node) Count(text string) int {
	data, err := os.ReadFile(n.Log())
	if err != nil {
		return 0
	}
	return strings.Count(string(data), text)
}

// Leftovers are files that only a transfer that was cut short can have left.
func (n *Node) Leftovers() []string {
	found, _ := filepath.Glob(filepath.Join(n.Data(), "member", "snap", "*tmp*"))
	return found
}

// close ends the process and removes what it left.
func (n *Node) close(keep bool) {
	n.Kill()
	n.conn.Close()
	if !keep {
		os.RemoveAll(n.home)
	}
}
