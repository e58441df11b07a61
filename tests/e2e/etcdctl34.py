"""The scenario of etcdctl34_test.sh: each step is a command, its input, and what it must print."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from member import Member

passed = failed = 0


def step(member, arguments, expected, stdin=None, status=0):
    global passed, failed
    run = subprocess.run(["etcdctl", "--endpoints", member.endpoint, *arguments], input=stdin, capture_output=True,
                         text=True, timeout=60, env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"})
    out = run.stdout + run.stderr
    if run.returncode == status and re.search(expected, out, re.S):
        passed += 1
    else:
        failed += 1
        print(f"etcdctl {' '.join(arguments)}: status {run.returncode}, expected {status} and {expected!r}, got:\n{out}")
    return out


member = Member()
try:
    member.start()
    step(member, ["put", "a", "1"], r"^OK$")
    step(member, ["put", "b/1", "x"], r"^OK$")
    step(member, ["put", "b/2", "y"], r"^OK$")
    step(member, ["get", "a"], r"^a\n1\n$")
    step(member, ["get", "b/", "--prefix", "--keys-only"], r"^b/1\n\nb/2\n\n$")
    step(member, ["get", "b/", "--prefix", "--order=DESCEND", "--limit=1"], r"^b/2\ny\n$")
    step(member, ["get", "a", "-w", "json"], r'"kvs":\[\{"key":"YQ==","create_revision":2,"mod_revision":2,"version":1')
    step(member, ["put", "a", "2", "--prev-kv"], r"^OK\na\n1\n$")
    step(member, ["get", "a", "--rev=2"], r"^a\n1\n$")
    step(member, ["del", "b/1", "--prev-kv"], r"^1\nb/1\nx\n$")
    step(member, ["txn"], r"^SUCCESS\n\nOK\n\na\nnew\n", stdin='mod("a") > "1"\n\nput a new\nget a\n\nput a old\n\n')
    step(member, ["txn"], r"^FAILURE\n\nb/2\ny\n", stdin='value("a") = "nothing"\n\nput a wrong\n\nget b/2\n\n')
    lease = step(member, ["lease", "grant", "300"], r"^lease [0-9a-f]{16} granted with TTL\(300s\)").split()[1]
    step(member, ["put", "--lease", lease, "leased", "v"], r"^OK$")
    step(member, ["lease", "timetolive", lease, "--keys"], r"TTL\(300s\), remaining\((300|29\d)s\), attached keys\(\[leased\]\)")
    step(member, ["lease", "list"], rf"found 1 leases\n{lease}")
    step(member, ["lease", "keep-alive", "--once", lease], r"keepalived with TTL\(300\)")
    step(member, ["lease", "revoke", lease], rf"^lease {lease} revoked$")
    step(member, ["get", "leased"], r"^$")
    watch = subprocess.Popen(["etcdctl", "--endpoints", member.endpoint, "watch", "--prefix", "", "--rev=2"],
                             stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3"})
    events = [watch.stdout.readline().strip() for _ in range(12)]
    watch.terminate()
    if events[:9] == ["PUT", "a", "1", "PUT", "b/1", "x", "PUT", "b/2", "y"]:
        passed += 1
    else:
        failed += 1
        print(f"watch --rev=2: {events}")
    step(member, ["compaction", "4"], r"^compacted revision 4$")
    step(member, ["get", "a", "--rev=3"], r"required revision has been compacted", status=1)
    step(member, ["endpoint", "status", "-w", "table"], r"3\.7\.1")
    step(member, ["endpoint", "health"], r"is healthy")
    step(member, ["endpoint", "hashkv"], r"^127\.0\.0\.1:\d+, \d+$")
    step(member, ["member", "list"], r"started, m1, http://")
    step(member, ["alarm", "list"], r"^$")
    step(member, ["defrag"], r"Finished defragmenting")
    member.stop()
    member.start()
    step(member, ["get", "a"], r"^a\nnew\n$")
finally:
    member.close()
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
