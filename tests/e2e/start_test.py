#!/usr/bin/python3
"""What a start refuses, makes and says, and what a stop leaves: second server on a directory, swapped directories, a log without
its end, a store without its log, a clean stop and start."""

import os
import shutil

import tally
from gateway import post
from member import Member
from tally import expect


def put(member, key, value):
    post(member, "kv/put", {"key": key, "value": value})


def found(member, key):
    return [kv["value"] for kv in post(member, "kv/range", {"key": key}).get("kvs", [])]


def refused(what, member, *words):
    """A start on member's directory ends with status 1 and says all of the words."""
    try:
        member.start(wait=20)
        expect(what, False, "it started")
        member.kill()
    except RuntimeError as error:
        text = str(error)
        expect(what, "ended with 1" in text and all(w in text for w in words), text)


def tree(folder):
    return sorted((d, f, os.path.getsize(os.path.join(d, f))) for d, _, fs in os.walk(folder) for f in fs)


a, b = Member(), Member()
try:
    a.start()
    put(a, "YQ==", "MQ==")
    second = Member()
    shutil.rmtree(second.folder)
    second.data = a.data
    second.log = open(a.log.name, "ab+")
    refused("second server on a directory", second, a.data)
    expect("the first server goes on", found(a, "YQ==") == ["MQ=="])
    status = a.stop()
    expect("a clean stop ends by the signal", status == -15, f"status {status}")
    a.start()
    expect("data is there after a clean stop", found(a, "YQ==") == ["MQ=="])
    a.stop()

    b.start()
    for _ in range(30):
        put(b, "Yg==", "Mg==")
    b.stop()
    # folders above those of the data and of the log are made, as etcd makes them
    deep = Member(f"--wal-dir={b.folder}/w/x/wal", "--log-level=WARNING")
    deep.data = os.path.join(deep.folder, "d/x/data")
    deep.start()
    put(deep, "Yg==", "Mg==")
    deep.stop()
    expect("the log is where it was told", len(tree(f"{b.folder}/w/x/wal")) > 0)
    expect("its log has warnings only", '"level":"info"' not in deep.output(), deep.output())
    deep.close()

    # the store of another member
    shutil.copytree(a.data, a.data + ".good")
    shutil.copytree(b.data, b.data + ".good")
    shutil.copy(os.path.join(b.data, "member/snap/db"), os.path.join(a.data, "member/snap/db"))
    before = tree(a.data)
    refused("swapped directories", a, "another member")
    expect("nothing was overwritten", [x for x in tree(a.data) if "-lock" not in x[1]] ==
           [x for x in before if "-lock" not in x[1]], "files changed")
    shutil.rmtree(a.data)
    shutil.copytree(a.data + ".good", a.data)
    # a log that ends below the store: the log of the start, the store of later
    shutil.rmtree(b.data)
    shutil.copytree(b.data + ".good", b.data)
    wal = os.path.join(b.data, "member/wal")
    segment = os.path.join(wal, sorted(f for f in os.listdir(wal) if f.endswith(".wal"))[0])
    with open(segment, "r+b") as f:
        head = f.read(4096)
        end = 0
        for _ in range(6):  # the first six records
            word = int.from_bytes(head[end:end + 8], "little")
            length, pad = word & ((1 << 56) - 1), (word >> 56) & 7
            end += 8 + length + pad
        f.seek(end)
        f.write(bytes(64000000 - end))
    refused("a log that ends below the store", b, "ends below")
    # the same with a torn end: nothing of it is repaired in a directory that is refused
    with open(segment, "r+b") as f:
        f.seek(end)
        f.write(b"\x40\0\0\0\0\0\0\0torn")
    before = tree(wal)
    refused("a torn log that ends below the store", b, "ends below")
    with open(segment, "rb") as f:
        f.seek(end)
        expect("a refused log is not repaired", f.read(12) == b"\x40\0\0\0\0\0\0\0torn" and tree(wal) == before, tree(wal))
    # a log from the first entry on is enough to make the store again; without its beginning it is not
    shutil.rmtree(b.data)
    shutil.copytree(b.data + ".good", b.data)
    os.remove(os.path.join(b.data, "member/snap/db"))
    b.start()
    expect("a lost store is made again from a whole log", found(b, "Yg==") == ["Mg=="])
    b.stop()
    # a store without its log
    shutil.rmtree(b.data)
    shutil.copytree(b.data + ".good", b.data)
    shutil.rmtree(os.path.join(b.data, "member/wal"))
    refused("a store without its log", b, "no write-ahead log")
    shutil.rmtree(b.data)
    shutil.copytree(b.data + ".good", b.data)
    b.start()
    expect("the good copy starts", found(b, "Yg==") == ["Mg=="])
    b.stop()
finally:
    a.close()
    b.close()
tally.end()
