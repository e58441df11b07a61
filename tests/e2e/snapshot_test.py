#!/usr/bin/python3
"""Backups of one member: kedgectl snapshot save beside writes, what it makes of streams that are cut or damaged, clients
that take nothing, a server that stops; kedgeutl snapshot status of whole and damaged files."""

import concurrent.futures
import hashlib
import os
import threading
import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

import tally
from cluster import Stubs
from member import on_one_member
from programs import kedgectl, kedgeutl
from tally import check

STALL_S = 30


def save(endpoint, path, *flags):
    return kedgectl(*flags, "snapshot", "save", path, endpoints=endpoint)


def fill(member, megabytes):
    with Stubs(member) as s:
        for i in range(megabytes):
            s.kv.Put(pb.PutRequest(key=b"big%d" % i, value=os.urandom(1000000)), timeout=20)


def test_a_backup_beside_writes_is_of_one_moment(member, folder):
    """Each txn writes two keys with one value: a backup has both or none."""
    stop = threading.Event()

    def write():
        with Stubs(member) as s:
            n = 0
            while not stop.is_set():
                n += 1
                puts = [pb.RequestOp(request_put=pb.PutRequest(key=k, value=b"%d" % n)) for k in (b"left", b"right")]
                s.kv.Txn(pb.TxnRequest(success=puts), timeout=10)

    fill(member, 20)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(3):
            path = os.path.join(folder, f"{i}.db")
            status, out, errors = save(member.endpoint, path)
            check(status == 0 and out == f"Snapshot saved at {path}\nServer version 3.7.0\n", f"{status} {out} {errors}")
            check(os.stat(path).st_mode & 0o777 == 0o600, "others may read it")
            status, out, errors = kedgeutl("snapshot", "status", path)
            check(status == 0, f"{out} {errors}")
            with open(path, "rb") as f:
                content = f.read()
            check(hashlib.sha256(content[:-32]).digest() == content[-32:], "the checksum is wrong")
            check(content.count(b"\x0a\x04left") == content.count(b"\x0a\x05right"), "half of a txn")
    finally:
        stop.set()
        writer.join()


class Server(stubs.MaintenanceServicer):
    """Sends whatever it is told to."""

    def __init__(self, messages):
        self.messages = messages
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        stubs.add_MaintenanceServicer_to_server(self, self.server)
        self.endpoint = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Snapshot(self, request, context):
        for message in self.messages:
            if message is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
            yield message


def test_what_is_cut_or_damaged_is_not_kept(member, folder):
    """PR11896: a stream that ends before its checksum is no backup."""
    good = os.path.join(folder, "good.db")
    check(save(member.endpoint, good)[0] == 0, "it was not saved")
    with open(good, "rb") as f:
        content = f.read()
    whole = [pb.SnapshotResponse(blob=content[:-32]), pb.SnapshotResponse(blob=content[-32:])]
    junk = os.urandom(8192)
    damaged = content[:8192 + 8] + b"\xff" + content[8192 + 9:-32]
    cases = [
        (whole, 0, "Snapshot saved at"),
        ([pb.SnapshotResponse(blob=junk + hashlib.sha256(junk).digest())], 5, "offset 0: not a bbolt meta page"),
        ([pb.SnapshotResponse(blob=damaged + hashlib.sha256(damaged).digest())], 5, "offset 8192: a page of kind 0xff"),
        (whole[:1], 5, "sha256 checksum not found"),
        ([whole[0], pb.SnapshotResponse(blob=b"x" * 32)], 5, "checksum is wrong"),
        ([whole[0], None], 5, "gone"),
        ([], 5, "sha256 checksum not found"),
    ]
    for i, (messages, expected, text) in enumerate(cases):
        server = Server(messages)
        path = os.path.join(folder, f"cut{i}.db")
        status, out, errors = save(server.endpoint, path)
        server.server.stop(None)
        check(status == expected and text in out + errors, f"case {i}: {status} {out} {errors}")
        check(os.path.exists(path) == (expected == 0), f"case {i}: {os.listdir(folder)}")
        check(not os.path.exists(path + ".part"), f"case {i}: a part is left behind")


def test_an_older_backup_stays_when_a_new_one_fails(member, folder):
    path = os.path.join(folder, "kept.db")
    check(save(member.endpoint, path)[0] == 0, "it was not saved")
    before = os.stat(path)
    server = Server([pb.SnapshotResponse(blob=b"x" * 512), None])
    check(save(server.endpoint, path)[0] == 5, "a broken stream was taken")
    server.server.stop(None)
    check(os.stat(path).st_ino == before.st_ino, "the older one is gone")


def test_a_client_that_takes_nothing_is_cut_and_the_next_one_served(member, folder):
    fill(member, 10)
    with grpc.insecure_channel(member.endpoint, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stalled = stubs.MaintenanceStub(channel).Snapshot(pb.SnapshotRequest())
        next(stalled)
        begun = time.monotonic()
        status, _, errors = save(member.endpoint, os.path.join(folder, "next.db"))
        took = time.monotonic() - begun
        check(status == 0, errors)
        check(STALL_S - 5 < took < STALL_S + 15, f"the next one had to wait for {took} s")
        try:
            for _ in stalled:
                pass
            raise AssertionError("the stalled one ended well")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.CANCELLED, f"{error.code()} {error.details()}")


def test_a_server_stops_beside_a_backup_that_nobody_takes(member, folder):
    fill(member, 10)
    with grpc.insecure_channel(member.endpoint, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stalled = stubs.MaintenanceStub(channel).Snapshot(pb.SnapshotRequest())
        next(stalled)
        begun = time.monotonic()
        member.stop()
        check(time.monotonic() - begun < 20, "it took long to stop")
    member.start()


def test_status_names_the_place_of_damage(member, folder):
    path = os.path.join(folder, "damage.db")
    check(save(member.endpoint, path)[0] == 0, "it was not saved")
    with open(path, "rb") as f:
        content = f.read()
    damaged = content[:2 * 4096 + 8] + b"\xff" + content[2 * 4096 + 9:-32]
    for checksum, text in ((content[-32:], f"{path}: "), (hashlib.sha256(damaged).digest(), f"{path}: offset 8192: ")):
        with open(path, "wb") as f:
            f.write(damaged + checksum)
        status, out, errors = kedgeutl("snapshot", "status", path)
        check(status == 1 and out == "" and text in errors, f"{status} {out} {errors}")
    os.truncate(path, 3 * 4096)
    status, out, errors = kedgeutl("snapshot", "status", path)
    check(status == 1 and "it was cut off" in errors, f"{status} {out} {errors}")
    with open(path, "w", encoding="ascii") as f:
        f.write("not a database" * 100)
    check(kedgeutl("snapshot", "status", path) == (1, "", "Error: invalid database\n"), "junk")


on_one_member(tally.scenarios(globals()), folders=True)
