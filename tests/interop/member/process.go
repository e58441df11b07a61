package member

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// portLocks are the abstract sockets that say who has a port; an open one that
// nothing refers to would be closed by its finalizer.
var portLocks struct {
	sync.Mutex
	held []net.Listener
}

// FreePort finds a port below the range that the kernel hands out to outgoing
// connections, and keeps it from other tests until this process ends: it is still
// free when the server is restarted on it. tests/e2e/ports.py does the same.
func FreePort() (int, error) {
	for range 200 {
		port := 20000 + rand.IntN(12000)
		lock, err := net.Listen("unix", fmt.Sprintf("@kedge-port-%d", port))
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			lock.Close()
			continue
		}
		listener.Close()
		portLocks.Lock()
		portLocks.held = append(portLocks.held, lock)
		portLocks.Unlock()
		return port, nil
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

// Process is a program that was started here and is stopped by its pid. What it
// prints is appended to a file.
type Process struct {
	log     string
	command *exec.Cmd
	exited  chan struct{} // closed once the process is gone
}

// StartProcess starts a program with its arguments.
func StartProcess(log string, command []string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &Process{log: log, command: exec.Command(command[0], command[1:]...), exited: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = out, out
	// A group of its own keeps a terminal's Ctrl-C from the servers, which
	// are stopped by pid; a dead runner takes them along.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // the state stays readable in command.ProcessState
		close(p.exited)
	}()
	return p, nil
}

// Signal sends one signal.
func (p *Process) Signal(signal syscall.Signal) error { return p.command.Process.Signal(signal) }

// Exited is closed once the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stop ends the process with a signal, with SIGKILL if that takes too long.
func (p *Process) Stop(signal syscall.Signal) {
	_ = p.Signal(signal)
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = p.Signal(syscall.SIGKILL)
		<-p.exited
	}
}

// Gone tells how the process ended, if it did.
func (p *Process) Gone() string {
	select {
	case <-p.exited:
		return p.command.ProcessState.String()
	case <-time.After(50 * time.Millisecond):
		return ""
	}
}

// LogTail is the end of what a process printed.
func LogTail(log string, lines int) string {
	data, err := os.ReadFile(log)
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// LastWords is what a process that died left in its log: from the line that
// looks like the cause on, or else the end.
func LastWords(log string) string {
	tail := strings.Split(LogTail(log, 400), "\n")
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
