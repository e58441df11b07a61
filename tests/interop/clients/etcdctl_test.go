package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kedge/tests/interop/member"
)

// shell runs etcdctl against one server and writes down what it prints.
type shell struct {
	ctx     context.Context
	etcdctl string
	server  *server
	told    *transcript
	names   map[string]string // ids made by the server -> what the transcript calls them
}

func (s *shell) command(arguments []string) *exec.Cmd {
	c := exec.CommandContext(s.ctx, s.etcdctl, arguments...)
	// The environment could otherwise name an endpoint or an API.
	c.Env = append([]string{"ETCDCTL_ENDPOINTS=" + s.server.next(s.ctx), "LC_ALL=C"}, member.Environment()...)
	return c
}

func (s *shell) renamed(text string) string {
	for id, name := range s.names {
		text = strings.ReplaceAll(text, id, name)
	}
	return text
}

// run executes one command line, split at spaces; words may hold {lease}.
func (s *shell) run(line string, input string) string {
	var arguments []string
	for _, word := range strings.Fields(line) {
		for id, name := range s.names {
			word = strings.ReplaceAll(word, "{"+name+"}", id)
		}
		arguments = append(arguments, word)
	}
	c := s.command(arguments)
	c.Stdin = strings.NewReader(input)
	var out, diagnostics bytes.Buffer
	c.Stdout, c.Stderr = &out, &diagnostics
	err := c.Run()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		code = -1
		fmt.Fprintln(&diagnostics, err)
	}
	s.told.add("> etcdctl %s", line)
	if text := s.renamed(out.String()); text != "" {
		s.told.add("%s", strings.TrimRight(text, "\n"))
	}
	if text := s.renamed(diagnostics.String()); text != "" {
		s.told.add("stderr: %s", strings.TrimRight(text, "\n"))
	}
	if code != 0 {
		s.told.add("exit status %d", code)
	}
	return out.String()
}

var leaseGranted = regexp.MustCompile(`lease ([0-9a-f]{6,16}) granted`)

func TestEtcdctlScenario(t *testing.T) {
	etcdctl := program(t, *etcdctlFlag)
	onBoth(t, func(ctx context.Context, m *server, told *transcript) error {
		s := &shell{ctx: ctx, etcdctl: etcdctl, server: m, told: told, names: map[string]string{}}

		// put, get, range, delete
		s.run("put a 1", "")
		s.run("put a 2 --prev-kv", "")
		s.run("put ab from-argument", "")
		s.run("put b", "from standard input\nin two lines")
		s.run("put empty --", "")
		s.run("put -- -dash minus", "")
		s.run("put a 3 --ignore-value", "")
		s.run("put a --ignore-value", "")
		s.run("put nothing --ignore-value", "")
		s.run("put a 4 --lease=77", "")
		s.run("get a", "")
		for _, format := range []string{"simple", "json", "fields", "protobuf"} {
			if format == "protobuf" && m.members != nil {
				continue // ids in it that nobody can mask
			}
			s.run("get a z --write-out="+format, "")
		}
		s.run("get a --prefix --keys-only", "")
		s.run("get a --prefix --print-value-only", "")
		s.run("get --from-key a --limit=2", "")
		s.run("get a z --order=DESCEND --sort-by=KEY", "")
		s.run("get a z --order=DESCEND --sort-by=MODIFY --limit=1", "")
		s.run("get a z --sort-by=VALUE", "")
		s.run("get a z --count-only --write-out=fields", "")
		s.run("get a --rev=2", "")
		s.run("get a --rev=1000", "")
		s.run("get a --rev=-1", "")
		s.run("get a --consistency=s", "")
		s.run("get a z --min-mod-rev=4 --max-create-rev=5", "")
		s.run("get a z --stream", "")
		s.run("get missing", "")
		s.run("del empty", "")
		s.run("del a z --prev-kv", "")
		s.run("del a", "")
		s.run("del -- -dash", "")

		// transactions
		s.run("put t 1", "")
		s.run("txn", "value(\"t\") = \"1\"\nversion(\"t\") > \"0\"\n\nput t 2\nget t\nput t2 x\n\nget t\n\n")
		s.run("txn --write-out=json", "mod(\"t\") < \"3\"\n\nput never x\n\ndel t\nget t --prefix\n\n")
		s.run("txn", "create(\"t\") = \"0\"\n\nput t again\nput t twice\n\n\n")
		s.run("txn", "nonsense\n\n\n")

		// leases
		s.run("lease list", "")
		s.run("lease grant 1000 --write-out=json", "")
		out := &transcript{}
		quiet := &shell{ctx: ctx, etcdctl: etcdctl, server: m, told: out}
		id := leaseGranted.FindStringSubmatch(quiet.run("lease grant 1000", ""))
		if id == nil {
			return fmt.Errorf("no lease id in %q", out.out.String())
		}
		s.names[id[1]] = "lease"
		// Other formats print it in decimal.
		number, err := strconv.ParseInt(id[1], 16, 64)
		if err != nil {
			return err
		}
		s.names[fmt.Sprint(number)] = "decimal"
		s.run("put leased 1 --lease={lease}", "")
		s.run("put leased/2 2 --lease={lease}", "")
		s.run("get leased --write-out=fields", "")
		s.run("lease timetolive {lease}", "")
		s.run("lease timetolive {lease} --write-out=json", "")
		s.run("lease keep-alive --once {lease}", "")
		s.run("lease timetolive 123", "")
		s.run("lease keep-alive --once 123", "")
		s.run("lease revoke 123", "")
		s.run("lease revoke {lease}", "")
		s.run("lease revoke {lease}", "")
		s.run("get leased --prefix", "")
		s.run("lease grant 0", "")
		s.run("lease grant -- 9000000001", "")

		// watches
		if err := s.watch("watch w --prefix --prev-kv --rev=1", 4, "put w1 one", "put w1 two", "del w1", "put w2 x"); err != nil {
			return err
		}
		if err := s.watch("watch w w3 --write-out=json --rev=1", 1); err != nil {
			return err
		}
		s.run("compaction 12", "")
		s.run("compaction 12", "")
		s.run("compaction 12345", "")
		s.run("compaction --physical 14", "")
		s.run("get a --rev=3", "")
		s.run("watch w --rev=3", "")
		s.run("defrag", "")

		// the server itself
		for _, format := range []string{"simple", "json", "fields", "table"} {
			// What differs stands in columns there, as wide as it is long.
			if format != "simple" && format != "table" {
				s.run("endpoint status --write-out="+format, "")
			}
			if format != "table" {
				s.run("endpoint health --write-out="+format, "")
			}
			s.run("endpoint hashkv --write-out="+format, "")
			if m.members == nil { // else TestEtcdctlMembers
				s.run("member list --write-out="+format, "")
			}
		}
		s.run("endpoint hashkv --rev=15", "")
		s.run("endpoint hashkv --rev=13", "")
		s.run("alarm list", "")
		s.run("alarm disarm", "")
		s.run("version", "")

		// locks, elections, going back
		s.run("lock l echo held", "")
		s.run("lock l -- false", "")
		s.run("lock l nosuchprogram", "")
		s.run("lock", "")
		s.run("elect e", "")
		s.run("downgrade validate 3.6", "")
		s.run("downgrade validate 3.5", "")
		s.run("downgrade enable abc", "")
		s.run("downgrade cancel", "")
		return ctx.Err()
	})
}

// watch starts a watch, runs the commands, and waits until the watch has
// printed so many events, before it is stopped.
func (s *shell) watch(line string, events int, commands ...string) error {
	c := s.command(strings.Fields(line))
	out := &lockedBuffer{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		return err
	}
	for _, command := range commands {
		s.run(command, "")
	}
	deadline := time.Now().Add(15 * time.Second)
	enough := func() bool {
		text := out.String()
		return strings.Count(text, "PUT\n")+strings.Count(text, "DELETE\n")+strings.Count(text, `"Events":[{`) >= events
	}
	for !enough() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // for one too many
	_ = c.Process.Kill()
	_ = c.Wait()
	s.told.add("> etcdctl %s", line)
	s.told.add("%s", s.renamed(out.String()))
	return nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
