#!/usr/bin/python3
"""Flow control: what a service refuses while its request is still coming in, or before it is read, gives the connection's
window back; a stalled reader of a big answer hurts nobody else."""

import os

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

from member import Member
from tally import end, equal


def code(call, request, **options):
    try:
        call(request, timeout=10, **options)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


member = Member().start()
try:
    big = os.urandom(500000)
    with grpc.insecure_channel(member.endpoint, options=[("grpc.max_receive_message_length", -1),
                                                         ("grpc.max_send_message_length", -1)]) as channel:
        kv = stubs.KVStub(channel)
        for _ in range(20):  # together ten times the connection's window
            equal("a refused big put", code(kv.Put, pb.PutRequest(value=big)), "INVALID_ARGUMENT")
        for _ in range(20):
            equal("a put that is too long", code(kv.Put, pb.PutRequest(key=b"k", value=big * 5)), "RESOURCE_EXHAUSTED")
        for _ in range(20):
            equal("an unknown method", code(channel.unary_unary("/etcdserverpb.KV/No", bytes, bytes), big), "UNIMPLEMENTED")
        for i in range(20):
            equal("a good one", code(kv.Put, pb.PutRequest(key=b"%d" % i, value=big)), "OK")
        # readers that take nothing: each asks for all of it and reads no further
        everything = pb.RangeRequest(key=b"\0", range_end=b"\0")
        stalled = [grpc.insecure_channel(member.endpoint, options=[("grpc.http2.bdp_probe", 0), ("x", i)]) for i in range(20)]
        calls = [c.unary_stream("/etcdserverpb.KV/Range", pb.RangeRequest.SerializeToString, lambda b: b)(everything)
                 for c in stalled]
        for _ in range(20):
            equal("a read beside stalled ones", code(kv.Range, pb.RangeRequest(key=b"1")), "OK")
        for c in calls:
            c.cancel()
        for c in stalled:
            c.close()
        equal("the whole of it", sum(len(r.value) for r in kv.Range(everything, timeout=30).kvs), 20 * 500000)
    equal("stop", member.stop() in (0, -15), True)
finally:
    member.close()
end()
