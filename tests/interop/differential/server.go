package main

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

// server is one running member: a process started here and stopped by its pid.
type server struct {
	command  []string // program and leading arguments
	home     string   // holds data/ and the log; removed by close
	endpoint string   // host:port of the client listener
	peer     string
	process  *exec.Cmd
	exited   chan struct{} // closed once the process is gone
	conn     *grpc.ClientConn
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

// newServer starts a member with an empty data directory below parent.
func newServer(parent, name, command string) (*server, error) {
	home, err := os.MkdirTemp(parent, name+"-")
	if err != nil {
		return nil, err
	}
	var last error
	// Another process may take the port between the look and the start.
	for range 3 {
		s := &server{command: strings.Fields(command), home: home}
		client, err := freePort()
		if err != nil {
			return nil, err
		}
		peer, err := freePort()
		if err != nil {
			return nil, err
		}
		s.endpoint = fmt.Sprintf("127.0.0.1:%d", client)
		s.peer = fmt.Sprintf("127.0.0.1:%d", peer)
		if last = s.start(); last == nil {
			return s, nil
		}
		if !strings.Contains(s.logTail(40), "address already in use") {
			break
		}
		os.RemoveAll(filepath.Join(home, "data"))
	}
	os.RemoveAll(home)
	return nil, last
}

func (s *server) logPath() string { return filepath.Join(s.home, "log") }

func (s *server) start() error {
	log, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	arguments := append(append([]string{}, s.command[1:]...),
		"--name=default",
		"--data-dir="+filepath.Join(s.home, "data"),
		"--listen-client-urls=http://"+s.endpoint,
		"--advertise-client-urls="+advertisedClient,
		"--listen-peer-urls=http://"+s.peer,
		"--initial-advertise-peer-urls="+advertisedPeer,
		"--initial-cluster=default="+advertisedPeer,
	)
	s.process = exec.Command(s.command[0], arguments...)
	s.process.Stdout, s.process.Stderr = log, log
	// A group of its own keeps a terminal's Ctrl-C from the servers, which
	// are stopped by pid; a dead runner takes them along.
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(process *exec.Cmd, exited chan struct{}) {
		_ = process.Wait() // the state stays readable in process.ProcessState
		close(exited)
	}(s.process, s.exited)
	if err := s.waitReady(20 * time.Second); err != nil {
		s.stop(syscall.SIGKILL)
		return fmt.Errorf("%s: %w\n%s", s.command[0], err, s.logTail(8))
	}
	return nil
}

// dial connects to address as clients do, but without retries and without
// limits of its own: every answer has to be the server's.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodec(codec{}),
			grpc.MaxCallRecvMsgSize(1<<30),
			grpc.MaxCallSendMsgSize(1<<30)))
}

func (s *server) waitReady(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		select {
		case <-s.exited:
			return fmt.Errorf("ended while starting: %s", s.process.ProcessState)
		default:
		}
		probe, err := net.DialTimeout("tcp", s.endpoint, 200*time.Millisecond)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		probe.Close()
		conn, err := dial(s.endpoint)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err = pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte("ready")})
		cancel()
		if err == nil {
			s.conn = conn
			return nil
		}
		conn.Close()
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("not ready in time")
}

// stop ends the process with a signal, with SIGKILL if that takes too long.
func (s *server) stop(signal syscall.Signal) {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	if s.process == nil || s.exited == nil {
		return
	}
	_ = s.process.Process.Signal(signal)
	select {
	case <-s.exited:
	case <-time.After(15 * time.Second):
		_ = s.process.Process.Kill()
		<-s.exited
	}
}

// gone tells how the process ended, if it did.
func (s *server) gone() string {
	select {
	case <-s.exited:
		return s.process.ProcessState.String()
	case <-time.After(50 * time.Millisecond):
		return ""
	}
}

// close stops the member and removes what it left.
func (s *server) close() {
	s.stop(syscall.SIGKILL)
	os.RemoveAll(s.home)
}

func (s *server) logTail(lines int) string {
	data, err := os.ReadFile(s.logPath())
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// lastWords is what a process that died left in its log: from the line that
// looks like the cause on, or else the end.
func (s *server) lastWords() string {
	tail := strings.Split(s.logTail(400), "\n")
	for i, line := range tail {
		for _, sign := range []string{"panic:", "fatal error:", `"level":"fatal"`, `"level":"panic"`, "Sanitizer", "runtime error:", "ssertion", "check failed"} {
			if strings.Contains(line, sign) {
				return strings.Join(tail[i:min(len(tail), i+15)], "\n")
			}
		}
	}
	return strings.Join(tail[max(0, len(tail)-10):], "\n")
}
