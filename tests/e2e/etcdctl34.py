"""The scenario of etcdctl34_test.sh: each step is a command, its input, and what it must print. With three members each
step goes through another one, and what it must show doesn't change."""

import itertools
import re
import sys
import time

from cluster import Cluster
from programs import begin, environment, run
from tally import end, expect

ENVIRONMENT = environment(ETCDCTL_API="3")


def etcdctl(endpoint, arguments, expected, stdin=None, status=0):
    got, out = run_etcdctl(endpoint, *arguments, stdin=stdin)
    expect(f"etcdctl --endpoints {endpoint} {' '.join(arguments)}", got == status and re.search(expected, out, re.S),
           f"status {got}, expected {status} and {expected!r}, got:\n{out}")
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
    expect("lease list", leases == f"found 1 leases\n{lease}\n", leases)
    step(["lease", "keep-alive", "--once", lease], r"keepalived with TTL\(300\)")
    step(["lease", "revoke", lease], rf"^lease {lease} revoked$")
    step(["get", "leased"], r"^$")
    watch = begin("etcdctl", "--endpoints", next(turns).endpoint, "watch", "--prefix", "", "--rev=2", stderr=None, env=ENVIRONMENT)
    events = [watch.stdout.readline().strip() for _ in range(12)]
    watch.terminate()
    expect("watch --rev=2", events[:9] == ["PUT", "a", "1", "PUT", "b/1", "x", "PUT", "b/2", "y"], events)
    step(["compaction", "4"], r"^compacted revision 4$")
    step(["get", "a", "--rev=3"], r"required revision has been compacted", status=1)
    step(["endpoint", "status", "-w", "table"], r"3\.7\.1")
    step(["endpoint", "health"], r"is healthy")
    step(["endpoint", "hashkv"], r"^127\.0\.0\.1:\d+, \d+$")
    listed = step(["member", "list"], r"started, m1, http://")
    expect("member list", listed.count("started, m") == len(cluster.members), listed)
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
    expect("who leads after move-leader", cluster.leader() is follower, f"not {follower.name}")
    etcdctl(leader.endpoint, ["move-leader", identity(leader)], r"no leader endpoint given at", status=128)
    joining = cluster.joining()
    try:
        # etcd and kedge refuse changes until all members were seen for five seconds.
        added = retry(lambda: run_etcdctl(cluster.endpoints, "member", "add", joining.name, "--learner", f"--peer-urls={joining.peer_url}"))
        expect("member add --learner", re.search(r"Member +\w+ added to cluster", added), added)
        expect("member add prints no settings", 'ETCD_INITIAL_CLUSTER_STATE="existing"' in added, added)
        joining.begin()
        cluster.members.append(joining)
        ident = re.search(r"Member +(\w+) added", added).group(1)
        promoted = retry(lambda: run_etcdctl(cluster.members[0].endpoint, "member", "promote", ident))
        expect("member promote", re.search(rf"Member +{ident} promoted in cluster", promoted), promoted)
        joining.wait_ready()
        etcdctl(joining.endpoint, ["get", "a"], r"^a\nnew\n$")
        expect("hashes", cluster.same_hash() is not None)
        first = cluster.members[0]
        gone = identity(first)
        etcdctl(joining.endpoint, ["member", "update", gone, f"--peer-urls={first.peer_url}"], rf"Member +{gone} updated in cluster")
        removed = retry(lambda: run_etcdctl(joining.endpoint, "member", "remove", gone))
        expect("member remove", re.search(rf"Member +{gone} removed from cluster", removed), removed)
        first.process.wait(30)
        cluster.members.remove(first)
        first.close()
        # What is on its way to a leader that goes is lost: the client asks again.
        put = retry(lambda: run_etcdctl(cluster.endpoints, "put", "after", "1"))
        expect("put after the removal", put == "OK\n", put)
        for member in cluster.members:
            etcdctl(member.endpoint, ["get", "after"], r"^after\n1\n$")
        listed = etcdctl(cluster.endpoints, ["member", "list"], r"started")
        expect("member list", listed.count("started, m") == 3 and gone not in listed, listed)
    finally:
        if joining not in cluster.members:
            joining.close()


def run_etcdctl(endpoint, *arguments, stdin=None):
    result = run("etcdctl", f"--endpoints={endpoint}", *arguments, stdin=stdin, env=ENVIRONMENT)
    return result.status, result.out + result.errors


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
        expect("the run", False, f"{type(error).__name__}: {error}\n{cluster.last_words()}")
    finally:
        cluster.close()
    end()


main()
