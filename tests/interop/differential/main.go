// Command differential runs the same seeded operations on two servers, kedge
// and etcd by default, and compares every field of every answer.
//
// See ../README.md for how to run it, mask.go for what may differ.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

type options struct {
	a, b         string
	ops          int
	seeds        int
	seed         uint64
	only, skip   string
	replay       string
	folder       string
	out          string
	steps        int
	shrink       time.Duration
	limit        time.Duration
	keepGoing    bool
	showProgress bool
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	flag.StringVar(&o.a, "a", "build/kedge", "command of the server under test; ports, names and data folder are added")
	flag.StringVar(&o.b, "b", "build/interop/bin/etcd", "command of the reference")
	flag.IntVar(&o.ops, "ops", 5000, "operations a seed")
	flag.IntVar(&o.seeds, "seeds", 1, "how many seeds, each on fresh servers")
	flag.Uint64Var(&o.seed, "seed", 1, "the first seed")
	flag.StringVar(&o.only, "only", "", "comma-separated kinds of operations; empty: all")
	flag.StringVar(&o.skip, "skip", "", "comma-separated kinds of operations to leave out")
	flag.StringVar(&o.replay, "replay", "", "run (and shrink further) this saved history instead")
	flag.StringVar(&o.folder, "dir", "", "parent of the data folders; empty: the system's temporary folder")
	flag.StringVar(&o.out, "out", "build/interop/differences", "where histories that differ are saved")
	flag.IntVar(&o.steps, "steps", 30, "how many of the last steps of a history are printed")
	flag.DurationVar(&o.shrink, "shrink", 90*time.Second, "time to shrink one difference; 0: don't")
	flag.DurationVar(&o.limit, "limit", 0, "begin no further seed after this time; 0: no limit")
	flag.BoolVar(&o.keepGoing, "keep-going", true, "go on with the next seed after a difference")
	flag.BoolVar(&o.showProgress, "progress", true, "a line for each seed")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "unexpected arguments:", flag.Args())
		return 2
	}
	enabled, err := selection(o.only, o.skip)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	folder, err := os.MkdirTemp(o.folder, "differential-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer os.RemoveAll(folder)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	go func() {
		<-interrupted
		os.RemoveAll(folder)
		os.Exit(2) // the servers end with their parent
	}()
	lab := &laboratory{folder: folder}
	for name, command := range map[string]*string{"a": &o.a, "b": &o.b} {
		if *command, err = keepProgram(folder, name, *command); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	lab.a, lab.b = o.a, o.b
	defer func() { lab.discard() }()

	counts := tally{}
	begin := time.Now()
	seen := map[string]int{}
	ran := 0
	for n := range o.seeds {
		if o.limit > 0 && time.Since(begin) > o.limit {
			break
		}
		seed := o.seed + uint64(n)
		var operations []operation
		title := fmt.Sprintf("(seed %d)", seed)
		if o.replay != "" {
			if operations, err = loadHistory(o.replay); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 2
			}
			title = "(" + o.replay + ")"
			o.seeds = 1
		} else {
			operations = newGenerator(seed, enabled).history(o.ops)
		}
		start := time.Now()
		found, steps, err := lab.attempt(operations, counts)
		if err != nil {
			fmt.Fprintln(os.Stderr, "cannot run:", err)
			return 2
		}
		ran++
		if found == nil {
			if o.showProgress {
				fmt.Printf("seed %d: %d operations, no difference, %.1f s\n", seed, len(operations), time.Since(start).Seconds())
			}
			continue
		}
		signature := found.signature()
		seen[signature]++
		path := filepath.Join(o.out, fmt.Sprintf("seed-%d.json", seed))
		if o.replay != "" {
			path = filepath.Join(o.out, "again-"+filepath.Base(o.replay))
		}
		switch {
		case seen[signature] > 1:
			fmt.Printf("seed %d: operation %d differs as before: %s\n", seed, found.index+1, signature)
		case o.shrink <= 0:
			report(os.Stdout, o.steps, title, found, operations[:found.index+1], steps, path)
		default:
			best, last, shorter, attempts := lab.shrink(operations, found, o.shrink)
			if last == nil {
				report(os.Stdout, o.steps, title+", not seen again in a second run", found, operations[:found.index+1], steps, path)
			} else {
				report(os.Stdout, o.steps, fmt.Sprintf("%s, shrunk from %d to %d operations in %d runs", title, found.index+1, len(best), attempts), last, best, shorter, path)
			}
		}
		if o.replay != "" || !o.keepGoing {
			break
		}
	}
	fmt.Printf("\n%d operations over %d seeds in %.1f s, %d different findings in %d seeds\n%s",
		counts.total(), ran, time.Since(begin).Seconds(), len(seen), sum(seen), counts)
	if len(seen) > 0 {
		return 1
	}
	return 0
}

// keepProgram copies the program of a command, so that building it anew
// meanwhile doesn't matter, and returns the command with the copy.
func keepProgram(folder, name, command string) (string, error) {
	words := strings.Fields(command)
	if len(words) == 0 {
		return "", errors.New("empty command")
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	words[0] = filepath.Join(folder, name+"-"+filepath.Base(path))
	return strings.Join(words, " "), os.WriteFile(words[0], data, 0o700)
}

func sum(m map[string]int) int {
	total := 0
	for _, n := range m {
		total += n
	}
	return total
}

// selection turns -only and -skip into a predicate.
func selection(only, skip string) (func(string) bool, error) {
	parse := func(list string) (map[string]bool, error) {
		set := map[string]bool{}
		for _, name := range strings.Split(list, ",") {
			if name = strings.TrimSpace(name); name == "" {
				continue
			}
			if kinds[name] == nil {
				return nil, fmt.Errorf("unknown kind of operation %q; there are: %s", name, strings.Join(kindOrder, " "))
			}
			set[name] = true
		}
		return set, nil
	}
	wanted, err := parse(only)
	if err != nil {
		return nil, err
	}
	unwanted, err := parse(skip)
	if err != nil {
		return nil, err
	}
	return func(name string) bool {
		return (len(wanted) == 0 || wanted[name]) && !unwanted[name]
	}, nil
}
