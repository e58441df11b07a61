"""The disk of one of three members hangs: a leader hands its leadership over and the cluster serves on; a follower is
carried along; neither loses anything, and both go on when the disk does."""

import os
import sys
import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tally
from cluster import Cluster, Stubs
from tally import check

ELECTION_S = 1.0
acknowledged = {}


class Disk:
    """A member's disk, hanging inside `with`."""

    def __init__(self, member):
        self.path = member.environment["STALL_FILE"]

    def __enter__(self):
        open(self.path, "w").close()

    def __exit__(self, *_):
        os.unlink(self.path)


def put(member, timeout):
    key = b"k/%d" % len(acknowledged)
    with Stubs(member) as s:
        acknowledged[key] = s.kv.Put(pb.PutRequest(key=key, value=b"v"), timeout=timeout).header.revision


def longest_gap(members, seconds):
    """Puts through these for so long; the longest time without one that is confirmed."""
    begun = last = time.monotonic()
    gap = 0.0
    while time.monotonic() - begun < seconds:
        for member in members:
            try:
                put(member, 0.3)
                gap, last = max(gap, time.monotonic() - last), time.monotonic()
            except grpc.RpcError:
                pass
        time.sleep(0.01)
    return max(gap, time.monotonic() - last)


def verify(cluster):
    cluster.same_hash()
    with Stubs(cluster.leader()) as s:
        rows = {kv.key: kv.mod_revision for kv in s.kv.Range(pb.RangeRequest(key=b"k/", range_end=b"k0"), timeout=10).kvs}
    for key, revision in acknowledged.items():
        check(rows.get(key) == revision, f"{key} was acknowledged at {revision}, found at {rows.get(key)}")


def test_a_leader_whose_disk_hangs_hands_over(cluster):
    leader, others = cluster.leader(), cluster.followers()
    with Disk(leader):
        # The followers are a quorum of their own, so that nothing waits even before it hands over.
        gap = longest_gap(others, 3 * ELECTION_S)
        print(f"longest time without a put: {gap:.2f} s")
        check(gap <= 2.5 * ELECTION_S, f"nothing was served for {gap:.2f} s")
        with Stubs(others[0]) as s:
            status = s.maintenance.Status(pb.StatusRequest(), timeout=2)
        check(status.leader != 0, "there is no leader")
        with Stubs(leader) as s:
            check(s.maintenance.Status(pb.StatusRequest(), timeout=2).header.member_id != status.leader, "the stalled member leads")
            # What it applies waits for its disk; what it has applied it shows.
            s.kv.Range(pb.RangeRequest(key=b"k/", range_end=b"k0", serializable=True), timeout=3)
        for _ in range(20):
            put(others[0], 2)
    verify(cluster)


def test_a_short_hang_costs_no_leadership(cluster):
    leader = cluster.leader()
    with Stubs(leader) as s:
        term = s.maintenance.Status(pb.StatusRequest(), timeout=2).raftTerm
    with Disk(leader):
        time.sleep(0.4 * ELECTION_S)
    put(leader, 3)
    check(cluster.leader() is leader, "another member leads")
    with Stubs(leader) as s:
        check(s.maintenance.Status(pb.StatusRequest(), timeout=2).raftTerm == term, "there was an election")
    verify(cluster)


def test_a_follower_whose_disk_hangs_holds_nobody_up(cluster):
    leader = cluster.leader()
    follower = cluster.followers()[0]
    with Disk(follower):
        for _ in range(50):
            begun = time.monotonic()
            put(leader, 3)
            check(time.monotonic() - begun < 0.5 * ELECTION_S, "a put waited for a follower's disk")
        time.sleep(2 * ELECTION_S)
        check(cluster.leader() is leader, "the leader lost its leadership to a stalled follower")
    verify(cluster)


def main():
    cluster = Cluster(3)
    for member in cluster.members:
        member.environment = {"LD_PRELOAD": sys.argv[1], "STALL_FILE": os.path.join(member.folder, "stall")}
    try:
        cluster.start()
        for i in range(10):
            put(cluster.members[i % 3], 5)
        tally.in_turn(tally.scenarios(globals()), cluster, state=cluster.last_words)
    finally:
        cluster.close()
    tally.end()


main()
