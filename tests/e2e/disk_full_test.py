#!/usr/bin/python3
"""A full disk: writes are answered with NOSPACE, reads and leases go on, nothing acknowledged is lost, and when there is
space again the member recovers by itself, its alarm included. Needs root, for a small file system of its own."""

import os
import subprocess
import tempfile
import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

import filler
import tally
from member import Member
from tally import expect

folder = tempfile.mkdtemp(prefix="kedge-full.")
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", folder], capture_output=True).returncode != 0:
    os.rmdir(folder)
    tally.skip_all("no file system can be mounted here")


def put(kv, key, value):
    try:
        kv.Put(pb.PutRequest(key=key, value=value), timeout=20)
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def fill(path):
    with open(path, "wb", buffering=0) as f:  # nothing is left for the close, which would fail too
        block = bytes(1 << 16)
        try:
            while f.write(block) > 0:
                pass
        except OSError:
            pass


member = Member()
member.data = os.path.join(folder, "data")
try:
    member.start()
    channel = grpc.insecure_channel(member.endpoint)
    kv, lease, maintenance = stubs.KVStub(channel), stubs.LeaseStub(channel), stubs.MaintenanceStub(channel)
    lease.LeaseGrant(pb.LeaseGrantRequest(ID=5, TTL=600), timeout=10)
    acknowledged = {}
    for i in range(100):
        expect("put with room", put(kv, b"early/%d" % i, b"v") == grpc.StatusCode.OK)
        acknowledged[b"early/%d" % i] = b"v"
    fill(os.path.join(folder, "filler"))
    value = os.urandom(500000)
    codes = []
    end = time.monotonic() + 60
    while time.monotonic() < end and codes[-3:] != [grpc.StatusCode.RESOURCE_EXHAUSTED] * 3:
        key = b"late/%d" % len(codes)
        codes.append(put(kv, key, value))
        if codes[-1] == grpc.StatusCode.OK:
            acknowledged[key] = value
    expect("writes are refused for lack of space", codes[-3:] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 3,
           f"{len(codes)} writes, then {codes[-5:]}")
    expect("nothing but that", set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}, str(set(codes)))
    expect("reads go on", kv.Range(pb.RangeRequest(key=b"early/1"), timeout=10).kvs[0].value == b"v")
    expect("leases go on", next(iter(lease.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=5)]), timeout=10))).TTL == 600)
    alarms = maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.GET), timeout=10).alarms
    expect("the alarm is on", [a.alarm for a in alarms] == [pb.NOSPACE], str(alarms))
    os.unlink(os.path.join(folder, "filler"))
    end = time.monotonic() + 30
    while time.monotonic() < end and put(kv, b"again", b"1") != grpc.StatusCode.OK:
        time.sleep(0.2)
    expect("writes are taken again by themselves", time.monotonic() < end)
    end = time.monotonic() + 10
    while time.monotonic() < end and maintenance.Alarm(pb.AlarmRequest(), timeout=10).alarms:
        time.sleep(0.2)
    expect("the alarm is off", not maintenance.Alarm(pb.AlarmRequest(), timeout=10).alarms)
    # stopping and starting on a full disk
    fill(os.path.join(folder, "filler"))
    end = time.monotonic() + 60
    while time.monotonic() < end:
        key = b"last/%d" % len(acknowledged)
        if put(kv, key, value) == grpc.StatusCode.RESOURCE_EXHAUSTED:
            break
        acknowledged[key] = value
    channel.close()
    begin = time.monotonic()
    member.stop()
    expect("a stop doesn't wait for space", time.monotonic() - begin < 10, f"{time.monotonic() - begin:.1f} s")
    member.start()
    with grpc.insecure_channel(member.endpoint) as channel:
        kv, maintenance = stubs.KVStub(channel), stubs.MaintenanceStub(channel)
        expect("a start on a full disk serves reads",
               kv.Range(pb.RangeRequest(key=b"early/1"), timeout=10).kvs[0].value == b"v")
        os.unlink(os.path.join(folder, "filler"))
        end = time.monotonic() + 30
        while time.monotonic() < end and (put(kv, b"again", b"2") != grpc.StatusCode.OK or
                                          maintenance.Alarm(pb.AlarmRequest(), timeout=10).alarms):
            time.sleep(0.2)
        expect("the alarm that a former run raised ends as well", time.monotonic() < end)
    member.kill()
    member.start()
    with grpc.insecure_channel(member.endpoint, options=[("grpc.max_receive_message_length", -1)]) as channel:
        kv = stubs.KVStub(channel)
        lost = [k for k, v in acknowledged.items()
                if [r.value for r in kv.Range(pb.RangeRequest(key=k), timeout=10).kvs] != [v]]
        expect("every acknowledged write is there", not lost, str(lost[:5]))
    # The next segment of the log has no room: what there is stays for others, the store first of all.
    member.kill()
    for name in os.listdir(os.path.join(member.data, "member", "wal")):
        if name.endswith(".tmp"):
            os.unlink(os.path.join(member.data, "member", "wal", name))
    filler.leave(folder, 40 << 20)
    member.start()
    least = 1 << 40
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        least = min(least, filler.room(folder))
    expect("nobody takes the last of the space to give it back", least > 30 << 20, f"{least} bytes were left")
    member.stop()
except Exception as error:
    expect("the run", False, f"{type(error).__name__}: {error}\n{member.output()}")
finally:
    member.close()
    subprocess.run(["umount", folder])
    os.rmdir(folder)
tally.end()
