// Package member starts and stops one server of the tests: kedge or etcd, on
// loopback, with its data in a temporary folder.
package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Both servers are told the same advertised URLs, wherever they really listen:
// member and cluster ids are hashes of the peer URL and the token, so they come
// out equal and are compared like any other field.
const (
	advertisedPeer   = "http://127.0.0.1:2380"
	advertisedClient = "http://127.0.0.1:2379"
)

// Member is one running server: a process started here and stopped by its pid.
type Member struct {
	Endpoint string // host:port of the client listener

	command []string // program and leading arguments
	home    string   // holds data/ and the log; removed by Close
	peer    string
	process *Process
}

// New starts a server with an empty data directory below parent. The command is
// the program and, after spaces, leading arguments.
func New(parent, name, command string) (*Member, error) {
	home, err := os.MkdirTemp(parent, name+"-")
	if err != nil {
		return nil, err
	}
	var last error
	// Another process may take the port between the look and the start.
	for range 3 {
		m := &Member{command: strings.Fields(command), home: home}
		client, err := FreePort()
		if err != nil {
			return nil, err
		}
		peer, err := FreePort()
		if err != nil {
			return nil, err
		}
		m.Endpoint = fmt.Sprintf("127.0.0.1:%d", client)
		m.peer = fmt.Sprintf("127.0.0.1:%d", peer)
		if last = m.Start(); last == nil {
			return m, nil
		}
		if !strings.Contains(LogTail(m.logPath(), 40), "address already in use") {
			break
		}
		os.RemoveAll(filepath.Join(home, "data"))
	}
	os.RemoveAll(home)
	return nil, last
}

func (m *Member) logPath() string { return filepath.Join(m.home, "log") }

// Start starts the process on the data that is there, and waits until it serves.
func (m *Member) Start() error {
	command := append(append([]string{}, m.command...),
		"--name=default",
		"--data-dir="+filepath.Join(m.home, "data"),
		"--listen-client-urls=http://"+m.Endpoint,
		"--advertise-client-urls="+advertisedClient,
		"--listen-peer-urls=http://"+m.peer,
		"--initial-advertise-peer-urls="+advertisedPeer,
		"--initial-cluster=default="+advertisedPeer,
	)
	process, err := StartProcess(m.logPath(), command)
	if err != nil {
		return err
	}
	m.process = process
	if err := m.waitReady(20 * time.Second); err != nil {
		m.Stop(syscall.SIGKILL)
		return fmt.Errorf("%s: %w\n%s", m.command[0], err, LogTail(m.logPath(), 8))
	}
	return nil
}

func (m *Member) waitReady(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		select {
		case <-m.process.Exited():
			return fmt.Errorf("ended while starting: %s", m.process.Gone())
		default:
		}
		probe, err := net.DialTimeout("tcp", m.Endpoint, 200*time.Millisecond)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		probe.Close()
		conn, err := grpc.NewClient("passthrough:///"+m.Endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("ready")})
		cancel()
		conn.Close()
		if err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("not ready in time")
}

// Stop ends the process with a signal, with SIGKILL if that takes too long.
func (m *Member) Stop(signal syscall.Signal) {
	if m.process != nil {
		m.process.Stop(signal)
	}
}

// Gone tells how the process ended, if it did.
func (m *Member) Gone() string { return m.process.Gone() }

// Close stops the member and removes what it left.
func (m *Member) Close() {
	m.Stop(syscall.SIGKILL)
	os.RemoveAll(m.home)
}

// LastWords is what a process that died left in its log.
func (m *Member) LastWords() string { return LastWords(m.logPath()) }
