#!/usr/bin/python3
"""A file system that has a little space left, but not for all of a write: ext4 writes in steps of up to some megabytes, and
cuts the store's write short before the step that it has no room for. LMDB tells that as an error of the disk. The member
takes it for what it is, and goes on. Needs root, for a small file system of its own."""

import os
import subprocess
import tempfile
import threading

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb

import filler
import tally
from cluster import Stubs
from member import Member
from tally import check, until

folder = tempfile.mkdtemp(prefix="kedge-short.")
image = folder + ".ext4"
with open(image, "wb") as f:
    f.truncate(220 << 20)
try:
    mounted = [subprocess.run(c, capture_output=True).returncode for c in (["mkfs.ext4", "-q", "-m", "0", image],
                                                                           ["mount", "-o", "loop", image, folder])] == [0, 0]
except FileNotFoundError:
    mounted = False
if not mounted:
    os.unlink(image)
    os.rmdir(folder)
    tally.skip_all("no file system can be mounted here")


def put(member, i):
    try:
        with Stubs(member) as s:
            s.kv.Put(pb.PutRequest(key=b"k%d" % i, value=bytes(1400000)), timeout=5)
            return True
    except grpc.RpcError:
        return False


def test_a_write_that_is_cut_short_is_lack_of_space(member):
    filler.leave(folder, 12_000_000)
    for begin in range(1, 25, 6):
        puts = [threading.Thread(target=put, args=(member, begin + i)) for i in range(6)]
        for thread in puts:
            thread.start()
        for thread in puts:
            thread.join()
        check(member.running(), "it ended")
    os.unlink(os.path.join(folder, "filler"))
    check(until(lambda: put(member, 0), 30), "it doesn't recover")
    member.kill()
    member.start()
    check(put(member, 0), "a put after a restart")


member = Member()
member.data = os.path.join(folder, "data")
try:
    tally.scenario(test_a_write_that_is_cut_short_is_lack_of_space, member.start(), state=member.output)
finally:
    member.close()
    subprocess.run(["umount", folder])
    os.rmdir(folder)
    os.unlink(image)
tally.end()
