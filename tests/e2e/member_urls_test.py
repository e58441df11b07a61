#!/usr/bin/python3
"""URLs of members that are none (PR9174): an addition is refused as etcd 3.7.1 refuses it; an update too, which etcd takes,
and then members end over it."""

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

from cluster import Stubs
from member import Member
from tally import end, expect


def refused(what, call):
    try:
        call()
        expect(what, False, "it was taken")
    except grpc.RpcError as error:
        expect(what, error.code() == grpc.StatusCode.INVALID_ARGUMENT and
               error.details() == "etcdserver: given member URLs are invalid", str(error))


BROKEN = (["ftp://127.0.0.1:1"], ["http://127.0.0.1"], ["127.0.0.1:2380"], ["http://127.0.0.1:1/x"], [])

member = Member().start()
try:
    with Stubs(member) as s:
        for urls in BROKEN:
            refused(f"add {urls}", lambda: s.cluster.MemberAdd(pb.MemberAddRequest(peerURLs=urls), timeout=10))
        me = s.cluster.MemberList(pb.MemberListRequest(), timeout=10).members[0]
        for urls in BROKEN:
            refused(f"update {urls}", lambda: s.cluster.MemberUpdate(
                pb.MemberUpdateRequest(ID=me.ID, peerURLs=urls), timeout=10))
        for urls in (["http://127.0.0.1:1", "http://127.0.0.1:2"], list(me.peerURLs)):
            s.cluster.MemberUpdate(pb.MemberUpdateRequest(ID=me.ID, peerURLs=urls), timeout=10)
            now = s.cluster.MemberList(pb.MemberListRequest(), timeout=10).members[0]
            expect(f"update {urls}", list(now.peerURLs) == urls, str(now))
    member.stop()
    member.start()
    expect("stop", member.stop() in (0, -15))
finally:
    member.close()
end()
