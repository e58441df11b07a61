#!/usr/bin/python3
"""Plain HTTP on the client, metrics and peer port: pages, methods, CORS, hosts, the gateway's errors, limits and timeouts.
What is expected is what etcd 3.7.1 answers."""

import http.client
import json
import re
import socket
import time

import tally
from member import Member
from ports import free_port

HEALTHY = b'{"health":"true","reason":""}'
NOT_FOUND = b"404 page not found\n"
NOT_ALLOWED = b"Method Not Allowed\n"
TEXT = "text/plain; charset=utf-8"
ANY = object()


def check(what, good, got):
    tally.expect(what, good, f"got {got!r}")


def ask(port, method, path, body=None, headers=None, connection=None):
    link = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    link.request(method, path, body, headers or {})
    answer = link.getresponse()
    content = answer.read()
    if connection is None:
        link.close()
    return answer.status, answer.headers, content


def expect(port, method, path, status, body=ANY, body_sent=None, headers=None, **wanted):
    """wanted: header_name="value"; None: must not be there."""
    got_status, got_headers, got_body = ask(port, method, path, body_sent, headers)
    what = f"{method} {path} {headers or ''}"
    check(f"{what}: status {status}", got_status == status, got_status)
    if body is not ANY and method != "HEAD":
        matches = re.fullmatch(body, got_body) if isinstance(body, re.Pattern) else got_body == body
        check(f"{what}: body {body!r}", matches, got_body)
    for name, value in wanted.items():
        got = got_headers.get(name.replace("_", "-"))
        check(f"{what}: {name} {value!r}", got == value, got)


def health_pages(port):
    expect(port, "GET", "/health", 200, HEALTHY, content_type=TEXT)
    for query in ("?serializable=true", "?exclude=NOSPACE", "?exclude=NOSPACE&exclude=CORRUPT"):
        expect(port, "GET", "/health" + query, 200, HEALTHY)
    for page in ("/livez", "/readyz", "/livez/serializable_read", "/readyz/data_corruption", "/readyz/serializable_read",
                 "/readyz/linearizable_read", "/readyz/non_learner", "/livez?exclude=serializable_read",
                 "/readyz?exclude=nosuch"):
        expect(port, "GET", page, 200, b"ok\n", content_type=TEXT, x_content_type_options="nosniff")
    expect(port, "GET", "/livez?verbose", 200, b"[+]serializable_read ok\nok\n")
    expect(port, "GET", "/readyz/non_learner?verbose=1", 200, b"[+]non_learner ok\nok\n")
    lines = ask(port, "GET", "/readyz?verbose")[2].split(b"\n")
    check("readyz?verbose", sorted(lines) == sorted([b"[+]data_corruption ok", b"[+]serializable_read ok",
                                                     b"[+]linearizable_read ok", b"[+]non_learner ok", b"ok", b""]), lines)
    for page in ("/health", "/livez", "/readyz", "/livez/serializable_read"):
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            expect(port, method, page, 405, NOT_ALLOWED, allow="GET", content_type=TEXT, x_content_type_options="nosniff")
    for page in ("/", "/nosuch", "/healthz", "/livez/linearizable_read", "/readyz/nosuch", "/v2/keys", "/members"):
        for method in ("GET", "POST"):
            expect(port, method, page, 404, NOT_FOUND, content_type=TEXT, x_content_type_options="nosniff")


def version_page(port):
    expect(port, "GET", "/version", 200, b'{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}',
           content_type="application/json")
    for method in ("POST", "HEAD", "PUT"):
        expect(port, method, "/version", 405, NOT_ALLOWED, allow="GET")


def cors(port):
    for path in ("/version", "/nosuch", "/v3/kv/range"):
        expect(port, "GET", path, ask(port, "GET", path)[0], access_control_allow_origin="*",
               access_control_allow_methods="POST, GET, OPTIONS, PUT, DELETE",
               access_control_allow_headers="accept, content-type, authorization")
        expect(port, "OPTIONS", path, 200, b"", access_control_allow_origin="*")


def listed_origins_and_hosts(port):
    good, bad = {"Origin": "http://a.example:80"}, {"Origin": "http://b.example:80"}
    for path in ("/version", "/health"):
        expect(port, "GET", path, 200, headers=good, access_control_allow_origin="http://a.example:80")
        expect(port, "GET", path, 200, headers=bad, access_control_allow_origin=None)
        expect(port, "GET", path, 200, access_control_allow_origin=None)
    for host in ("127.0.0.1", f"127.0.0.1:{port}", "a.example:1234"):
        expect(port, "GET", "/version", 200, headers={"Host": host})
    for host in ("evil.example", "evil.example:80", "a.example.evil.example", "[::1]:2379"):
        expect(port, "GET", "/version", 421, re.compile(rb"(?s).*DNS Rebinding.*"), headers={"Host": host}, content_type=TEXT,
               x_content_type_options="nosniff")


def redirects(port):
    for path, target in (("//health", "/health"), ("/version/../health", "/health"), ("/./version", "/version"),
                         ("/v3", "/v3/"), ("/v3/kv//range?a=b", "/v3/kv/range?a=b")):
        expect(port, "GET", path, 307, location=target)
        expect(port, "POST", path, 307, b"", location=target)


def gateway_error(port, path, body, status, code, message, headers=None, method="POST"):
    got, headers_got, content = ask(port, method, path, body, headers)
    what = f"gateway {path} {body!r} {headers or ''}"
    check(f"{what}: status {status}", got == status, got)
    check(f"{what}: type", headers_got.get("Content-Type") == "application/json", headers_got.get("Content-Type"))
    if method != "HEAD":
        check(f"{what}: {code} {message}", json.loads(content) == {"code": code, "message": message}, content)


def gateway(port):
    status, headers, body = ask(port, "POST", "/v3/kv/put", b'{"key":"Zm9v","value":"YmFy"}')
    check("put", status == 200 and json.loads(body)["header"]["revision"] == "2", body)
    check("put's headers", headers["Content-Type"] == "application/json" and
          headers["Grpc-Metadata-Content-Type"] == "application/grpc", str(headers))
    for path in ("/v3/kv/range", "/v3beta/kv/range", "/v3/kv/r%61nge", "/v3/kv/range?x=1"):
        body = ask(port, "POST", path, b'{"key":"Zm9v"} what follows is not looked at')[2]
        check(path, json.loads(body)["kvs"] == [{"key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1",
                                                 "value": "YmFy"}], body)
    key = b'{"key":"Zm9v"}'
    gateway_error(port, "/v3/kv/range", b"", 400, 3, "etcdserver: key is not provided")
    gateway_error(port, "/v3/kv/range", b'{"', 400, 3, "unexpected EOF")
    gateway_error(port, "/v3/kv/range", b'{"key":1}', 400, 3, "proto:\u00a0(line 1:8): invalid value for bytes field key: 1")
    gateway_error(port, "/v3/kv/range", b'{"key":"YQ==","revision":"999999"}', 400, 11,
                  "etcdserver: mvcc: required revision is a future revision")
    gateway_error(port, "/v3/kv/put", b'{"key":"YQ==","lease":"7"}', 404, 5, "etcdserver: requested lease not found")
    gateway_error(port, "/v3/auth/user/get", b'{"name":"x"}', 400, 9, "etcdserver: user name not found")
    gateway_error(port, "/v3/auth/role/get", b'{"role":"x"}', 400, 9, "etcdserver: role name not found")
    gateway_error(port, "/v3/auth/authenticate", b'{"name":"x"}', 400, 9, "etcdserver: authentication is not enabled")
    gateway_error(port, "/v3/nosuch", b"", 404, 5, "Not Found")
    gateway_error(port, "/v3/kv/range/", b"", 404, 5, "Not Found")
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        gateway_error(port, "/v3/kv/range", None, 501, 12, "Method Not Allowed", method=method)
    for timeout in ("1n", "-1S", "1u"):
        gateway_error(port, "/v3/kv/range", key, 504, 4, "context deadline exceeded", {"Grpc-Timeout": timeout})
    for timeout in ("x", "S", "1 S", "1.5S", "99999999999999999999S"):
        gateway_error(port, "/v3/kv/range", key, 400, 3, f"invalid grpc-timeout: {timeout}", {"Grpc-Timeout": timeout})
    for timeout in ("10S", "0S", "999999999S", "1H"):
        status = ask(port, "POST", "/v3/kv/range", key, {"Grpc-Timeout": timeout})[0]
        check(f"Grpc-Timeout {timeout}", status == 200, status)
    gateway_error(port, "/v3/kv/put", b'{"key":"YQ==","value":"' + b"A" * 2920000 + b'"}', 429, 8,
                  "grpc: received message larger than max (2190008 vs. 2097152)")
    gateway_error(port, "/v3/kv/put", b'{"key":"YQ==","value":"' + b"A" * 2400000 + b'"}', 400, 3,
                  "etcdserver: request is too large")


def members_changes(port):
    gateway_error(port, "/v3/cluster/member/add", b"{}", 400, 3, "etcdserver: given member URLs are invalid")
    for method in ("promote", "remove", "update"):
        gateway_error(port, "/v3/cluster/member/" + method, b"{}", 404, 5, "etcdserver: member not found")
    gateway_error(port, "/v3/maintenance/transfer-leadership", b"{}", 400, 9, "etcdserver: bad leader transferee")


def what_is_not_there_yet(port):
    for path, method in (("auth/enable", "Auth/AuthEnable"), ("auth/user/add", "Auth/UserAdd")):
        gateway_error(port, "/v3/" + path, b"", 501, 12, f"etcdserverpb.{method} is not supported by kedge yet")
    for path, method in (("lease/keepalive", "Lease/LeaseKeepAlive"), ("watch", "Watch/Watch")):
        gateway_error(port, "/v3/" + path, b"", 501, 12, f"etcdserverpb.{method} is not supported by kedge's gateway yet")


def peer_port(port):
    _, headers, body = ask(port, "GET", "/members")
    cluster, own = headers["X-Etcd-Cluster-Id"], json.loads(body)[0]["id"]
    peer = {"X-Server-From": "1234", "X-Server-Version": "3.7.0", "X-Min-Cluster-Version": "3.0.0",
            "X-Etcd-Cluster-ID": cluster}
    other = dict(peer, **{"X-Etcd-Cluster-ID": "1"})
    tagged = {"x_etcd_cluster_id": cluster}
    expect(port, "GET", "/version", 200)
    expect(port, "POST", "/members/promote/1234", 404, b"membership: ID not found\n", **tagged)
    expect(port, "POST", "/members/promote/12/34", 404, b"member 12/34 not found in cluster\n", **tagged)
    expect(port, "POST", f"/members/promote/{own}", 412, b"membership: can only promote a learner member\n", **tagged)
    expect(port, "GET", "/members/promote/1", 405, NOT_ALLOWED, allow="POST", x_etcd_cluster_id=None)
    expect(port, "GET", "/members/hashkv", 200, re.compile(rb'{"header":{"revision":\d+},"hash":\d+,"compact_revision":-1,'
           rb'"hash_revision":\d+}'), body_sent=b'{"revision":0}', **tagged)
    for body, text in ((b"", b"error unmarshalling request\n"), (b"{", b"error unmarshalling request\n"),
                       (b'{"revision":9999}', b"mvcc: required revision is a future revision\n")):
        expect(port, "GET", "/members/hashkv", 400, text, body_sent=body)
    expect(port, "GET", "/members/hashkv", 412, b"cluster ID mismatch\n", body_sent=b"{", headers=other)
    expect(port, "POST", "/leases", 404, b"lease not found\n", body_sent=b"\x08\xd2\x09")
    expect(port, "POST", "/leases", 400, b"error unmarshalling request\n", body_sent=b"\xff")
    expect(port, "POST", "/leases/internal", 404, b"lease not found\n", body_sent=b"\x0a\x03\x08\xd2\x09")
    for path in ("/leases", "/leases/internal"):
        expect(port, "POST", path, 413, b"request body too large\n", body_sent=bytes(65537), connection="close")
        expect(port, "POST", path, 400, body_sent=bytes(65536))
        expect(port, "GET", path, 405, NOT_ALLOWED, allow=None)
    expect(port, "GET", "/downgrade/enabled", 200, b"false", content_type="text/plain", **tagged)
    for method in ("GET", "POST"):
        expect(port, method, "/raft/probing", 200, re.compile(rb'{"OK":true,"Now":"\d{4}-\d\d-\d\dT[\d:.]+Z"}\n'))
    old, new = dict(peer, **{"X-Server-Version": "2.9.0"}), dict(peer, **{"X-Min-Cluster-Version": "3.8.0"})
    for path, method in (("/raft", "POST"), ("/raft/snapshot", "POST"), ("/raft/stream/message/1234", "GET")):
        for headers in ({"X-Etcd-Cluster-ID": cluster}, old, new):
            expect(port, method, path, 412, b"incompatible version\n", headers=headers, **tagged)
        expect(port, method, path, 412, b"cluster ID mismatch\n", headers=other, **tagged)
        expect(port, "PUT", path, 405, NOT_ALLOWED, headers=peer, allow=method)
    expect(port, "POST", "/raft", 400, b"error unmarshalling raft message\n", body_sent=b"\xff\xff", headers=peer, **tagged)
    try:
        got = ask(port, "POST", "/raft", b"\x08\x08\x10\x01", peer)
    except http.client.IncompleteRead as error:
        got = error.partial
    check("a message to somebody else", got == b"error processing raft message\n", got)
    for path, text in (("nosuch/1234", b"invalid path\n"), ("message/xyz", b"invalid from\n"), ("message/", b"invalid from\n"),
                       ("message/1234/5", b"invalid path\n"), ("msgapp/1234", b"error sender not found\n")):
        expect(port, "GET", "/raft/stream/" + path, 404, text, headers=peer, x_server_version="3.7.1", **tagged)
    for body, text in ((b"", b"(EOF)"), (b"\0", b"(unexpected EOF)"), (b"\xff" * 9, b"(rafthttp: error limit exceeded)")):
        expect(port, "POST", "/raft/snapshot", 400, b"failed to decode raft message " + text + b"\n", body_sent=body, headers=peer)
    expect(port, "POST", "/raft/snapshot", 400, b"wrong raft message type\n", body_sent=bytes(7) + b"\x02\x08\x00", headers=peer)
    for path in ("/", "/raft/", "/members/", "/metrics", "/health", "/v3/kv/range"):
        expect(port, "GET", path, 404, NOT_FOUND)


def leases_over_the_peer_port(member):
    ask(member.port, "POST", "/v3/lease/grant", b'{"TTL":100,"ID":7}')
    ask(member.port, "POST", "/v3/kv/put", b'{"key":"YQ==","lease":7}')
    expect(member.peer_port, "POST", "/leases", 200, b"\x10\x07\x18\x64", body_sent=b"\x08\x07",
           content_type="application/protobuf")
    body = ask(member.peer_port, "POST", "/leases/internal", b"\x0a\x04\x08\x07\x10\x01")[2]
    check("time to live", body in (b"\x0a\x0b\x0a\x00\x10\x07\x18\x64\x20\x64\x2a\x01a", b"\x0a\x0b\x0a\x00\x10\x07\x18\x63\x20\x64\x2a\x01a"),
          body)


def keep_alive(port):
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    link.connect()
    first = link.sock
    for path, method in (("/health", "GET"), ("/nosuch", "GET"), ("/version", "HEAD"), ("/v3/kv/range", "POST"), ("/readyz", "GET")):
        ask(port, method, path, b"{}" if method == "POST" else None, connection=link)
    check("five requests on one connection", link.sock is first, link.sock)
    link.close()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 3 + b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = b"".join(iter(lambda: raw.recv(65536), b""))
    check("four requests at once, the last one closes", got.count(b"HTTP/1.1 200 OK") == 4, got)


def slow_head(port, start=None):
    """A head that never ends is cut after 10 s (etcd: 300): with `start` given, since then."""
    if start is None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        raw.sendall(b"GET /health HTTP/1.1\r\nHo")
        return raw, time.monotonic()
    raw, began = start
    got = raw.recv(100)
    took = time.monotonic() - began
    check("a slow head is cut after 10 s", got == b"" and 9 < took < 13, (got, took))
    raw.close()


def main():
    metrics = free_port()
    member = Member(f"--listen-metrics-urls=http://127.0.0.1:{metrics}")
    strict = Member("--cors=http://a.example:80", "--host-whitelist=127.0.0.1,a.example")
    no_gateway = Member("--enable-grpc-gateway=false")
    try:
        for server in (member, strict, no_gateway):
            server.start()
        slow = slow_head(member.port)
        for port in (member.port, metrics):
            health_pages(port)
        version_page(member.port)
        expect(metrics, "GET", "/version", 404, NOT_FOUND)
        cors(member.port)
        listed_origins_and_hosts(strict.port)
        redirects(member.port)
        gateway(member.port)
        members_changes(member.port)
        what_is_not_there_yet(member.port)
        expect(no_gateway.port, "POST", "/v3/kv/range", 404, NOT_FOUND, body_sent=b"{}")
        peer_port(member.peer_port)
        leases_over_the_peer_port(member)
        keep_alive(member.port)
        slow_head(member.port, slow)
        for server in (member, strict, no_gateway):
            check("stop", server.stop() in (0, -15), server.output())
    finally:
        for server in (member, strict, no_gateway):
            server.close()
    tally.end()


main()
