package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"kedge/tests/interop/member"
)

// laboratory starts pairs of servers and runs histories on them.
type laboratory struct {
	a, b   string // commands
	folder string // parent of the data directories
	redial func(int, *member.Member) (*grpc.ClientConn, error)
	ready  chan startedPair // the next pair, started ahead
}

type startedPair struct {
	a, b *member.Member
	err  error
}

func (l *laboratory) startPair() startedPair {
	var pair startedPair
	done := make(chan error, 1)
	go func() {
		var err error
		pair.a, err = member.New(l.folder, "a", l.a)
		done <- err
	}()
	var err error
	pair.b, err = member.New(l.folder, "b", l.b)
	if first := <-done; first != nil {
		err = first
	}
	if err != nil {
		pair.close()
		return startedPair{err: err}
	}
	return pair
}

func (p startedPair) close() {
	for _, s := range []*member.Member{p.a, p.b} {
		if s != nil {
			s.Close()
		}
	}
}

// attempt runs a history on fresh servers. steps are the operations as they
// went out, up to and including the one that differed.
func (l *laboratory) attempt(operations []operation, counts tally) (found *difference, steps []proto.Message, err error) {
	var pair startedPair
	if l.ready != nil {
		pair = <-l.ready
		l.ready = nil
	} else {
		pair = l.startPair()
	}
	if pair.err != nil {
		return nil, nil, pair.err
	}
	defer pair.close()
	r, err := newRunner(pair.a, pair.b, l.redial)
	if err != nil {
		return nil, nil, err
	}
	defer r.disconnect()
	r.record = func(resolved proto.Message) { steps = append(steps, resolved) }
	found = r.run(operations)
	counts.merge(r.counts)
	return found, steps, nil
}

// prepare starts the next pair while something else is going on.
func (l *laboratory) prepare() {
	if l.ready == nil {
		ready := make(chan startedPair, 1)
		l.ready = ready
		go func() { ready <- l.startPair() }()
	}
}

// discard stops a pair that was prepared and isn't needed.
func (l *laboratory) discard() {
	if l.ready != nil {
		pair := <-l.ready
		l.ready = nil
		pair.close()
	}
}

// shrink looks for a shorter history that shows the same difference: first
// without what came after, then without ever smaller parts, then with simpler
// requests. It stops at the deadline with the best it has.
func (l *laboratory) shrink(operations []operation, found *difference, limit time.Duration) (best []operation, last *difference, steps []proto.Message, attempts int) {
	defer func(usual time.Duration) { watchLimit = usual }(watchLimit)
	watchLimit = 2 * time.Second
	deadline := time.Now().Add(limit)
	signature := found.signature()
	best = operations[:found.index+1]
	try := func(candidate []operation) bool {
		if len(candidate) == 0 || time.Now().After(deadline) {
			return false
		}
		attempts++
		d, sent, err := l.attempt(candidate, tally{})
		l.prepare()
		if err != nil || d == nil || d.signature() != signature {
			return false
		}
		best, last, steps = append([]operation(nil), candidate[:d.index+1]...), d, sent
		return true
	}
	defer l.discard()
	if !try(best) {
		return best, nil, nil, attempts
	}
	// Whole kinds of operations are often beside the point.
	for _, name := range kindOrder {
		var candidate []operation
		for _, op := range best {
			if op.kind != name {
				candidate = append(candidate, op)
			}
		}
		if len(candidate) < len(best) {
			try(candidate)
		}
	}
	// Delta debugging: drop one part after the other, from halves to single
	// operations, and begin anew with what is left while that helps.
	for size := max(1, len(best)/2); ; size = max(1, size/2) {
		helped := false
		for start := 0; start < len(best) && time.Now().Before(deadline); {
			end := min(start+size, len(best))
			candidate := append(append([]operation(nil), best[:start]...), best[end:]...)
			if try(candidate) {
				helped = true
			} else {
				start = end
			}
		}
		if time.Now().After(deadline) || (size == 1 && !helped) {
			break
		}
	}
	for simplified := true; simplified && time.Now().Before(deadline); {
		simplified = false
		for i := len(best) - 1; i >= 0; i-- {
			if i >= len(best) || best[i].request == nil {
				continue
			}
			for n := 0; time.Now().Before(deadline); n++ {
				simpler, countdown := proto.Clone(best[i].request), n
				if !simplify(simpler.ProtoReflect(), &countdown) {
					break
				}
				candidate := append([]operation(nil), best...)
				candidate[i].request = simpler
				if try(candidate) {
					simplified = true
					n--
				}
				if i >= len(best) {
					break
				}
			}
		}
	}
	return best, last, steps, attempts
}

// simplify makes the n-th possible simplification in a message: an element or
// a field less, a shorter value. It tells whether there was an n-th one.
func simplify(message protoreflect.Message, n *int) bool {
	fields := message.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !message.Has(field) {
			continue
		}
		if *n == 0 {
			message.Clear(field)
			return true
		}
		*n--
		value := message.Get(field)
		switch {
		case field.IsList():
			list := message.Mutable(field).List()
			for k := range list.Len() {
				if *n == 0 {
					for m := k; m+1 < list.Len(); m++ {
						list.Set(m, list.Get(m+1))
					}
					list.Truncate(list.Len() - 1)
					return true
				}
				*n--
				if field.Message() != nil && simplify(list.Get(k).Message(), n) {
					return true
				}
			}
		case field.Message() != nil:
			if simplify(message.Mutable(field).Message(), n) {
				return true
			}
		case field.Kind() == protoreflect.BytesKind && len(value.Bytes()) > 1 && field.Name() == "value":
			if *n == 0 {
				message.Set(field, protoreflect.ValueOfBytes(append([]byte(nil), value.Bytes()[:len(value.Bytes())/2]...)))
				return true
			}
			*n--
		}
	}
	return false
}

// report prints a difference: what differs, the session that shows it, and
// the file that replays it.
func report(out io.Writer, show int, title string, d *difference, operations []operation, steps []proto.Message, path string) {
	fmt.Fprintf(out, "\nDIFFERENCE %s: operation %d, %s\n", title, d.index+1, d.op.kind)
	for i, f := range d.fields {
		if i == 12 {
			fmt.Fprintf(out, "  … %d more\n", len(d.fields)-i)
			break
		}
		fmt.Fprintf(out, "  %s\n    a: %s\n    b: %s\n", f.path, truncate(f.a, 1500), truncate(f.b, 1500))
	}
	for i, log := range d.logs {
		if log != "" {
			fmt.Fprintf(out, "  server %c ended: %s\n", 'a'+i, log)
		}
	}
	first := 0
	if len(steps) > show {
		first = len(steps) - show
		fmt.Fprintf(out, "  (the last %d of %d operations)\n", len(steps)-first, len(steps))
	}
	for i := first; i < len(steps) && i < len(operations); i++ {
		fmt.Fprintf(out, "  %s\n", describe(operations[i], steps[i]))
	}
	if path != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = saveHistory(path, operations)
			if err != nil {
				fmt.Fprintf(out, "  could not be saved: %v\n", err)
			} else {
				fmt.Fprintf(out, "  replay with: -replay %s\n", path)
			}
		}
	}
}
