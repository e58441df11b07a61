"""The scenario of etcdctl34_test.sh: each step is a command, its input, and what it must print. With three members each
step goes through another one, and what it must show doesn't change."""

import itertools
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster

passed = failed = 0
ENVIRONMENT = {"PATH": os.environ["PATH"], "ETCDCTL_API": "3"}


def check(condition, text):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(text)


def etcdctl(endpoint, arguments, expected, stdin=None, status=0):
    run = subprocess.run(["etcdctl", "--endpoints", endpoint, *arguments], input=stdin, capture_output=True, text=True,
                         timeout=60, env=ENVIRONMENT)
    out = run.stdout + run.stderr
    check(run.returncode == status and re.search(expected, out, re.S),
          f"etcdctl --endpoints {endpoint} {' '.join(arguments)}: status {run.returncode}, expected {status} and {expected!r}, got:\n{out}")
    return out


def scenario(cluster):
    turns = itertools.cycle(cluster.members)

    def step(arguments, expected, stdin=None, status=0):
        return etcdctl(next(turns).endpoint, arguments, expected, stdin, status)

    step(["put", "a", "1"], r"^OK$")
    step(["put", "b/1", "x"], r"^OK$")
    step(["put", "b/2", "y"], r"^OK$")
    step(["get", "a"], r"^a\n1\n$")
    step(["get", "b/", "--prefix", "--keys-only"], r"^b/1\n\nb/2\n\n$")
    step(["get", "b/", "--prefix", "--order=DESCEND", "--limit=1"], r"^b/2\ny\n$")
    step(["get", "a", "-w", "json"], r'"kvs":\[\{"key":"YQ==","create_revision":2,"mod_revision":2,"version":1')
    step(["put", "a", "2", "--prev-kv"], r"^OK\na\n1\n$")
    step(["get", "a", "--rev=2"], r"^a\n1\n$")
    step(["del", "b/1", "--prev-kv"], r"^1\nb/1\nx\n$")
    step(["txn"], r"^SUCCESS\n\nOK\n\na\nnew\n", stdin='mod("a") > "1"\n\nput a new\nget a\n\nput a old\n\n')
    step(["txn"], r"^FAILURE\n\nb/2\ny\n", stdin='value("a") = "nothing"\n\nput a wrong\n\nget b/2\n\n')
    lease = step(["lease", "grant", "300"], r"^lease [0-9a-f]{16} granted with TTL\(300s\)").split()[1]
    step(["put", "--lease", lease, "leased", "v"], r"^OK$")
    step(["lease", "timetolive", lease, "--keys"], r"TTL\(300s\), remaining\((300|29\d)s\), attached keys\(\[leased\]\)")
    # Each member lists the leases that it knows of, so one that is behind is asked again.
    listing = next(turns).endpoint
    leases = retry(lambda: run_etcdctl(listing, "lease", "list"), lambda out: lease in out)
    check(leases == f"found 1 leases\n{lease}\n", f"lease list: {leases}")
    step(["lease", "keep-alive", "--once", lease], r"keepalived with TTL\(300\)")
    step(["lease", "revoke", lease], rf"^lease {lease} revoked$")
    step(["get", "leased"], r"^$")
    watch = subprocess.Popen(["etcdctl", "--endpoints", next(turns).endpoint, "watch", "--prefix", "", "--rev=2"],
                             stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    events = [watch.stdout.readline().strip() for _ in range(12)]
    watch.terminate()
    check(events[:9] == ["PUT", "a", "1", "PUT", "b/1", "x", "PUT", "b/2", "y"], f"watch --rev=2: {events}")
    step(["compaction", "4"], r"^compacted revision 4$")
    step(["get", "a", "--rev=3"], r"required revision has been compacted", status=1)
    step(["endpoint", "status", "-w", "table"], r"3\.7\.1")
    step(["endpoint", "health"], r"is healthy")
    step(["endpoint", "hashkv"], r"^127\.0\.0\.1:\d+, \d+$")
    listed = step(["member", "list"], r"started, m1, http://")
    check(listed.count("started, m") == len(cluster.members), f"member list: {listed}")
    step(["alarm", "list"], r"^$")
    step(["defrag"], r"Finished defragmenting")
    for member in cluster.members:
        member.stop()
    cluster.start()
    for _ in cluster.members:
        step(["get", "a"], r"^a\nnew\n$")


def member_commands(cluster):
    """Three members that become four and three again, and lead in turn, by etcdctl alone."""
    def identity(member):
        listed = etcdctl(cluster.endpoints, ["member", "list"], r"started")
        return re.search(rf"^ *(\w+), \w+, {member.name}, ", listed, re.M).group(1)

    leader = cluster.leader()
    follower = next(m for m in cluster.members if m is not leader)
    etcdctl(cluster.endpoints, ["move-leader", identity(follower)], r"Leadership transferred from +\w+ to +" + identity(follower))
    check(cluster.leader() is follower, f"{follower.name} does not lead after move-leader")
    etcdctl(leader.endpoint, ["move-leader", identity(leader)], r"no leader endpoint given at", status=128)
    joining = cluster.joining()
    try:
        # etcd and kedge refuse changes until all members were seen for five seconds.
        added = retry(lambda: run_etcdctl(cluster.endpoints, "member", "add", joining.name, "--learner", f"--peer-urls={joining.peer_url}"))
        check(re.search(r"Member +\w+ added to cluster", added), f"member add --learner: {added}")
        check('ETCD_INITIAL_CLUSTER_STATE="existing"' in added, f"member add prints no settings: {added}")
        joining.begin()
        cluster.members.append(joining)
        ident = re.search(r"Member +(\w+) added", added).group(1)
        promoted = retry(lambda: run_etcdctl(cluster.members[0].endpoint, "member", "promote", ident))
        check(re.search(rf"Member +{ident} promoted in cluster", promoted), f"member promote: {promoted}")
        joining.wait_ready()
        etcdctl(joining.endpoint, ["get", "a"], r"^a\nnew\n$")
        check(cluster.same_hash() is not None, "hashes differ")
        first = cluster.members[0]
        gone = identity(first)
        etcdctl(joining.endpoint, ["member", "update", gone, f"--peer-urls={first.peer_url}"], rf"Member +{gone} updated in cluster")
        removed = retry(lambda: run_etcdctl(joining.endpoint, "member", "remove", gone))
        check(re.search(rf"Member +{gone} removed from cluster", removed), f"member remove: {removed}")
        first.process.wait(30)
        cluster.members.remove(first)
        first.close()
        # What is on its way to a leader that goes is lost: the client asks again.
        put = retry(lambda: run_etcdctl(cluster.endpoints, "put", "after", "1"))
        check(put == "OK\n", f"put after the removal: {put}")
        for member in cluster.members:
            etcdctl(member.endpoint, ["get", "after"], r"^after\n1\n$")
        listed = etcdctl(cluster.endpoints, ["member", "list"], r"started")
        check(listed.count("started, m") == 3 and gone not in listed, f"member list: {listed}")
    finally:
        if joining not in cluster.members:
            joining.close()


def run_etcdctl(endpoint, *arguments):
    run = subprocess.run(["etcdctl", "--endpoints", endpoint, *arguments], capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    return run.returncode, run.stdout + run.stderr


def retry(command, good=lambda out: True, wait=60):
    """What is refused at first (not in sync, unhealthy), until it isn't."""
    end = time.monotonic() + wait
    while True:
        status, out = command()
        if (status == 0 and good(out)) or time.monotonic() > end:
            return out
        time.sleep(0.2)


def main():
    program = sys.argv[2] if len(sys.argv) > 2 else None
    cluster = Cluster(int(sys.argv[1]), program=program)
    try:
        cluster.start()
        scenario(cluster)
        if len(cluster.members) > 1:
            member_commands(cluster)
    except Exception as error:  # the last line counts
        check(False, f"{type(error).__name__}: {error}")
        for member in cluster.members:
            print(f"--- {member.name}\n{member.output(12)}")
    finally:
        cluster.close()
    print(f"{passed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
