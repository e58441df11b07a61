#!/usr/bin/python3
"""The order in which a received image becomes durable (etcd#22340 / PR22314): its content, then its name in the folder,
and only then the checkpoint that says that it is there; the new store's content before it gets the old one's name. Seen
in what the member does to its files, by the recorder of tests/e2e/powerloss/."""

import os
import re
import struct
import subprocess

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

import tally
from cluster import Cluster, Stubs
from programs import has_sanitizer
from tally import expect

HEAD = struct.Struct("=IIQQ")
CREATE, EXISTS, FOLDER, WRITE, SIZE, SYNC, SYNC_NAMES, RENAME, REMOVE, ACKED = range(1, 11)  # record.h


def events(trace):
    """(kind, file, text) of each; the text of names only."""
    with open(trace, "rb") as f:
        while len(head := f.read(HEAD.size)) == HEAD.size:
            kind, file, _, length = HEAD.unpack(head)
            text = f.read(length) if kind != WRITE else f.seek(length, os.SEEK_CUR) and b""
            yield kind, file, text.rstrip(b"\0").decode(errors="replace") if kind != WRITE else ""


class Durable:
    """Which files' content and which names are durable, as the events go by."""

    def __init__(self):
        self.files, self.dirty, self.loose = {}, set(), set()

    def take(self, kind, file, text):
        if kind in (CREATE, EXISTS):
            self.files[text] = file
            self.loose.add(text)
        elif kind in (WRITE, SIZE):
            self.dirty.add(file)
        elif kind == SYNC:
            self.dirty.discard(file)
        elif kind == SYNC_NAMES:
            self.loose = {name for name in self.loose if os.path.dirname(name) != text.rstrip("/")}
        elif kind == RENAME:
            old, new = text.split("\0")
            self.files[new] = self.files.pop(old, 0)
            self.loose.discard(old)
            self.loose.add(new)

    def content(self, name):
        return name in self.files and self.files[name] not in self.dirty

    def name(self, name):
        return name in self.files and name not in self.loose


def judge(trace):
    seen, images = Durable(), []
    for kind, file, text in events(trace):
        if kind == RENAME:
            old, new = text.split("\0")
            image = re.fullmatch(r"(.*/)?([0-9a-f]{16})\.snap\.db", new)
            checkpoint = re.fullmatch(r"(.*/)?[0-9a-f]{16}-([0-9a-f]{16})\.snap", new)
            if image:
                expect(f"content of {new} before its name", seen.content(old), "it is not synced")
                images.append((image[2], new))
            if checkpoint:
                for index, name in images:
                    if index == checkpoint[2]:
                        expect(f"the name {name} before {new}", seen.name(name), "the folder is not synced")
                        expect(f"content of {new} before its name", seen.content(old), "it is not synced")
            if new.endswith("/db") and images:
                expect("content of the new store before its name", seen.content(old), "it is not synced")
                expect("the image while the store changes", seen.name(images[-1][1]), "its name is gone")
        seen.take(kind, file, text)
    expect("an image came", len(images) == 1, str(images))
    expect("the store's name", any(name.endswith("/db") and seen.name(name) for name in seen.files), str(seen.loose))


def main():
    if has_sanitizer():
        tally.skip_all("a sanitizer's runtime cannot be preloaded over")
    here = os.path.dirname(os.path.abspath(__file__))
    tools = subprocess.run([os.path.join(here, "powerloss/build")], capture_output=True, text=True, check=True)
    cluster = Cluster(3, "--snapshot-count=20", "--max-wals=1", "--snapshot-catchup-entries=1")
    try:
        cluster.start()
        with Stubs(cluster.leader()) as s:
            for i in range(150):
                s.kv.Put(pb.PutRequest(key=b"k%d" % (i % 10), value=bytes(1000000)), timeout=20)
        joining = cluster.joining()
        trace = os.path.join(joining.folder, "trace")
        os.mkdir(joining.data, 0o700)
        joining.environment = {"LD_PRELOAD": os.path.join(tools.stdout.strip(), "record.so"),
                               "POWERLOSS_ROOT": joining.data, "POWERLOSS_TRACE": trace}
        cluster.change("add", joining.name, f"--peer-urls={joining.peer_url}")
        joining.start()
        cluster.members.append(joining)
        cluster.same_hash()
        joining.stop()
        judge(trace)
    except (AssertionError, RuntimeError, grpc.RpcError) as error:
        expect("the run", False, error)
    finally:
        cluster.close()
    tally.end()


main()
