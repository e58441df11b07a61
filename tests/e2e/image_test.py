#!/usr/bin/python3
"""A member that was away longer than the log reaches back gets the leader's store as an image. It is killed while it
installs it, at any moment and (in a build with failpoints) at each step: it comes back every time with the store of before
or of the image, catches up, has the same hash as the others, and leaves nothing behind. A watcher on it sees every
revision once. (PR13501: a restart while an image is being opened; etcd#20271 / PR20553, etcd#18055: a second image comes
meanwhile.)"""

import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request

from etcd3.etcdrpc import rpc_pb2 as pb

import tally
from cluster import Cluster, Stubs
from programs import KEDGEUTL, skip_without_failpoints
from tally import Skipped, check, until, wait_for

VALUE = bytes(1000000)
PUTS = 150  # one segment of the log has 64 MB, and the open one stays
ROUNDS = int(os.environ.get("IMAGE_ROUNDS", "3"))
STEPS = ["applyBeforeOpenSnapshot", "applyAfterOpenSnapshot", "raftBeforeSaveSnap", "raftAfterSaveSnap",
         "raftAfterSnapshotRecord", "raftBeforeApplySnap", "raftAfterApplySnap"]


def write(cluster, count=PUTS):
    with Stubs(cluster.leader()) as s:
        for i in range(count):
            s.kv.Put(pb.PutRequest(key=b"k%d" % (i % 10), value=VALUE), timeout=20)
        revision = s.kv.Put(pb.PutRequest(key=b"last", value=b"x"), timeout=20).header.revision
        s.kv.Compact(pb.CompactionRequest(revision=revision, physical=True), timeout=20)
        # A hash at the compaction's own revision is what each remembers of its compaction (bbolt.md "hash cache").
        s.kv.Put(pb.PutRequest(key=b"last", value=b"y"), timeout=20)


def installed(member):
    return member.output(100000).count('"msg":"applied snapshot"')


def wait_same(cluster, wait=60):
    """All are where the leader is, and have the same hash."""
    cluster.same_hash(wait)


def check_tidy(member):
    names = os.listdir(os.path.join(member.data, "member", "snap"))
    left = [n for n in names if n not in ("db", "db-lock") and not (n.endswith(".snap") and len(n) == 38)]
    check(not left, f"left behind in the folder: {left}")


def test_a_member_that_was_away_gets_an_image(cluster):
    late = cluster.followers()[0]
    before = installed(late)
    late.kill()
    write(cluster)
    late.begin()
    late.wait_ready()
    wait_same(cluster)
    check(installed(late) == before + 1, f"it was brought up to date without an image:\n{late.output()}")
    check_tidy(late)
    write(cluster, 3)
    wait_same(cluster)


def test_a_kill_at_any_moment_of_an_install_leaves_a_member_that_starts(cluster):
    """PR13501: also while it recovers from one that was cut short."""
    late = cluster.followers()[0]
    for _ in range(ROUNDS):
        late.kill()
        write(cluster)
        late.begin()
        time.sleep(random.uniform(0, 1.5))
        late.kill()
        late.begin()
        late.wait_ready()
        wait_same(cluster)
        check_tidy(late)


def test_a_crash_at_each_step_of_an_install_leaves_a_member_that_starts(cluster):
    late = cluster.followers()[0]
    skip_without_failpoints()
    for step in STEPS:
        late.kill()
        write(cluster)
        late.environment = {"KEDGE_FAILPOINTS": f"{step}=exit"}
        late.begin()
        late.process.wait(60)
        late.environment = {}
        late.begin()
        late.wait_ready()
        wait_same(cluster)
        check_tidy(late)
        write(cluster, 3)
        wait_same(cluster)
    return True


def test_a_folder_with_an_image_on_its_way_goes_through_etcds_format(cluster):
    """It crashed between the log's record of an image and the store's new name: kedgeutl export takes the image along, and
    a start that converts the older store takes the image over after it."""
    late = cluster.followers()[0]
    skip_without_failpoints()
    late.kill()
    write(cluster)
    late.environment = {"KEDGE_FAILPOINTS": "raftBeforeApplySnap=exit"}
    late.begin()
    late.process.wait(60)
    late.environment = {}
    own = late.data + ".kedge"
    os.rename(late.data, own)
    subprocess.run([KEDGEUTL, "export", own, late.data], check=True,
                   stdout=subprocess.DEVNULL, timeout=60)
    snap = os.path.join(late.data, "member", "snap")
    check(any(n.endswith(".snap.db") for n in os.listdir(snap)), f"no image: {os.listdir(snap)}")
    late.begin()
    late.wait_ready()
    wait_same(cluster)
    check("recovering from a received snapshot" in late.output(1000), late.output())
    for name in [n for n in os.listdir(snap) if n.startswith("db.etcd.")]:
        os.unlink(os.path.join(snap, name))
    check_tidy(late)
    return True


def traced(path):
    """The system calls that strace wrote down, as they ended: ("rename", new name), ("fsync", name), …"""
    begun, steps = {}, []
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            thread, call = line.rstrip().split(None, 1)
            if call.endswith("<unfinished ...>"):
                begun[thread] = call
                continue
            call = begun.pop(thread, "") + call if "resumed>" in call else call
            name = call.split("(")[0]
            if name.startswith("rename"):
                steps.append(("rename", call.split('"')[3]))
            elif name in ("fsync", "fdatasync") and "<" in call:
                steps.append(("sync", call.split("<", 1)[1].split(">")[0]))
    return steps


def test_the_steps_become_durable_in_their_order(cluster):
    """etcd#22340 / PR22314: each file's name is durable before the next step says that it is there."""
    if shutil.which("strace") is None:
        raise Skipped("no strace")
    late = cluster.followers()[0]
    late.kill()
    write(cluster)
    record = os.path.join(late.folder, "trace")
    late.begin()
    tracer = subprocess.Popen(["strace", "-f", "-y", "-qq", "-e", "trace=rename,renameat,renameat2,fsync,fdatasync",
                               "-p", str(late.process.pid), "-o", record], stderr=subprocess.DEVNULL)
    late.wait_ready()
    wait_same(cluster)
    late.stop()
    tracer.wait(10)
    folder = os.path.realpath(os.path.join(late.data, "member", "snap"))
    steps = traced(record)

    def after(at, kind, matches):
        found = [i for i in range(at, len(steps)) if steps[i][0] == kind and matches(steps[i][1])]
        check(found, f"no {kind} after step {at} of {steps}")
        return found[0]

    image = after(0, "rename", lambda n: n.endswith(".snap.db"))
    check(any(kind == "sync" and "tmp" in name for kind, name in steps[:image]), f"not synced before its name: {steps}")
    names = after(image, "sync", lambda n: n == folder)
    snap = after(names, "rename", lambda n: n.endswith(".snap"))
    names = after(snap, "sync", lambda n: n == folder)
    log = after(names, "sync", lambda n: n.endswith(".wal"))
    store = after(log, "rename", lambda n: n.endswith("/db"))
    after(store, "sync", lambda n: n == folder)
    check(not any(kind == "rename" and name.endswith("/db") for kind, name in steps[:log]), "the store came before the log")
    return True


def test_a_second_image_comes_while_the_first_is_installed(cluster):
    """etcd#20271 / PR20553, etcd#18055: the earlier one is finished or dropped, and the later one counts."""
    late = cluster.followers()[0]
    skip_without_failpoints()
    late.kill()
    write(cluster)
    late.environment = {"KEDGE_FAILPOINTS": "applyAfterOpenSnapshot=sleep(3000)"}
    late.begin()
    wait_for("an image", lambda: '"msg":"applying snapshot"' in late.output(5))
    write(cluster)
    late.environment = {}
    late.wait_ready()
    wait_same(cluster)
    check_tidy(late)
    return True


def test_a_watcher_across_an_image_sees_each_revision_once(cluster):
    late = cluster.followers()[0]
    with Stubs(late) as s:
        start = s.kv.Range(pb.RangeRequest(key=b"x"), timeout=5).header.revision + 1
        done = threading.Event()

        def requests():
            yield pb.WatchRequest(create_request=pb.WatchCreateRequest(
                key=b"\0", range_end=b"\0", start_revision=start))
            done.wait()

        before, seen = installed(late), []
        call = s.watch.Watch(requests())
        next(call)
        late.process.send_signal(signal.SIGSTOP)
        try:
            with Stubs(cluster.leader()) as leader:
                for i in range(PUTS):
                    last = leader.kv.Put(pb.PutRequest(key=b"w%d" % (i % 10), value=VALUE), timeout=20).header.revision
        finally:
            late.process.send_signal(signal.SIGCONT)
        for response in call:
            check(not response.canceled, f"the watch was cancelled: {response.cancel_reason}")
            seen += [event.kv.mod_revision for event in response.events]
            if seen and seen[-1] >= last:
                break
        done.set()
        call.cancel()
    check(seen == list(range(start, last + 1)), f"from {start} to {last} were seen: {seen[:5]}...{seen[-5:]}")
    check(installed(late) == before + 1, "it caught up without an image")


def test_a_new_member_begins_with_an_image_and_goes_on_after_a_restart(cluster):
    """It knows nobody before: who the members are comes with the image. Killed while it has only that, it knows them."""
    write(cluster)
    joining = cluster.joining()
    out = cluster.change("add", joining.name, "--learner", f"--peer-urls={joining.peer_url}")
    cluster.members.append(joining)
    joining.begin()
    check(until(lambda: installed(joining) > 0, 60, 0.005), f"no image came:\n{joining.output()}")
    joining.kill()
    joining.begin()
    cluster.change("promote", out.split("Member")[1].split()[0])
    joining.wait_ready()
    wait_same(cluster)
    check(installed(joining) == 1, "it got its image twice")
    check_tidy(joining)


def test_a_leader_stops_while_the_receiver_takes_nothing(cluster):
    late, leader = cluster.followers()[0], cluster.leader()
    late.kill()
    with Stubs(leader) as s:
        for i in range(PUTS):
            s.kv.Put(pb.PutRequest(key=b"k%d" % i, value=VALUE), timeout=20)
    late.begin()
    check(until(lambda: "sending database snapshot" in leader.output(3), 30, 0.001), f"no image was sent:\n{leader.output()}")
    late.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(0.2)
        leader.process.send_signal(signal.SIGTERM)
        try:
            leader.process.wait(20)
        except subprocess.TimeoutExpired:
            check(False, "it is still there after 20 s")
    finally:
        late.process.send_signal(signal.SIGCONT)
    check(not installed(late), "all of the image was there before it stopped")


def varint(number):
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number, value):
    """Of a protobuf message."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def post_and_reset(member, index, database, delay):
    """An image that nobody needs, from a sender that is gone before the answer: its connection is reset."""
    with urllib.request.urlopen(member.peer_url + "/members") as answer:
        cluster = answer.headers["X-Etcd-Cluster-Id"]
        me, other = [m["id"] for m in sorted(json.load(answer), key=lambda m: m["name"] != member.name)][:2]
    position = field(1, field(1, me) + field(1, other)) + field(2, index) + field(3, 1)
    message = field(1, 7) + field(2, me) + field(3, other) + field(4, 1) + field(9, field(2, position))
    head = (f"POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nX-Etcd-Cluster-Id: {cluster}\r\nX-Server-From: {other:x}\r\n"
            f"X-Server-Version: 3.7.1\r\nX-Min-Cluster-Version: 3.0.0\r\n"
            f"Content-Length: {8 + len(message) + len(database)}\r\n\r\n")
    with socket.create_connection(("127.0.0.1", member.peer_port)) as sender:
        sender.sendall(head.encode() + struct.pack(">Q", len(message)) + message + database)
        time.sleep(delay)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_an_image_whose_sender_goes_while_it_is_saved_leaves_nothing(cluster):
    member = cluster.members[0]
    for index in range(1, 9):
        post_and_reset(member, index, bytes(40_000_000), 0.004 * index)
    check(until(lambda: not [n for n in os.listdir(os.path.join(member.data, "member", "snap")) if n.startswith("tmp")], 30),
          "it goes on and on")
    time.sleep(0.2)
    check_tidy(member)


def on_a_cluster(test):
    cluster = Cluster(3, "--snapshot-count=20", "--max-wals=1", "--snapshot-catchup-entries=1", "--quota-backend-bytes=8000000000")
    try:
        tally.scenario(lambda: test(cluster.start()), name=test.__name__, state=cluster.last_words)
    finally:
        cluster.close()


for each in tally.scenarios(globals()):
    on_a_cluster(each)
tally.end()
