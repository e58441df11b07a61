#!/usr/bin/python3
"""What a client can ask for at most, alone: no turn of the loop takes long for it. The server counts its turns' CPU time
itself and logs them at SIGUSR1. Snapshots besides take next to no memory, however long they are."""

import base64
import json
import os
import signal
import subprocess
import time
import urllib.request

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

from member import Member
from programs import KEDGECTL, begin, has_sanitizer
from tally import end, expect, until

RISE_KB = 16 << 10
LIMIT_US = 10000  # the law says 2,000 on a quiet machine; before these requests were worked at in slices they took 37,000


def turns(member):
    def lines():
        with open(member.log.name) as log:
            return [line for line in log if '"turns of the core\'s loop"' in line]

    before = len(lines())
    member.process.send_signal(signal.SIGUSR1)
    until(lambda: len(lines()) > before, 20)
    return json.loads(lines()[-1])


def save(member, highest_kb):
    """A snapshot that is thrown away; the highest anonymous memory meanwhile."""
    saving = begin(KEDGECTL, f"--endpoints={member.endpoint}", "snapshot", "save", "-", stdout=subprocess.DEVNULL)
    while saving.poll() is None:
        highest_kb = max(highest_kb, member.anonymous_kb())
        time.sleep(0.002)
    expect("a snapshot", saving.returncode == 0, saving.stderr.read())
    saving.stderr.close()
    return highest_kb


def put(key):
    return pb.RequestOp(request_put=pb.PutRequest(key=key))


def same(_):
    return put(b"same")


def get(key):
    return pb.RequestOp(request_range=pb.RangeRequest(key=key))


def delete(key):
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))


def nested(leaf, widths=(43, 42, 40), prefix=b"k"):
    """72,240 operations, no more than 128 on any way down: as many as etcd takes."""
    keys = [prefix + bytes([40 + i]) for i in range(widths[0])]
    if len(widths) == 1:
        return [leaf(key) for key in keys]
    return [pb.RequestOp(request_txn=pb.TxnRequest(success=nested(leaf, widths[1:], key))) for key in keys]


def fill(kv, prefix, count, **options):
    for at in range(0, count, 128):
        kv.Txn(pb.TxnRequest(success=[
            pb.RequestOp(request_put=pb.PutRequest(key=prefix + b"%07d" % i, **options))
            for i in range(at, min(at + 128, count))]), timeout=60)


member = Member().start()
try:
    limit, scale = (500000, 10) if has_sanitizer() else (LIMIT_US, 1)
    channel = grpc.insecure_channel(member.endpoint, options=[("grpc.max_receive_message_length", -1),
                                                              ("grpc.max_send_message_length", -1)])
    kv, leases = stubs.KVStub(channel), stubs.LeaseStub(channel)

    def try_(what, call, request, status="OK"):
        turns(member)
        try:
            answer, got = call(request, timeout=120), "OK"
        except grpc.RpcError as error:
            answer, got = None, error.code().name
        time.sleep(0.2)  # what is given back afterwards counts too
        expect(what + ", its status", got == status, got)
        longest = turns(member)["longest-us"]
        expect(what + ", its longest turn", longest <= limit, f"{longest} us")
        return answer

    answer = try_("72,240 nested puts", kv.Txn, pb.TxnRequest(success=nested(put)))
    expect("all of them", answer and len(answer.responses) == 43 and
           sum(len(b.response_txn.responses) for a in answer.responses for b in a.response_txn.responses) == 72240)
    count = kv.Range(pb.RangeRequest(key=b"k", range_end=b"l", count_only=True), timeout=60).count
    expect("are there", count == 72240, str(count))
    try_("the same again", kv.Txn, pb.TxnRequest(success=nested(put)))
    answer = try_("72,240 nested gets", kv.Txn, pb.TxnRequest(success=nested(get)))
    expect("of keys that are there", answer and answer.responses[42].response_txn.responses[41].response_txn
           .responses[39].response_range.kvs[0].version == 2)
    try_("72,240 nested deletes", kv.Txn, pb.TxnRequest(success=nested(delete)))
    try_("72,240 puts of one key", kv.Txn, pb.TxnRequest(success=nested(same)), "INVALID_ARGUMENT")
    try_("100,000 puts side by side", kv.Txn,
         pb.TxnRequest(success=[put(b"%d" % i) for i in range(100000)]), "INVALID_ARGUMENT")
    try_("500,000 operations that are nothing", kv.Txn,
         pb.TxnRequest(success=[pb.RequestOp()] * 500000), "INVALID_ARGUMENT")

    def in_json(widths=(43, 42, 40), prefix=b"j"):
        keys = [prefix + bytes([40 + i]) for i in range(widths[0])]
        if len(widths) == 1:
            return [{"requestPut": {"key": base64.b64encode(key).decode()}} for key in keys]
        return [{"requestTxn": {"success": in_json(widths[1:], key)}} for key in keys]

    turns(member)
    posted = urllib.request.Request(f"http://{member.endpoint}/v3/kv/txn",
                                    data=json.dumps({"success": in_json()}).encode())
    with urllib.request.urlopen(posted, timeout=120) as answer:
        expect("the same through the gateway", answer.status == 200 and
               len(json.load(answer)["responses"]) == 43, str(answer.status))
    longest = turns(member)["longest-us"]
    expect("through the gateway, its longest turn", longest <= limit, f"{longest} us")

    everything = pb.RangeRequest(key=b"d", range_end=b"e")
    fill(kv, b"d", 100000 // scale)
    try_("a list of 100,000 small rows", kv.Range, everything)
    answer = try_("their deletion, with what they were", kv.DeleteRange,
                  pb.DeleteRangeRequest(key=b"d", range_end=b"e", prev_kv=True))
    expect("is complete", answer and len(answer.prev_kvs) == 100000 // scale)

    many = 30000 // scale
    for at in range(1, many + 1, 500):
        for future in [leases.LeaseGrant.future(pb.LeaseGrantRequest(ID=i, TTL=10000), timeout=60)
                       for i in range(at, min(at + 500, many + 1))]:
            future.result()
    answer = try_("a list of 30,000 leases", leases.LeaseLeases, pb.LeaseLeasesRequest())
    expect("is complete", answer and sorted(lease.ID for lease in answer.leases) == list(range(1, many + 1)))
    fill(kv, b"l", 100000 // scale, lease=7)
    answer = try_("a lease's 100,000 keys", leases.LeaseTimeToLive, pb.LeaseTimeToLiveRequest(ID=7, keys=True))
    expect("are complete and in order",
           answer and list(answer.keys) == [b"l%07d" % i for i in range(100000 // scale)])
    try_("its revocation", leases.LeaseRevoke, pb.LeaseRevokeRequest(ID=7))

    for at in range(120 // scale):
        kv.Txn(pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"s%d/%d" % (at, i), value=os.urandom(100000)))
                                      for i in range(10)]), timeout=60)
    save(member, 0)  # what was written last is in the store then
    turns(member)
    before = highest = member.anonymous_kb()
    for _ in range(3):
        highest = save(member, highest)
    expect("snapshots of 120 MB, the memory they take", highest - before < RISE_KB or scale > 1, f"{highest - before} KB")
    longest = turns(member)["longest-us"]
    expect("their longest turn", longest <= limit, f"{longest} us")
    expect("the end", member.stop() in (0, -15))
finally:
    member.close()
end()
