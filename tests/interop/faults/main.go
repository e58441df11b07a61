// Command faults puts clusters of kedge, etcd or both under load, does to them
// what -scenario names, and judges all that clients were told: nothing
// acknowledged is lost, no linearizable read is stale, no watch misses, repeats
// or reorders an event, no lease ends early, every key's history is
// linearizable, all members have the same hash at the end. It prints how long
// the clusters took to serve again, in election timeouts, and ends with
// "N passed, N failed[, N skipped]".
//
//	faults -scenario leader-kill,any-kill -programs build/kedge -rounds 50
//	faults -scenario failover -programs build/kedge,build/interop/bin/etcd,build/interop/bin/etcd
//	faults -scenario leader-kill -rounds 50 -beside build/interop/bin/etcd
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kedge/tests/interop/cluster"
	"kedge/tests/interop/history"
)

type options struct {
	scenarios     []scenario
	programs      []string
	beside        []string
	other         string
	rounds        int
	chunk         int
	duration      time.Duration
	seed          uint64
	election      time.Duration
	limit         time.Duration
	clients       int
	think         time.Duration
	snapshotCount int
	kept          int64
	folder        string
	keep          bool
	bars          bool
	leases        bool
	prefill       int

	network *cluster.Network
	shape   int
}

func main() {
	o, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	folder, err := os.MkdirTemp(o.folder, "kedge-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(2)
	}
	o.folder = folder
	passed, failed, skipped := 0, 0, 0
	for _, sc := range o.scenarios {
		switch err := runScenario(ctx, o, sc); {
		case errors.Is(err, cluster.ErrNotPermitted):
			fmt.Printf("%s: skipped: %v\n", sc.name, err)
			skipped++
		case err != nil:
			fmt.Printf("%s: FAILED: %v\n", sc.name, err)
			failed++
		default:
			passed++
		}
	}
	if !o.keep {
		os.RemoveAll(folder)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	if failed > 0 {
		os.Exit(1)
	}
}

func parse() (*options, error) {
	o := &options{}
	var names, programs, beside string
	var known []string
	for _, sc := range scenarios {
		known = append(known, sc.name)
	}
	flag.StringVar(&names, "scenario", "leader-kill", "one or more, by commas: "+strings.Join(known, ", "))
	flag.StringVar(&programs, "programs", "build/kedge", "one for each member, by commas; a single one stands for three")
	flag.StringVar(&beside, "beside", "", "programs of a second cluster, measured in turns with the first")
	flag.StringVar(&o.other, "other", "build/interop/bin/etcd", "program that rolling moves to")
	flag.IntVar(&o.rounds, "rounds", 3, "faults in all")
	flag.IntVar(&o.chunk, "chunk", 10, "faults on one cluster, whose history is then judged")
	flag.DurationVar(&o.duration, "duration", 0, "instead of rounds")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1<<32), "of the clients and of what is done when")
	flag.DurationVar(&o.election, "election", time.Second, "election timeout")
	flag.DurationVar(&o.limit, "limit", 20*time.Second, "to serve again; more is a failure")
	flag.IntVar(&o.clients, "clients", 8, "at work at the same time")
	flag.DurationVar(&o.think, "think", 10*time.Millisecond, "mean time between the operations of a client")
	flag.IntVar(&o.snapshotCount, "snapshot-count", 500, "of the members")
	flag.Int64Var(&o.kept, "kept", 20000, "revisions that compaction keeps")
	flag.StringVar(&o.folder, "folder", "", "where the members' data goes")
	flag.BoolVar(&o.keep, "keep", false, "keep the members' data and logs")
	flag.BoolVar(&o.bars, "bars", false, "fail if the times to serve again miss the bars, or are worse than those beside")
	flag.BoolVar(&o.leases, "leases", true, "judge leases; etcd 3.7.1 ends some early when a leader that was paused goes on")
	flag.IntVar(&o.prefill, "prefill", 6000, "entries written before members come and go, so that they come by snapshot")
	flag.Parse()
	for _, name := range strings.Split(names, ",") {
		i := slices.Index(known, name)
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q", name)
		}
		o.scenarios = append(o.scenarios, scenarios[i])
	}
	var err error
	if o.programs, err = commands(programs); err == nil {
		o.beside, err = commands(beside)
	}
	if err == nil {
		o.other, err = absolute(o.other)
	}
	return o, err
}

func commands(list string) ([]string, error) {
	if list == "" {
		return nil, nil
	}
	var programs []string
	for _, command := range strings.Split(list, ",") {
		program, err := absolute(command)
		if err != nil {
			return nil, err
		}
		programs = append(programs, program)
	}
	if len(programs) == 1 {
		programs = []string{programs[0], programs[0], programs[0]}
	}
	return programs, nil
}

func absolute(command string) (string, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "", errors.New("an empty command")
	}
	path, err := filepath.Abs(words[0])
	if err != nil {
		return "", err
	}
	return strings.Join(append([]string{path}, words[1:]...), " "), nil
}

// runScenario runs a scenario on the programs, and in turns on those beside.
func runScenario(ctx context.Context, o *options, sc scenario) error {
	sides := [][]string{o.programs}
	if o.beside != nil {
		sides = append(sides, o.beside)
	}
	fmt.Printf("%s: %s; seed %d\n", sc.name, sc.text, o.seed)
	totals := make([]total, len(sides))
	end := time.Now().Add(o.duration)
	for done, part := 0, 0; ; part++ {
		if sc.steps == nil && ((o.duration == 0 && done >= o.rounds) || (o.duration > 0 && time.Now().After(end))) {
			break
		}
		rounds := o.chunk
		if o.duration == 0 {
			rounds = min(rounds, o.rounds-done)
		}
		for i := range sides {
			side := (i + part) % len(sides) // who begins changes
			totals[side].figures.election = o.election
			begun := time.Now()
			err := runPart(ctx, o, sc, sides[side], rounds, o.seed+uint64(part), &totals[side])
			if err != nil && side == 0 {
				return fmt.Errorf("%s: %w", names(sides[side]), err)
			} else if err != nil { // what stands beside is not on trial
				totals[side].notes = append(totals[side].notes, err.Error())
			}
			fmt.Printf("  %s: %d rounds, %.0f s: %s\n", names(sides[side]), totals[side].rounds, time.Since(begun).Seconds(), &totals[side].figures)
		}
		done += rounds
		if sc.steps != nil {
			break
		}
	}
	for side, t := range totals {
		fmt.Printf("%s, %s: %s\n", sc.name, names(sides[side]), t.String())
	}
	if o.bars {
		var beside *figures
		if len(totals) > 1 {
			beside = &totals[1].figures
		}
		if missed := totals[0].figures.judge(beside); missed != nil {
			return errors.New(strings.Join(missed, "; "))
		}
	}
	return nil
}

func names(programs []string) string {
	var short []string
	for _, p := range programs {
		short = append(short, filepath.Base(strings.Fields(p)[0]))
	}
	return strings.Join(short, "+")
}

// runPart is one session: so many rounds, then the judgement.
func runPart(ctx context.Context, o *options, sc scenario, programs []string, rounds int, seed uint64, t *total) error {
	if sc.network {
		network, err := cluster.NewNetwork()
		if err != nil {
			return err
		}
		o.network = network
		defer func() { network.Close(); o.network = nil }()
	}
	s, err := beginSession(ctx, o, programs, seed, o.network)
	if err != nil {
		return err
	}
	s.figures = &t.figures
	var failed error
	if sc.steps != nil {
		if failed = s.load.Fill(ctx, o.prefill, 20); failed == nil {
			failed = sc.steps(s)
		}
		t.rounds++
	} else {
		for i := 0; i < rounds && failed == nil && ctx.Err() == nil; i++ {
			if failed = sc.round(s); failed == nil {
				t.rounds++
			}
		}
	}
	if failed == nil {
		failed = ctx.Err()
	}
	verdict, err := s.end()
	if failed != nil || err != nil {
		return errors.Join(failed, err)
	}
	t.add(verdict, s.notes)
	if len(verdict.Failures) > 0 {
		return fmt.Errorf("%d findings:\n    %s", len(verdict.Failures), strings.Join(verdict.Failures, "\n    "))
	}
	return nil
}

// total of all sessions of a side.
type total struct {
	figures figures
	rounds  int
	sum     history.Verdict
	notes   []string
}

func (t *total) add(v *history.Verdict, notes []string) {
	t.sum.Operations += v.Operations
	t.sum.Unknown += v.Unknown
	t.sum.Revisions += v.Revisions
	t.sum.Events += v.Events
	t.sum.Resumed += v.Resumed
	t.sum.Keys += v.Keys
	t.sum.GaveUp += v.GaveUp
	t.sum.Leases += v.Leases
	t.notes = append(t.notes, notes...)
}

func (t *total) String() string {
	text := fmt.Sprintf("%d rounds, %d operations (%d of unknown outcome), %d revisions, %d watch events (%d resumes), %d leases, %d keys linearizable",
		t.rounds, t.sum.Operations, t.sum.Unknown, t.sum.Revisions, t.sum.Events, t.sum.Resumed, t.sum.Leases, t.sum.Keys-t.sum.GaveUp)
	if t.sum.GaveUp > 0 {
		text += fmt.Sprintf(", %d too hard to decide", t.sum.GaveUp)
	}
	if len(t.figures.samples) > 0 {
		text += "; " + t.figures.String()
	}
	for _, note := range t.notes {
		text += "\n    " + note
	}
	return text
}
