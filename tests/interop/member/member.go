// Package member starts and stops one server of the tests: kedge or etcd, on
// loopback, with its data in a temporary folder.
package member

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
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
	process *exec.Cmd
	exited  chan struct{} // closed once the process is gone
}

// freePort finds a port below the range that the kernel hands out to outgoing
// connections, so that it is still free when the server is restarted on it.
func freePort() (int, error) {
	for range 200 {
		port := 12000 + rand.IntN(18000)
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			listener.Close()
			return port, nil
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
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
		client, err := freePort()
		if err != nil {
			return nil, err
		}
		peer, err := freePort()
		if err != nil {
			return nil, err
		}
		m.Endpoint = fmt.Sprintf("127.0.0.1:%d", client)
		m.peer = fmt.Sprintf("127.0.0.1:%d", peer)
		if last = m.Start(); last == nil {
			return m, nil
		}
		if !strings.Contains(m.logTail(40), "address already in use") {
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
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	arguments := append(append([]string{}, m.command[1:]...),
		"--name=default",
		"--data-dir="+filepath.Join(m.home, "data"),
		"--listen-client-urls=http://"+m.Endpoint,
		"--advertise-client-urls="+advertisedClient,
		"--listen-peer-urls=http://"+m.peer,
		"--initial-advertise-peer-urls="+advertisedPeer,
		"--initial-cluster=default="+advertisedPeer,
	)
	m.process = exec.Command(m.command[0], arguments...)
	m.process.Stdout, m.process.Stderr = log, log
	// A group of its own keeps a terminal's Ctrl-C from the servers, which
	// are stopped by pid; a dead runner takes them along.
	m.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		return err
	}
	m.exited = make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		_ = process.Wait() // the state stays readable in process.ProcessState
		close(exited)
	}(m.process, m.exited)
	if err := m.waitReady(20 * time.Second); err != nil {
		m.Stop(syscall.SIGKILL)
		return fmt.Errorf("%s: %w\n%s", m.command[0], err, m.logTail(8))
	}
	return nil
}

func (m *Member) waitReady(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		select {
		case <-m.exited:
			return fmt.Errorf("ended while starting: %s", m.process.ProcessState)
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
	if m.process == nil || m.exited == nil {
		return
	}
	_ = m.process.Process.Signal(signal)
	select {
	case <-m.exited:
	case <-time.After(15 * time.Second):
		_ = m.process.Process.Kill()
		<-m.exited
	}
}

// Gone tells how the process ended, if it did.
func (m *Member) Gone() string {
	select {
	case <-m.exited:
		return m.process.ProcessState.String()
	case <-time.After(50 * time.Millisecond):
		return ""
	}
}

// Close stops the member and removes what it left.
func (m *Member) Close() {
	m.Stop(syscall.SIGKILL)
	os.RemoveAll(m.home)
}

func (m *Member) logTail(lines int) string {
	data, err := os.ReadFile(m.logPath())
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// LastWords is what a process that died left in its log: from the line that
// looks like the cause on, or else the end.
func (m *Member) LastWords() string {
	tail := strings.Split(m.logTail(400), "\n")
	for i := range tail {
		if len(tail[i]) > 500 {
			tail[i] = tail[i][:500] + "…"
		}
	}
	for i, line := range tail {
		for _, sign := range []string{"panic:", "fatal error:", `"level":"fatal"`, `"level":"panic"`, "Sanitizer", "runtime error:", "ssertion", "check failed"} {
			if strings.Contains(line, sign) {
				return strings.Join(tail[i:min(len(tail), i+15)], "\n")
			}
		}
	}
	return strings.Join(tail[max(0, len(tail)-10):], "\n")
}
