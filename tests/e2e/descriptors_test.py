#!/usr/bin/python3
"""Connections that say nothing, as many as there are descriptors, at any port: those of the other ports are served, and the
member's own files find room."""

import http.client
import json
import resource
import socket

from member import Member
from ports import free_port
from tally import end, equal, expect

LIMIT = 200


def put(link):
    link.request("POST", "/v3/kv/put", json.dumps({"key": "aw==", "value": "dg=="}))
    answer = link.getresponse()
    answer.read()
    return answer.status


def silent(port):
    """Those that the system takes wait in the queue of the port if the member doesn't."""
    connections = []
    for _ in range(LIMIT + 100):
        connections.append(socket.create_connection(("127.0.0.1", port), timeout=5))
    return connections


metrics = free_port()
member = Member(f"--listen-metrics-urls=http://127.0.0.1:{metrics}", "--snapshot-count=20")
before = resource.getrlimit(resource.RLIMIT_NOFILE)
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, before[1]))
    member.begin()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    member.wait_ready()
    for name, port in (("peer", member.peer_port), ("metrics", metrics), ("client", member.port)):
        early = http.client.HTTPConnection("127.0.0.1", member.port, timeout=20)
        equal(f"a put before the {name} port's connections", put(early), 200)
        silent_ones = silent(port)
        if name != "client":
            late = http.client.HTTPConnection("127.0.0.1", member.port, timeout=20)
            equal(f"a client that comes beside the {name} port's connections", put(late), 200)
        # a checkpoint needs a file
        equal(f"puts beside the {name} port's connections", [put(early) for _ in range(50)], [200] * 50)
        expect("the member goes on", member.running(), member.output())
        for connection in silent_ones:
            connection.close()
finally:
    member.close()
end()
