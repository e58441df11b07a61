// Package history writes down what many clients of a cluster asked and were
// told, and judges it afterwards: every answer against the events that the
// watchers saw, revisions against real time, and each key's history against a
// model by an independent linearizability checker.
package history

import (
	"sync"
	"time"
)

// Kind of an operation.
type Kind uint8

// The operations. Values are never written twice, so that a value tells who
// wrote it.
const (
	Put        Kind = iota // Key = Value
	Delete                 // Key
	Get                    // Key, linearizable
	SerialGet              // Key, serializable
	Swap                   // if Key has the value Expect: Key = Value, else get it
	PutPair                // one transaction: Key and Other = Value
	List                   // all keys with the prefix Key, linearizable
	SerialList             // the same, serializable
)

var kindNames = [...]string{"put", "delete", "get", "serializable get", "swap", "put pair", "list", "serializable list"}

func (k Kind) String() string { return kindNames[k] }

func (k Kind) writes() bool { return k == Put || k == Delete || k == Swap || k == PutPair }

func (k Kind) linearizable() bool { return k != SerialGet && k != SerialList }

// Row is what a read found at a key.
type Row struct {
	Key, Value           string
	Create, Mod, Version int64
}

// Op is one operation and its answer. Times are nanoseconds since the
// history's begin, by the monotonic clock.
type Op struct {
	Client        int
	Member        string
	Kind          Kind
	Key, Other    string
	Value, Expect string
	Call, Return  int64

	Error    string // not "": what became of it is not known (of a read: nothing)
	Revision int64  // of the answer's header
	Rows     []Row  // of reads, and of a swap that didn't
	Done     bool   // swap: it did; delete: there was something
}

// Event is one event of a watch.
type Event struct {
	Delete               bool
	Key, Value           string
	Create, Mod, Version int64
	Lease                int64
	Previous             *Row // if asked for and there was one
	Arrival              int64
}

// History is safe for use by many.
type History struct {
	begin time.Time

	mu       sync.Mutex
	ops      []*Op
	watches  []*Watch
	leases   []*Lease
	failures []string
}

// New begins a history.
func New() *History { return &History{begin: time.Now()} }

// Now is the history's clock.
func (h *History) Now() int64 { return int64(time.Since(h.begin)) }

// Add adds an operation that is over.
func (h *History) Add(op *Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// fail notes what was found wrong while the history was made.
func (h *History) fail(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = append(h.failures, text)
}

// Lease is one lease and the time before which it must not end.
type Lease struct {
	ID       int64
	Key      string
	Earliest int64 // last renewal that was confirmed: when it was sent, plus the time to live
	Dropped  int64 // when it was last renewed or tried to be; 0: it still is
	TTL      int64 // seconds
}
