#!/usr/bin/python3
"""SIGTERM at any moment: before the member is ready, under load, beside clients that take nothing, during a hash and a
compaction. It ends within seconds, by the signal, and everything acknowledged is there afterwards. And what an idle
member and clients that take nothing cost."""

import os
import signal
import socket
import subprocess
import threading
import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

from member import Member
from ports import free_port
from programs import has_sanitizer
from tally import end, expect, skip


def stopped(member, wait=12):
    """Seconds until it ended by SIGTERM; a description if it did not."""
    begin = time.monotonic()
    member.process.send_signal(signal.SIGTERM)
    try:
        status = member.process.wait(wait)
    except subprocess.TimeoutExpired:
        member.kill()
        return f"still there after {wait} s"
    return time.monotonic() - begin if status == -signal.SIGTERM else f"status {status}\n{member.output()}"


def first_process_stops():
    """A start that waits for others, as process 1 of its own: the system ends none of those by itself."""
    silent = socket.create_server(("127.0.0.1", free_port()))
    joining = Member()
    joining.initial += f",other=http://127.0.0.1:{silent.getsockname()[1]}"
    joining.state = "existing"
    wrapper = os.path.join(joining.folder, "first")
    with open(wrapper, "w") as f:
        f.write(f"#!/bin/sh\nexec unshare --pid --fork --kill-child {joining.program} \"$@\"\n")
    os.chmod(wrapper, 0o700)
    if subprocess.run(["unshare", "--pid", "--fork", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        skip("a stop as process 1: no right to make one")
        joining.close()
        return
    joining.program = wrapper
    try:
        joining.begin()
        silent.settimeout(20)
        asked = silent.accept()[0]
        children = f"/proc/{joining.process.pid}/task/{joining.process.pid}/children"
        with open(children) as f:
            os.kill(int(f.read()), signal.SIGTERM)
        try:
            status = joining.process.wait(5)
        except subprocess.TimeoutExpired:
            status = "still there after 5 s"
        expect("a stop of process 1 while it waits for others", status == 2, status)
        asked.close()
    finally:
        joining.close()
        silent.close()


def cpu_seconds(member):
    with open(f"/proc/{member.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(member):
    return member.anonymous_kb() / 1024


def channel_of(member, *options):
    return grpc.insecure_channel(member.endpoint, options=[("grpc.max_receive_message_length", -1),
                                                           ("grpc.max_send_message_length", -1),
                                                           ("grpc.use_local_subchannel_pool", 1), *options])


def yield_once(request, leave):
    yield request
    leave.wait()


first_process_stops()
member = Member()
try:
    # before it is ready
    for i in range(15):
        try:
            member.start(wait=0)
        except RuntimeError:
            pass
        time.sleep(i * 0.004)
        result = stopped(member)
        # so early that nothing stood in the signal's way, it ends by the signal as well
        expect(f"a stop {i * 4} ms after the start", isinstance(result, float), result)
    member.start()

    # idle
    time.sleep(1)
    before = cpu_seconds(member)
    time.sleep(4)
    used = (cpu_seconds(member) - before) / 4
    expect("an idle member takes no CPU", used <= 0.0101 or has_sanitizer(), f"{used:.1%} of a core")

    # beside streams that would go on for ever: their clients hear at once that they have to go elsewhere
    channel = channel_of(member)
    stubs.LeaseStub(channel).LeaseGrant(pb.LeaseGrantRequest(ID=3, TTL=60), timeout=10)
    leave = threading.Event()

    def open_stream(method, request):
        answers = method(yield_once(request, leave))
        next(answers)
        return answers

    endless = [open_stream(stubs.WatchStub(channel).Watch,
                           pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k"))),
               open_stream(stubs.LeaseStub(channel).LeaseKeepAlive, pb.LeaseKeepAliveRequest(ID=3))]
    result = stopped(member)
    expect("a stop beside endless streams", isinstance(result, float) and result < 3, result)
    for answers in endless:
        try:
            expect("an endless stream's end", False, next(answers))
        except grpc.RpcError as error:
            expect("an endless stream's end", error.code() == grpc.StatusCode.UNAVAILABLE, error)
    leave.set()
    channel.close()
    member.start()

    # under load, beside clients that take nothing
    channel = channel_of(member)
    kv, maintenance = stubs.KVStub(channel), stubs.MaintenanceStub(channel)
    value = os.urandom(100000)
    for i in range(150):
        kv.Put(pb.PutRequest(key=b"big/%03d" % i, value=value), timeout=10)
    everything = pb.RangeRequest(key=b"\0", range_end=b"\0")
    silent = []
    for i in range(10):
        c = channel_of(member, ("grpc.http2.bdp_probe", 0), ("silent", i))
        for method in ("Range", "RangeStream"):
            silent.append(c.unary_stream(f"/etcdserverpb.KV/{method}", pb.RangeRequest.SerializeToString, lambda b: b)
                          (everything))
        silent.append(stubs.WatchStub(c).Watch(iter([pb.WatchRequest(create_request=pb.WatchCreateRequest(
            key=b"\0", range_end=b"\0", start_revision=1))])))
    acknowledged, running = {}, True

    def write(writer):
        n = 0
        while running:
            try:
                kv.Put(pb.PutRequest(key=b"w/%d" % writer, value=b"%d" % n), timeout=10)
                acknowledged[writer] = n
                n += 1
            except grpc.RpcError:
                return

    writers = [threading.Thread(target=write, args=(w,)) for w in range(10)]
    for w in writers:
        w.start()
    time.sleep(0.5)
    revision = kv.Range(pb.RangeRequest(key=b"x"), timeout=10).header.revision
    waiting = [maintenance.Hash.future(pb.HashRequest(), timeout=30) for _ in range(5)]
    waiting.append(kv.Compact.future(pb.CompactionRequest(revision=revision, physical=True), timeout=30))
    result = stopped(member)
    running = False
    expect("a stop under load", isinstance(result, float) and result < 8, result)
    for w in writers:
        w.join()
    for call in silent:
        call.cancel()
    channel.close()
    member.start()
    channel = channel_of(member)
    kv = stubs.KVStub(channel)
    for writer, n in acknowledged.items():
        got = kv.Range(pb.RangeRequest(key=b"w/%d" % writer), timeout=10).kvs
        expect(f"writer {writer}'s last acknowledged value", got and int(got[0].value) >= n, f"{got}, not {n}")
    expect("there were some", sum(acknowledged.values()) > (10 if has_sanitizer() else 100), str(acknowledged))

    # small values, then large ones: the stream's chunks do not grow with them
    for i in range(2000):
        kv.Put(pb.PutRequest(key=b"s/%05d" % i, value=b"v"), timeout=10)
    for i in range(200):
        kv.Put(pb.PutRequest(key=b"t/%05d" % i, value=os.urandom(1000000)), timeout=20)
    time.sleep(1)
    before = resident_mb(member)
    stream = channel.unary_stream("/etcdserverpb.KV/RangeStream", pb.RangeRequest.SerializeToString, lambda b: len(b))
    sizes, most = [], 0.0
    for n in stream(pb.RangeRequest(key=b"s", range_end=b"u"), timeout=60):
        sizes.append(n)
        most = max(most, resident_mb(member) - before)
    expect("all of the stream", 200_000_000 < sum(sizes) < 201_000_000, str(sum(sizes)))
    expect("a chunk is bounded", max(sizes) < 5_000_000, str(max(sizes)))
    expect("and what it takes", most < 40 or has_sanitizer(), f"{most:.0f} MB")

    # keepalives whose answers nobody takes
    lease = stubs.LeaseStub(channel)
    lease.LeaseGrant(pb.LeaseGrantRequest(ID=7, TTL=60), timeout=10)
    before = resident_mb(member)
    sent = 0

    def flood():
        global sent
        for sent in range(300000):
            yield pb.LeaseKeepAliveRequest(ID=7)

    answers = lease.LeaseKeepAlive(flood())
    time.sleep(8)
    grown = resident_mb(member) - before
    expect("unread answers of keepalives", grown < 10 or has_sanitizer(), f"{grown:.0f} MB after {sent} requests")
    taken = sum(1 for _, answer in zip(range(1000), answers) if answer.TTL == 60)
    expect("and they come when they are read", taken == 1000, str(taken))
    answers.cancel()
    result = stopped(member)
    expect("the last stop", isinstance(result, float) and result < 8, result)
finally:
    member.close()
end()
