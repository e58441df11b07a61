#!/usr/bin/python3
"""The Python client etcd3 does put, get, range, delete, a nested transaction, watches, leases, locks' transactions,
compaction and status."""

import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import etcd3
    from etcd3.etcdrpc import rpc_pb2 as pb
except ImportError:
    print("0 passed, 0 failed, 1 skipped: no python3-etcd3")
    sys.exit(77)
from member import Member

passed = failed = 0


def expect(what, got, wanted):
    global passed, failed
    if got == wanted:
        passed += 1
    else:
        failed += 1
        print(f"{what}: expected {wanted!r}, got {got!r}")


member = Member().start()
try:
    client = etcd3.client(host="127.0.0.1", port=member.port)
    client.put("k/1", "one")
    client.put("k/2", "two")
    expect("get", client.get("k/1")[0], b"one")
    expect("range", [v for v, _ in client.get_prefix("k/")], [b"one", b"two"])
    expect("range, descending", [m.key for _, m in client.get_prefix("k/", sort_order="descend")], [b"k/2", b"k/1"])
    expect("prev_kv", client.put("k/1", "uno", prev_kv=True).prev_kv.value, b"one")
    expect("delete", client.delete("k/2"), True)
    expect("delete again", client.delete("k/2"), False)
    t = client.transactions
    expect("txn", client.transaction(compare=[t.value("k/1") == "uno", t.version("k/1") == 2],
                                     success=[t.put("k/3", "three"), t.get("k/1")], failure=[])[0], True)
    expect("txn that fails", client.transaction(compare=[t.create("k/3") == 0], success=[], failure=[t.get("k/3")])[0], False)
    nested = pb.TxnRequest(success=[pb.RequestOp(request_txn=pb.TxnRequest(
        compare=[pb.Compare(key=b"k/3", target=pb.Compare.VALUE, value=b"three")],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=b"k/4", value=b"four"))]))])
    answer = client.kvstub.Txn(nested)
    expect("nested txn", answer.responses[0].response_txn.succeeded, True)
    expect("nested txn's put", client.get("k/4")[0], b"four")

    lease = client.lease(100)
    client.put("leased", "v", lease=lease)
    expect("lease keys", list(lease.keys), [b"leased"])
    expect("keepalive", list(lease.refresh())[0].TTL, 100)
    expect("ttl", 98 <= lease.remaining_ttl <= 100, True)
    lease.revoke()
    expect("revoked", client.get("leased")[0], None)

    seen, done = [], threading.Event()

    def note(response):
        seen.extend((type(e).__name__, e.key, e.value) for e in response.events)
        if len(seen) >= 3:
            done.set()

    watch = client.add_watch_callback("w", note)
    client.put("w", "1")
    client.put("w", "2")
    client.delete("w")
    done.wait(10)
    client.cancel_watch(watch)
    expect("watch", seen, [("PutEvent", b"w", b"1"), ("PutEvent", b"w", b"2"), ("DeleteEvent", b"w", b"")])

    with client.lock("lock", ttl=10) as lock:
        expect("lock", lock.is_acquired(), True)

    status = client.status()
    expect("version", status.version, "3.7.1")
    expect("members", [m.name for m in client.members], ["m1"])
    revision = client.get("k/1")[1].response_header.revision
    client.compact(revision)
    try:
        client.kvstub.Range(pb.RangeRequest(key=b"k/1", revision=2))
        expect("compacted read", "an answer", "an error")
    except Exception as error:
        expect("compacted read", error.details(), "etcdserver: mvcc: required revision has been compacted")
    events, cancel = client.watch("k/1", start_revision=2)
    try:
        next(events)
        expect("watch below compaction", "an event", "RevisionCompactedError")
    except etcd3.exceptions.RevisionCompactedError as error:
        expect("watch below compaction", error.compacted_revision, revision)
    client.close()
    expect("stop", member.stop() in (0, -15), True)
finally:
    member.close()
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
