#!/usr/bin/python3
"""The same requests to the JSON gateway of kedge and of the real etcd (build/interop/bin/etcd): every answer must be equal
but for ids, sizes and log indexes. Skipped where there is no etcd."""

import http.client
import json

import tally
from gateway import b64
from member import Member
from programs import ETCD, is_there

# Values that may differ, by their names: ids follow from ports, sizes and log indexes are each program's own, and etcd's
# hash is over its bbolt file.
MASKED = {"cluster_id", "member_id", "raft_term", "leader", "raftIndex", "raftTerm", "raftAppliedIndex", "dbSize",
          "dbSizeInUse", "peerURLs", "clientURLs"}

RANGE = [
    b"", b"{}", b" ", b"null", b"[]", b'"a"', b"1", b"{", b'{"', b'{"key', b'{"key":', b'{"key":"YQ==",}', b'{"key":"YQ=="} x',
    b'{"key":"Zm9v"}', b'{"key":"Zm9v","keys_only":true}', b'{"key":"Zm9v","countOnly":true}',
    b'{"key":"AA==","range_end":"AA==","limit":"1"}', b'{"key":"AA==","range_end":"AA==","sort_order":"DESCEND","sort_target":"MOD"}',
    b'{"key":"AA==","range_end":"AA==","sort_order":2,"sort_target":4}', b'{"key":"Zm9v","sort_order":"NOSUCH"}',
    b'{"key":"Zm9v","sort_order":7}', b'{"key":"Zm9v","revision":"2"}', b'{"key":"Zm9v","revision":"1"}',
    b'{"key":"Zm9v","revision":99999}', b'{"key":"Zm9v","revision":-1}', b'{"key":"Zm9v","limit":1.5}', b'{"key":"Zm9v","limit":1e1}',
    b'{"key":"Zm9v","limit":"01"}', b'{"key":"Zm9v","limit":01}', b'{"key":"Zm9v","limit":true}', b'{"key":"Zm9v","limit":null}',
    b'{"key":"Zm9v","limit":9223372036854775808}', b'{"key":"Zm9v","limit":1,"limit":2}', b'{"key":"Zm9"}', b'{"key":"Zm9v="}',
    b'{"key":"Zm 9v"}', b'{"key":1}', b'{"key":["Zm9v"]}', b'{"key":"Zm9v","serializable":"true"}', b'{"key":"Zm9v","x":[1,]}',
    b'{"key":"Zm9v","x":"\xff"}', b'{"key":"Zm9v","x":"\\ud800\\u0041zzz"}', b'{"key":"Zm9v","x":"\\ud83d\\ude00"}',
]
TXN = [
    b"{}", b'{"success":[{}]}', b'{"success":[null]}', b'{"success":{}}',
    b'{"compare":[{"target":"VALUE","key":"Zm9v","value":"YmFy"}],"success":[{"request_range":{"key":"Zm9v"}}],'
    b'"failure":[{"requestPut":{"key":"YQ==","value":"YQ=="}}]}',
    b'{"success":[{"request_txn":{"success":[{"request_put":{"key":"YQ==","value":"MQ=="}}]}},{"request_range":{"key":"YQ=="}}]}',
    b'{"success":[{"request_delete_range":{"key":"YQ==","prev_kv":true}}]}',
    b'{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}',
    b'{"success":[{"request_range":{"key":"YQ=="},"request_put":{"key":"YQ=="}}]}',
    b'{"compare":[{"result":"GREATER","target":"MOD","mod_revision":"0","key":"Zm9v"}]}',
    b'{"compare":[{"result":"NOT_EQUAL","target":1,"create_revision":null,"key":"Zm9v"}]}',
    b'{"compare":[{"result":"NOT_EQUAL","target":2,"version":1,"value":"","key":"Zm9v"}]}',
]
REQUESTS = [
    ("kv/put", b'{"key":"Zm9v","value":"YmFy"}'),
    ("kv/put", b'{"key":"Zm9v","value":"YmF6","prev_kv":true}'),
    ("kv/put", b'{"key":"YmFy"}'),
    ("kv/put", b'{"key":"Zm9v","lease":"77"}'),
    ("kv/put", b'{"key":"Zm9v","ignore_value":true,"value":"YQ=="}'),
    ("kv/put", b'{"key":"nosuch==","ignore_lease":true}'),
    *(("kv/range", body) for body in RANGE),
    *(("kv/txn", body) for body in TXN),
    ("kv/compaction", b'{"revision":"99999"}'),
    ("kv/compaction", b'{"revision":"3","physical":true}'),
    ("kv/range", b'{"key":"Zm9v","revision":"2"}'),
    ("kv/deleterange", b'{"key":"YmFy","prevKv":true}'),
    ("kv/deleterange", b'{"key":"YmFy"}'),
    ("lease/grant", b'{"TTL":"100","ID":"7"}'),
    ("lease/grant", b'{"TTL":"100","ID":"7"}'),
    ("lease/grant", b'{"TTL":"9000000001"}'),
    ("kv/put", b'{"key":"bGVhc2U=","lease":7}'),
    ("lease/timetolive", b'{"ID":9,"keys":true}'),
    ("lease/leases", b""),
    ("kv/lease/leases", b"{}"),
    ("lease/revoke", b'{"ID":"7"}'),
    ("kv/lease/revoke", b'{"ID":"7"}'),
    ("cluster/member/list", b'{"linearizable":true}'),
    ("maintenance/alarm", b'{"action":"GET"}'),
    ("maintenance/alarm", b'{"action":"NOSUCH","alarm":1}'),
    ("maintenance/status", b"{}"),
    ("maintenance/hashkv", b"{}"),
    ("maintenance/hashkv", b'{"revision":99999}'),
    ("auth/status", b""),
    ("auth/user/list", b"{}"),
    ("auth/role/list", b""),
    ("auth/user/get", b'{"name":"x"}'),
    ("auth/user/get", b'{"name":1}'),
    ("auth/role/get", b""),
    ("auth/authenticate", b'{"name":"a","password":"b"}'),
    ("nosuch", b""),
    ("kv/range/", b""),
]


def masked(value):
    if isinstance(value, dict):
        member = "peerURLs" in value
        return {key: "masked" if key in MASKED or member and key == "ID" else masked(item) for key, item in value.items()}
    return [masked(item) for item in value] if isinstance(value, list) else value


def ask(port, method, path, body, headers):
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        link.request(method, path, body, headers)
        answer = link.getresponse()
        content = answer.read()
        try:
            content = masked(json.loads(content))
        except ValueError:
            pass
        return answer.status, answer.headers.get("Content-Type"), answer.headers.get("Grpc-Metadata-Content-Type"), content
    finally:
        link.close()


def requests():
    for path, body in REQUESTS:
        yield "POST", "/v3/" + path, body, {}
    for i in range(200):  # a list of 2 MB
        yield "POST", "/v3/kv/put", json.dumps({"key": b64(f"big{i}"), "value": b64(f"{i} " * (i * 20))}), {}
    for more in ({}, {"limit": 100}, {"sort_order": "DESCEND", "sort_target": "VALUE"}, {"count_only": True}):
        yield "POST", "/v3/kv/range", json.dumps({"key": "AA==", "range_end": "AA==", **more}), {}
    for method in ("GET", "HEAD", "PUT"):
        yield method, "/v3/kv/range", None, {}
        yield method, "/v3/nosuch", None, {}
    for path in ("/v3beta/kv/range", "/v3alpha/kv/range", "/v3/kv/r%61nge", "/v3/kv/range?key=x"):
        yield "POST", path, b'{"key":"Zm9v"}', {}
    for timeout in ("1n", "x", "0S", "-1S", "10S", "+10S", " 10S", "1e1S", "9223372036854775808S", "1h"):
        yield "POST", "/v3/kv/range", b'{"key":"Zm9v"}', {"Grpc-Timeout": timeout}
    for name, value in (("Authorization", "nosuch"), ("Grpc-Metadata-hasleader", "true"), ("Content-Type", "text/plain"),
                        ("Grpc-Metadata-client-api-version", "\xff"), ("Accept", "text/html")):
        yield "POST", "/v3/kv/range", b'{"key":"Zm9v"}', {name: value}


def main():
    if not is_there(ETCD):
        tally.skip_all("there is no build/interop/bin/etcd")
    kedge, etcd = Member(), Member(program=ETCD)
    try:
        kedge.start()
        etcd.start()
        for request in requests():
            got, wanted = ask(kedge.port, *request), ask(etcd.port, *request)
            tally.expect(request, got == wanted, f"\n  kedge: {got}\n  etcd:  {wanted}")
        kedge.stop()
        etcd.stop()
    finally:
        kedge.close()
        etcd.close()
    tally.end()


main()
