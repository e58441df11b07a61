#!/usr/bin/python3
"""kedgectl against a running server: what only shows over time (watches and leases that outlive a killed server), and that
it prints what the official etcdctl prints to the same command line, where that has been built (build/interop/bin)."""

import os
import re
import signal
import subprocess
import time

import programs
import tally
from member import on_one_member
from programs import ETCDCTL, KEDGECTL, is_there
from tally import Skipped, check, check_equal, wait_for

# Command lines that may be run twice; each is tried in all formats. {lease} and {bad} are filled in.
TWIN_CASES = """
get a|get a b|get --prefix k|get --prefix k --keys-only|get --prefix k --limit 2 --order DESCEND|get missing
get "" --from-key --count-only|get k1 --rev 2|get k1 --rev 99999|get k1 --consistency x|get|get a --nosuch|get -x
get --prefix k --sort-by VALUE|get --prefix k --stream|get k1 --print-value-only|get k1 --limit x|get k1 --limit
put|put a --lease zz|put a b --lease {bad}|put a b c --ignore-value|put none --ignore-value|del|del x --prefix --from-key
del none|lease timetolive {lease}|lease timetolive {lease} --keys|lease timetolive {bad}|lease list|lease revoke {bad}
lease keep-alive --once {lease}|lease keep-alive --once {bad}|lease keep-alive {bad}|lease grant|lease grant x
lease revoke|lease keep-alive zz|member list|member list --consistency s|member list --hex
endpoint status|endpoint status --cluster|endpoint hashkv|endpoint hashkv --rev 3|endpoint hashkv --rev 99999
endpoint health|alarm list|alarm list x|alarm disarm|compaction|compaction x|compaction 99999
get k1 --hex|get bin|get bin --hex|get uni|nosuch|gett|txn x|watch|g k1|memb list|get k1 -w yaml|--dial-timeout 5 get k1
get k1 --dial-timeout=1ms|get k1 --command-timeout=1x|get k1 --command-timeout=0|put k1 late --command-timeout=-1s|get k1 --stream --command-timeout=0
get k1 --max-recv-bytes=100 --max-request-bytes=200|get k1 --limit 1_0|get k1 --endpoints=|get k1 --endpoints=a"b|get --prefix k --min-mod-rev 4 --max-mod-rev 3|get k1 --order up
""".replace("\n", "|").strip("|").split("|")
# Those that never get as far as an output format.
TWIN_REFUSALS = """
make-mirror|make-mirror a b|make-mirror a:1 --dest-prefix=x --no-dest-prefix|make-m a:1 -w yaml|check perf --load zz
check datascale --load zz|check pe --load zz|completion|completion tcsh|completion bash zsh|help nosuch|help x y|get k1 --cert=
get k1 --key=|get k1 --cacert=|get k1 --debug=x|user --nosuch|--nosuch|-w|e|en heal -w yaml|l|mem li|ch perf --load y|nosuch --help|--nosuch x get
""".replace("\n", "|").strip("|").split("|")
TWIN_TXNS = [
    'mod("k1") > "0"\n\nget k1\n\n\n', 'value("k1") = "x y"\n\nget a\n\nget --prefix k\nget none\n\n', "\n\n\n", "foo\n", "",
    'foo("k") = "1"\n', 'mod(k) = "1"\n', 'mod("k") = "x"\n', "\nfrob x\n\n\n", "\nget\n\n\n", 'mod("k") = 1\n',
    'value("k1") = "x\\x00"\n\nput k1 "x\\x00"\n\nget "\\x00" "k1\\x00"\nget "k1\\x00"\n\n',
    'ver(`k1`) != "7"\nc("k1") < "100"\n\nget "k1" --keys-only\n\n\n', '\nput d 1\nput d 2\n\n\n',
]  # fmt: skip
FORMATS = ["simple", "fields", "json", "table", "protobuf"]


def run(program, *args, text=None, env=None):
    return programs.run(program, *args, stdin=text or b"", timeout=20, text=False, env=programs.environment(**(env or {})))


def ctl(member, *args, **options):
    return run(KEDGECTL, f"--endpoints={member.endpoint}", *args, **options)


def expect(result, stdout, status=0):
    good = result.status == status and result.out.decode() == stdout
    check(good, f"expected status {status} and\n{stdout}\ngot {result.status} and\n{result.out.decode()}{result.errors.decode()}")


class Running:
    """A kedgectl that goes on; its output so far is in .text()."""

    def __init__(self, member, *args):
        self.path = os.path.join(member.folder, f"out{time.monotonic_ns()}")
        self.file = open(self.path, "wb")
        self.process = programs.begin(KEDGECTL, f"--endpoints={member.endpoint}", *args, stdin=subprocess.PIPE,
                                      stdout=self.file, stderr=subprocess.STDOUT, text=False)

    def text(self):
        with open(self.path, "rb") as f:
            return f.read().decode()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.file.close()


def put_until_seen(member, watch, key):
    """A watch begins somewhen after its process: puts until one of them is seen, and returns how many it took."""
    count = 0

    def seen():
        nonlocal count
        count += 1
        expect(ctl(member, "put", key, str(count)), "OK\n")
        return f"\n{key}\n" in watch.text()

    wait_for(f"an event of {key}", seen)


def test_a_watch_outlives_a_killed_server_and_sees_each_event_once(member):
    watch = Running(member, "watch", "--prefix", "w/")
    try:
        put_until_seen(member, watch, "w/first")
        member.kill()
        member.start()
        for i in range(20):
            expect(ctl(member, "put", f"w/{i:02}", "x"), "OK\n")
        wait_for("the last event", lambda: "w/19\nx\n" in watch.text())
        seen = re.findall(r"^w/\d\d$", watch.text(), re.M)
        check_equal("events", seen, [f"w/{i:02}" for i in range(20)])
    finally:
        watch.close()


def test_interactive_watches_share_a_stream(member):
    watch = Running(member, "watch", "-i")
    try:
        watch.say("watch i/a")
        watch.say('watch "i/b" --prev-kv')
        watch.say("nonsense")
        put_until_seen(member, watch, "i/a")
        put_until_seen(member, watch, "i/b")
        watch.say("progress")
        wait_for("progress", lambda: "progress notify: " in watch.text())
        check("Invalid command nonsense (only support watch)" in watch.text(), watch.text())
    finally:
        watch.close()


def test_a_watch_runs_a_command_at_each_event(member):
    watch = Running(member, "watch", "e/k", "--", "sh", "-c", "echo ran $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY")
    try:
        put_until_seen(member, watch, "e/k")
        wait_for("the command", lambda: 'ran "PUT" "e/k"' in watch.text())
    finally:
        watch.close()


def test_output_that_nobody_reads_any_more_ends_it(member):
    expect(ctl(member, "put", "p/k", text=b"x" * 200000), "OK\n")
    for program in [KEDGECTL] + [ETCDCTL] * is_there(ETCDCTL):
        for args in (["watch", "p/k", "--rev=1"], ["get", "p/k"], ["get", "p/k", "-w", "json"]):
            reader = programs.begin(program, f"--endpoints={member.endpoint}", *args, stdout=subprocess.PIPE, text=False)
            reader.stdout.read(1)
            reader.stdout.close()
            check_equal(f"{program} {args}", reader.wait(20), -signal.SIGPIPE)


def test_what_is_wrong_with_a_watch_s_command_is_told(member):
    cases = [
        (["sh", "-c", "exit 127"], "exit status 127"), (["sh", "-c", "read line || exit 5"], "exit status 5"),
        (["nosuchcommand"], 'exec: "nosuchcommand": executable file not found in $PATH'),
        (["/etc/passwd"], "fork/exec /etc/passwd: permission denied"), (["sh", "-c", "kill -9 $$"], "signal: killed"),
    ]  # fmt: skip
    expect(ctl(member, "put", "f/k", "x"), "OK\n")
    for command, why in cases:
        quoted = " ".join(f'"{word}"' for word in command)
        for program in [KEDGECTL] + [ETCDCTL] * is_there(ETCDCTL):
            watch = programs.begin(program, f"--endpoints={member.endpoint}", "watch", "f/k", "--rev=1", "--", *command,
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=False)
            check_equal(f"status of {command}", watch.wait(20), 1)
            check_equal(program, watch.stderr.read().decode(), f"command [{quoted}] error ({why})\n")
            watch.stdin.close()
            watch.stderr.close()


def test_a_kept_lease_outlives_a_killed_server(member):
    lease = ctl(member, "lease", "grant", "5").out.split()[1].decode()
    expect(ctl(member, "put", "leased", "x", f"--lease={lease}"), "OK\n")
    keeper = Running(member, "lease", "keep-alive", lease)
    try:
        wait_for("a renewal", lambda: "keepalived" in keeper.text())
        member.kill()
        member.start()
        time.sleep(6)
        expect(ctl(member, "get", "leased"), "leased\nx\n")
        expect(ctl(member, "lease", "revoke", lease), f"lease {lease} revoked\n")
        wait_for("the end", lambda: f"lease {lease} expired or revoked." in keeper.text())
        wait_for("the exit", lambda: keeper.process.poll() == 0)
    finally:
        keeper.close()


def test_a_lease_is_given_up_when_nobody_answers_for_its_time(member):
    lease = ctl(member, "lease", "grant", "2").out.split()[1].decode()
    keepers = [Running(member, "lease", "keep-alive", lease), Running(member, "lease", "keep-alive", lease, "-w", "json")]
    try:
        wait_for("renewals", lambda: all("TTL" in k.text() or "ttl" in k.text() for k in keepers))
        member.kill()
        for keeper in keepers:
            wait_for("its end", lambda k=keeper: k.process.poll() == 0)
        check(keepers[0].text().endswith(f"lease {lease} expired or revoked.\n"), keepers[0].text())
        late = ctl(member, "lease", "keep-alive", lease, "--dial-timeout=100ms")
        expect(late, f"lease {lease} expired or revoked.\n")
    finally:
        for keeper in keepers:
            keeper.close()
        member.start()


def test_no_server_is_told_in_time(member):
    start = time.monotonic()
    dead = run(KEDGECTL, "--endpoints=127.0.0.1:1", "--command-timeout=1s", "get", "a")
    took = time.monotonic() - start
    good = dead.status == 1 and dead.errors == b"Error: context deadline exceeded\n" and took <= 5
    check(good, f"{dead.status} {dead.errors} after {took:.1f} s")
    expect(run(KEDGECTL, f"--endpoints=127.0.0.1:1,{member.endpoint}", "get", "none"), "")


def test_large_values_come_back_whole(member):
    value = os.urandom(1_400_000)
    expect(ctl(member, "put", "large", text=value), "OK\n")
    check(ctl(member, "get", "large", "--print-value-only").out == value + b"\n", "another value")


def masked(result):
    """What must be the same: without log lines, times, usage texts and the programs' names."""
    out = re.sub(rb"[0-9.]+(ns|ms|s|\xc2\xb5s)\b", b"<TIME>", result.out)
    out = re.sub(rb" +", b" ", re.sub("(?:─)+".encode(), "─".encode(), out))
    out = re.sub(rb"remaining\(\d+s\)", b"remaining(<LEFT>)", out)
    out = re.sub(rb"(\"TTL\" : |\"ttl\":)\d+", rb"\1<LEFT>", out)
    err = b"\n".join(line for line in result.errors.split(b"\n") if not line.startswith(b"{"))
    err = re.sub(rb"\nUsage:.*", b"", err, flags=re.S).strip().replace(b"kedgectl", b"etcdctl")
    return result.status, out, err


def compare(member, args, text, differences):
    ours = masked(ctl(member, *args, text=text))
    theirs = masked(run(ETCDCTL, f"--endpoints={member.endpoint}", *args, text=text))
    if ours != theirs:
        differences.append(f"{' '.join(args)} {text or ''}\n  kedgectl {ours}\n  etcdctl  {theirs}")


def test_prints_what_etcdctl_prints(member):
    if not is_there(ETCDCTL):
        raise Skipped(f"no {ETCDCTL}")
    for key, value in [("k1", "x y"), ("k2", "2"), ("k1", "x y"), ("bin", "\x01\u00ff\"q\"\n"), ("uni", "ä€😀")]:
        expect(ctl(member, "put", key, value), "OK\n")
    lease = ctl(member, "lease", "grant", "1000").out.split()[1].decode()
    expect(ctl(member, "put", "k3", "v", f"--lease={lease}"), "OK\n")
    differences = []
    for case in TWIN_CASES:
        args = [word.strip('"') for word in case.format(lease=lease, bad="1234").split()]
        for output in FORMATS if "-w" not in args else ["simple"]:
            compare(member, [*args, "-w", output] if "-w" not in args else args, None, differences)
    for case in TWIN_REFUSALS:
        compare(member, case.split(), None, differences)
    for text in TWIN_TXNS:
        for output in FORMATS:
            compare(member, ["txn", "-w", output], text.encode(), differences)
    check(not differences, "\n".join(differences))


def test_endpoints_may_be_quoted_and_there_may_be_none(member):
    lists = [f'"{member.endpoint}"', f'"{member.endpoint}","{member.endpoint}"', "", '"']
    for text in lists:
        for args in (["get", "k1"], ["endpoint", "health"], ["endpoint", "hashkv"], ["defrag"]):
            for program in [KEDGECTL] + [ETCDCTL] * is_there(ETCDCTL):
                said = masked(run(program, f"--endpoints={text}", *args))
                wanted = said if program == KEDGECTL else wanted
                check_equal(f"{program} {text} {args}", said, wanted)
        check_equal(f"status of {text} {args}", said[0], 1 if text == '"' else 0)
    from_variable = run(KEDGECTL, "get", "k1", env={"ETCDCTL_ENDPOINTS": lists[0]})
    check_equal("by a variable", (from_variable.status, from_variable.errors), (0, b""))


def variable_cases():
    """Each variable of a flag of all commands, with a value that is not its default, and how --debug shows it."""
    values = {"string": "x", "bool": None, "duration": "3s", "int": "4000000", "stringSlice": "127.0.0.1:1,127.0.0.1:2"}
    with open("tests/data/etcd/etcdctl.tsv") as table:
        rows = [dict(zip(HEAD, line.rstrip("\n").split("\t"))) for line in table]
    for row in rows:
        if row["env"].startswith("ETCDCTL_") and row["kind"] == "global_flag":
            value = values[row["type"]] or {"true": "false", "false": "true"}[row["default"]]
            value = "json" if row["name"] == "write-out" else value
            yield row["env"], value, f"[{value}]" if row["type"] == "stringSlice" else value


HEAD = ["command", "kind", "name", "shorthand", "type", "default", "env"]


def test_every_flag_of_all_commands_has_its_variable(member):
    count = 0
    for name, value, shown in variable_cases():
        count += 1
        flags = [] if name == "ETCDCTL_ENDPOINTS" else [f"--endpoints={member.endpoint}"]
        flags += [] if name == "ETCDCTL_COMMAND_TIMEOUT" else ["--command-timeout=500ms"]
        flags += [] if name == "ETCDCTL_DEBUG" else ["--debug"]
        for program in [KEDGECTL, ETCDCTL] if is_there(ETCDCTL) else [KEDGECTL]:
            if program == ETCDCTL and name == "ETCDCTL_USER":  # would ask for a password
                continue
            said = run(program, *flags, "endpoint", "health", env={name: value}).errors.decode()
            check(f"{name}={shown}\n" in said, f"{program}: {name}={value} was not taken:\n{said}")
        if name in ("ETCDCTL_USER", "ETCDCTL_CACERT", "ETCDCTL_DISCOVERY_SRV"):
            flag = name[len("ETCDCTL_"):].lower().replace("_", "-")
            check(said.endswith(f"Error: --{flag}: not supported by kedge yet\n") or program != KEDGECTL, f"{name}: {said}")
    check(count >= 20, f"only {count} variables")
    both = run(KEDGECTL, f"--endpoints={member.endpoint}", "get", "a", env={"ETCDCTL_ENDPOINTS": "127.0.0.1:1"})
    check(both.status == 1 and b"ETCDCTL_ENDPOINTS" in both.errors, f"flag and variable: {both}")


on_one_member(tally.scenarios(globals()))
