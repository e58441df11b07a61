package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// Network is a bridge on this machine with a network namespace for each member.
// Clients use the machine's own address on the bridge, so they reach every
// member whatever is cut between members.
//
// A cut from a to b is a permanent neighbour entry in a's namespace with an
// address that nobody has: what a sends to b is lost without a trace, and what
// b sends to a arrives. That needs nothing but iproute2 and no module of the
// kernel, and is put together to any shape of partition.
type Network struct {
	bridge string
	subnet string // "10.x.y."

	mu    sync.Mutex
	names []string
	cuts  map[[2]string]bool
}

func ip(arguments ...string) error {
	out, err := exec.Command("ip", arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// NewNetwork makes the bridge. An error that is ErrNotPermitted means that this
// user or machine may not.
func NewNetwork() (*Network, error) {
	w := &Network{bridge: fmt.Sprintf("kb%d", os.Getpid()), subnet: fmt.Sprintf("10.%d.%d.", 200+rand.IntN(50), rand.IntN(250)),
		cuts: map[[2]string]bool{}}
	for _, command := range []string{"link add " + w.bridge + " type bridge", "addr add " + w.subnet + "254/24 dev " + w.bridge,
		"link set " + w.bridge + " up", "netns add " + w.bridge + "n0"} {
		if err := ip(strings.Fields(command)...); err != nil {
			w.Close()
			return nil, fmt.Errorf("%w: %w", ErrNotPermitted, err)
		}
	}
	w.names = append(w.names, w.bridge+"n0")
	return w, nil
}

// ErrNotPermitted is why network namespaces are skipped.
var ErrNotPermitted = errors.New("no network namespaces here")

// host makes a namespace and gives its address and how to run a program in it.
func (w *Network) host(number int) (string, []string, error) {
	name := fmt.Sprintf("%sn%d", w.bridge, number)
	outside, inside := fmt.Sprintf("%sv%d", w.bridge, number), fmt.Sprintf("%sw%d", w.bridge, number)
	host := w.subnet + fmt.Sprint(number)
	w.mu.Lock()
	w.names = append(w.names, name)
	w.mu.Unlock()
	for _, command := range []string{
		"netns add " + name,
		"link add " + outside + " type veth peer name " + inside,
		"link set " + inside + " netns " + name,
		"link set " + outside + " master " + w.bridge + " up",
		"-n " + name + " addr add " + host + "/24 dev " + inside,
		"-n " + name + " link set " + inside + " up",
		"-n " + name + " link set lo up",
	} {
		if err := ip(strings.Fields(command)...); err != nil {
			return "", nil, err
		}
	}
	return host, []string{"ip", "netns", "exec", name}, nil
}

// number of a node in its network: the last part of its address.
func (w *Network) number(n *Node) string {
	return strings.TrimSuffix(strings.TrimPrefix(n.Client, w.subnet), ":2379")
}

func (w *Network) neighbour(from, to *Node, verb string, more ...string) error {
	number := w.number(from)
	arguments := []string{"-n", w.bridge + "n" + number, "neigh", verb, w.subnet + w.number(to), "dev", w.bridge + "w" + number}
	return ip(append(arguments, more...)...)
}

// Cut loses all that from sends to to, until Heal.
func (w *Network) Cut(from, to *Node) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	link := [2]string{w.number(from), w.number(to)}
	if w.cuts[link] {
		return nil
	}
	w.cuts[link] = true
	return w.neighbour(from, to, "replace", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
}

// CutBoth cuts both ways.
func (w *Network) CutBoth(a, b *Node) error { return errors.Join(w.Cut(a, b), w.Cut(b, a)) }

// Heal ends all cuts.
func (w *Network) Heal(nodes []*Node) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var failed error
	for _, from := range nodes {
		for _, to := range nodes {
			if link := [2]string{w.number(from), w.number(to)}; w.cuts[link] {
				failed = errors.Join(failed, w.neighbour(from, to, "del"))
				delete(w.cuts, link)
			}
		}
	}
	return failed
}

// Close removes the namespaces, their links and the bridge. What runs in them
// must have ended.
func (w *Network) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, name := range w.names {
		_ = ip("netns", "del", name)
		if i > 0 { // the namespace lives on until its last socket is gone
			_ = ip("link", "del", strings.Replace(name, w.bridge+"n", w.bridge+"v", 1))
		}
	}
	_ = ip("link", "del", w.bridge)
}
