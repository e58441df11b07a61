#!/usr/bin/python3
"""Three members: what is written through one is seen through all; the loss of any loses nothing; who was away, or lost its
disk, is brought up to date. The long form, with a judge of everything that clients were told, is tests/interop/faults."""

import os
import random
import sys
import threading
import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

import tally
from cluster import Cluster, Stubs
from programs import kedgectl
from tally import check

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else None
ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "3"))


class Writer(threading.Thread):
    """Puts keys that nobody used before, through one member until it fails, then through another."""

    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster, self.name = cluster, name
        self.acknowledged, self.stopped = {}, threading.Event()

    def run(self):
        n = 0
        while not self.stopped.is_set():
            running = self.cluster.running()
            if not running:
                time.sleep(0.02)
                continue
            with Stubs(random.choice(running)) as s:
                try:
                    while not self.stopped.is_set():
                        key, n = f"w/{self.name}/{n}".encode(), n + 1
                        self.acknowledged[key] = s.kv.Put(pb.PutRequest(key=key, value=key), timeout=3).header.revision
                except grpc.RpcError:
                    time.sleep(0.02)

    def stop(self):
        self.stopped.set()
        self.join(30)


class Watcher(threading.Thread):
    """Watches everything from revision 2 on, through any member, and goes on where it was."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.events, self.stopped, self.failure = cluster, [], threading.Event(), None
        self.call = None

    def run(self):
        while not self.stopped.is_set() and self.failure is None:
            running = self.cluster.running()
            if not running:
                time.sleep(0.02)
                continue
            with Stubs(random.choice(running)) as s:
                try:
                    self.watch(s)
                except grpc.RpcError:
                    time.sleep(0.02)

    def watch(self, s):
        over = threading.Event()

        def requests():
            start = self.events[-1][1] + 1 if self.events else 2
            yield pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=start))
            over.wait()

        self.call = s.watch.Watch(requests())
        try:
            for response in self.call:
                if response.canceled:
                    return
                for event in response.events:
                    expected = self.events[-1][1] + 1 if self.events else 2
                    if event.kv.mod_revision != expected:
                        self.failure = f"an event of revision {event.kv.mod_revision}, expected {expected}"
                        return
                    self.events.append((event.kv.key, event.kv.mod_revision))
        finally:
            over.set()

    def wait(self, revision, seconds=30):
        end = time.monotonic() + seconds
        while not self.failure and (not self.events or self.events[-1][1] < revision):
            check(time.monotonic() < end, f"a watch has not seen revision {revision} after {seconds} s")
            time.sleep(0.02)
        check(self.failure is None, f"a watch saw {self.failure}")

    def stop(self):
        self.stopped.set()
        if self.call is not None:
            self.call.cancel()
        self.join(30)


def revision_of(cluster):
    with Stubs(cluster.running()[0]) as s:
        return s.kv.Range(pb.RangeRequest(key=b"x"), timeout=10).header.revision


def judge(cluster, writers, watcher):
    """After the writers stopped: everything acknowledged is there, the watch saw each revision once, members agree."""
    revision = revision_of(cluster)
    watcher.wait(revision)
    seen = dict(watcher.events)
    with Stubs(random.choice(cluster.running())) as s:
        rows = {kv.key: kv.mod_revision for kv in s.kv.Range(pb.RangeRequest(key=b"w/", range_end=b"w0"), timeout=60).kvs}
    for writer in writers:
        check(writer.acknowledged, f"writer {writer.name} got nothing done")
        for key, at in writer.acknowledged.items():
            check(rows.get(key) == at, f"{key} was acknowledged at {at}, found at {rows.get(key)}")
            check(seen.get(key) == at, f"{key} was acknowledged at {at}, the watch saw {seen.get(key)}")
    cluster.same_hash()


def test_written_through_one_seen_through_all(cluster):
    for i, member in enumerate(cluster.members):
        with Stubs(member) as s:
            key = b"all/%d" % i
            put = s.kv.Put(pb.PutRequest(key=key, value=b"v"), timeout=10)
            for other in cluster.members:
                with Stubs(other) as o:
                    found = o.kv.Range(pb.RangeRequest(key=key), timeout=10)
                    check([kv.mod_revision for kv in found.kvs] == [put.header.revision],
                          f"{key} put through {member.name}, read through {other.name}: {found}")
    cluster.same_hash()


def test_kills_lose_nothing(cluster):
    watcher = Watcher(cluster)
    watcher.start()
    for i in range(ROUNDS):
        writers = [Writer(cluster, f"{i}.{n}") for n in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(0.3)
        victims = [[cluster.leader()], [random.choice(cluster.members)], cluster.members][i % 3]
        for victim in victims:
            victim.kill()
        time.sleep(1.5)
        for victim in victims:
            victim.begin()
        for victim in victims:
            victim.wait_ready()
        time.sleep(0.3)
        for writer in writers:
            writer.stop()
        judge(cluster, writers, watcher)
    watcher.stop()


def test_a_lease_outlives_its_leader(cluster):
    with Stubs(cluster.members[0]) as s:
        s.lease.LeaseGrant(pb.LeaseGrantRequest(ID=77, TTL=3600), timeout=10)
        s.kv.Put(pb.PutRequest(key=b"leased", value=b"v", lease=77), timeout=10)
    leader = cluster.leader()
    leader.kill()
    other = cluster.leader()
    for member in cluster.running():
        with Stubs(member) as s:
            renewed = next(iter(s.lease.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=77)]), timeout=10)))
            check(renewed.TTL == 3600, f"renewed through {member.name}: {renewed}")
            left = s.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=77, keys=True), timeout=10)
            check(3590 <= left.TTL <= 3600 and list(left.keys) == [b"leased"], f"through {member.name}: {left}")
    check(other is not leader, "the leader that was killed leads")
    leader.start()
    with Stubs(leader) as s:
        s.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=77), timeout=10)
        check(not s.kv.Range(pb.RangeRequest(key=b"leased"), timeout=10).kvs, "the key of a revoked lease is there")


def write_many(cluster, count):
    def some(part):
        with Stubs(cluster.running()[0]) as s:
            for i in range(part, count, 16):
                s.kv.Put(pb.PutRequest(key=b"many/%d" % (i % 500), value=b"x" * 200), timeout=30)
    threads = [threading.Thread(target=some, args=(part,)) for part in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_who_was_away_is_brought_up_to_date(cluster):
    away = next(m for m in cluster.members if m is not cluster.leader())
    away.kill()
    write_many(cluster, 1500)
    away.start()
    cluster.same_hash()


def test_no_quorum_no_answer(cluster):
    """One member alone serves what is serializable, and neither writes nor linearizable reads."""
    kept, *others = cluster.members
    for other in others:
        other.kill()
    with Stubs(kept) as s:
        s.kv.Range(pb.RangeRequest(key=b"all/0", serializable=True), timeout=10)
        for call in (lambda: s.kv.Range(pb.RangeRequest(key=b"all/0"), timeout=3),
                     lambda: s.kv.Put(pb.PutRequest(key=b"alone"), timeout=3)):
            try:
                check(False, f"without a quorum: {call()}")
            except grpc.RpcError:
                pass
    for other in others:
        other.start()
    write_many(cluster, 10)
    cluster.same_hash()


def test_a_lost_disk_is_replaced_through_a_learner(cluster):
    """The member that lost it is removed, and a new one takes its place."""
    lost = next(m for m in cluster.members if m is not cluster.leader())
    lost.kill()
    rest = ",".join(m.endpoint for m in cluster.members if m is not lost)

    def change(*arguments):
        end = time.monotonic() + 60
        while True:
            status, out, err = kedgectl("member", *arguments, endpoints=rest)
            if status == 0 or time.monotonic() > end:
                check(status == 0, f"member {' '.join(arguments)}: {err}")
                return out
            time.sleep(0.2)

    listed = change("list")
    identity = next(line.split(",")[0].strip() for line in listed.splitlines() if f", {lost.name}, " in line)
    change("remove", identity)
    cluster.members.remove(lost)
    lost.close()
    write_many(cluster, 500)
    joining = cluster.joining()
    added = change("add", joining.name, "--learner", f"--peer-urls={joining.peer_url}")
    identity = added.split("Member")[1].split()[0]
    joining.begin()
    cluster.members.append(joining)
    change("promote", identity)
    joining.wait_ready()
    cluster.same_hash()
    left = [name for name in os.listdir(os.path.join(joining.data, "member", "snap")) if "tmp" in name]
    check(not left, f"left of the transfer: {left}")


def main():
    cluster = Cluster(3, "--snapshot-count=200", program=PROGRAM)
    try:
        cluster.start()
        tally.in_turn(tally.scenarios(globals()), cluster, state=cluster.last_words)
    finally:
        cluster.close()
    tally.end()


main()
