#!/usr/bin/python3
"""The Python client etcd3 does put, get, range, delete, a nested transaction, watches, leases, locks' transactions,
compaction and status."""

import threading

from member import Member
from tally import end, equal, skip_all

try:
    import etcd3
    from etcd3.etcdrpc import rpc_pb2 as pb
except ImportError:
    skip_all("no python3-etcd3")

member = Member().start()
try:
    client = etcd3.client(host="127.0.0.1", port=member.port)
    client.put("k/1", "one")
    client.put("k/2", "two")
    equal("get", client.get("k/1")[0], b"one")
    equal("range", [v for v, _ in client.get_prefix("k/")], [b"one", b"two"])
    equal("range, descending", [m.key for _, m in client.get_prefix("k/", sort_order="descend")], [b"k/2", b"k/1"])
    equal("prev_kv", client.put("k/1", "uno", prev_kv=True).prev_kv.value, b"one")
    equal("delete", client.delete("k/2"), True)
    equal("delete again", client.delete("k/2"), False)
    t = client.transactions
    equal("txn", client.transaction(compare=[t.value("k/1") == "uno", t.version("k/1") == 2],
                                     success=[t.put("k/3", "three"), t.get("k/1")], failure=[])[0], True)
    equal("txn that fails", client.transaction(compare=[t.create("k/3") == 0], success=[], failure=[t.get("k/3")])[0], False)
    nested = pb.TxnRequest(success=[pb.RequestOp(request_txn=pb.TxnRequest(
        compare=[pb.Compare(key=b"k/3", target=pb.Compare.VALUE, value=b"three")],
        success=[pb.RequestOp(request_put=pb.PutRequest(key=b"k/4", value=b"four"))]))])
    answer = client.kvstub.Txn(nested)
    equal("nested txn", answer.responses[0].response_txn.succeeded, True)
    equal("nested txn's put", client.get("k/4")[0], b"four")

    lease = client.lease(100)
    client.put("leased", "v", lease=lease)
    equal("lease keys", list(lease.keys), [b"leased"])
    equal("keepalive", list(lease.refresh())[0].TTL, 100)
    equal("ttl", 98 <= lease.remaining_ttl <= 100, True)
    lease.revoke()
    equal("revoked", client.get("leased")[0], None)

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
    equal("watch", seen, [("PutEvent", b"w", b"1"), ("PutEvent", b"w", b"2"), ("DeleteEvent", b"w", b"")])

    with client.lock("lock", ttl=10) as lock:
        equal("lock", lock.is_acquired(), True)

    status = client.status()
    equal("version", status.version, "3.7.1")
    equal("members", [m.name for m in client.members], ["m1"])
    revision = client.get("k/1")[1].response_header.revision
    client.compact(revision)
    try:
        client.kvstub.Range(pb.RangeRequest(key=b"k/1", revision=2))
        equal("compacted read", "an answer", "an error")
    except Exception as error:
        equal("compacted read", error.details(), "etcdserver: mvcc: required revision has been compacted")
    events, cancel = client.watch("k/1", start_revision=2)
    try:
        next(events)
        equal("watch below compaction", "an event", "RevisionCompactedError")
    except etcd3.exceptions.RevisionCompactedError as error:
        equal("watch below compaction", error.compacted_revision, revision)
    client.close()
    equal("stop", member.stop() in (0, -15), True)
finally:
    member.close()
end()
