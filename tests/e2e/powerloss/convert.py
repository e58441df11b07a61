#!/usr/bin/python3
"""Power loss while kedge takes over a folder of etcd's: records the start that does it, then starts kedge on what cuts of
the trace leave. Each must serve what etcd had, whether it finds the old store or the new one.

    convert.py KEDGE KEDGECTL TOOLS [--seed N] [--every N] [--choices N]

TOOLS holds record.so and cuts_pipe. Last line: "N passed, N failed".
"""
import argparse
import glob
import gzip
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server, cuts, tell

HASH = "2571416858, 167"  # as the etcd that left the folder said
META_HIGH_WATER, PAGE = 56, 4096


def pages_in_use(db):
    """The file without what etcd allocated ahead."""
    return db[: PAGE * max(struct.unpack_from("<Q", db, at + META_HIGH_WATER)[0] for at in (0, PAGE))]


def make_folder(data):
    for folder in ("member/snap", "member/wal"):
        os.makedirs(os.path.join(data, folder))
    with gzip.open("tests/data/etcd/data-dir.db.gz") as packed, open(data + "/member/snap/db", "wb") as db:
        db.write(pages_in_use(packed.read()))
    shutil.copy("tests/data/etcd/data-dir.wal", data + "/member/wal/0000000000000000-0000000000000000.wal")


def what_is_wrong(arguments, server, folder, original):
    trouble = server.wait_ready()
    if trouble is not None:
        return trouble
    done = subprocess.run([arguments.kedgectl, f"--endpoints=127.0.0.1:{server.port}", "endpoint", "hashkv"],
                          capture_output=True, text=True, timeout=20, check=False)
    if HASH not in done.stdout:
        return f"hash {done.stdout}{done.stderr}"
    kept = glob.glob(folder + "/member/snap/db.etcd.*")
    if len(kept) != 1:
        return f"kept {kept}"
    with open(kept[0], "rb") as f:
        return None if f.read() == original else "the original is not what it was"


def check_cut(arguments, folder, original):
    server = Server(arguments.kedge, folder, folder + ".log")
    try:
        return what_is_wrong(arguments, server, folder, original)
    finally:
        server.kill()


def replay(arguments, trace, folder, original):
    count = failed = converted = 0
    for number, event, whole, kind in cuts(arguments, trace, folder):
        if whole != 1:  # the folder itself is being told
            continue
        with open(folder + "/member/snap/db", "rb") as f:
            converted += f.read(len(original)) != original
        wrong = check_cut(arguments, folder, original)
        count += 1
        if wrong is not None:
            failed += 1
            tell(wrong, number, event, kind, folder + ".log")
    print(f"{count} cuts, {converted} of them with the new store")
    return count - failed, failed + (converted in (0, count))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kedge")
    parser.add_argument("kedgectl")
    parser.add_argument("tools")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--choices", type=int, default=2)
    arguments = parser.parse_args()
    top = tempfile.mkdtemp(prefix="kedge-powerloss-")
    arguments.kedge, arguments.kedgectl = (shutil.copy2(p, top) for p in (arguments.kedge, arguments.kedgectl))
    data, trace = os.path.join(top, "data"), os.path.join(top, "trace")
    make_folder(data)
    with open(data + "/member/snap/db", "rb") as f:
        original = f.read()
    server = Server(arguments.kedge, data, data + ".log",
                    {"LD_PRELOAD": os.path.join(arguments.tools, "record.so"), "POWERLOSS_ROOT": data,
                     "POWERLOSS_TRACE": trace, "POWERLOSS_EXISTING": "1"})
    trouble = server.wait_ready()
    server.kill()
    passed, failed = (0, 1) if trouble else replay(arguments, trace, os.path.join(top, "cut"), original)
    shutil.rmtree(top)
    print(f"power loss during a conversion, seed {arguments.seed}: {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
