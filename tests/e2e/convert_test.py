#!/usr/bin/python3
"""A data folder that etcd left is kedge's after the first start, and as it was when the start is refused or killed at any
step."""

import fcntl
import glob
import gzip
import hashlib
import os
import random
import shutil
import time
from contextlib import closing

import tally
from member import Member
from programs import kedgeutl, said, skip_without_failpoints
from tally import check

SAMPLES = "tests/data/etcd"
HASH = "2571416858, 167"  # as the etcd that made the sample said
STEPS = ["convertAfterBuild", "convertAfterLink", "convertBeforeRename", "convertAfterRename"]


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Old(Member):
    """A member whose folder a real etcd 3.7.1 left (facts: samples/README.md)."""

    def __init__(self, *flags, change=lambda db: db, wal="data-dir.wal", db="data-dir.db.gz", name="s1"):
        super().__init__(*flags, name=name)
        self.snap = os.path.join(self.data, "member/snap")
        self.db = os.path.join(self.snap, "db")
        for folder in ("snap", "wal"):
            os.makedirs(os.path.join(self.data, "member", folder), mode=0o700)
        os.chmod(self.data, 0o700)
        self.original = change(gzip.decompress(read(f"{SAMPLES}/{db}")))
        with open(self.db, "wb") as f:
            f.write(self.original)
        if wal:
            shutil.copy(f"{SAMPLES}/{wal}", os.path.join(self.data, "member/wal/0000000000000000-0000000000000000.wal"))
        self.before = self.listing()

    def listing(self):
        """What is in the folder, to the byte."""
        files = [f for f in glob.glob(self.data + "/member/**", recursive=True) if os.path.isfile(f)]
        return {os.path.relpath(f, self.data): hashlib.sha256(read(f)).hexdigest() for f in files}

    def refused(self, text):
        self.begin()
        check(self.process.wait(30) == 1, f"it did not refuse: {self.output()}")
        check(text in self.output(), f"expected {text!r}: {self.output()}")
        check(self.listing() == self.before, f"the folder has changed: {self.listing()}")

    def kept(self):
        return sorted(os.path.basename(f) for f in glob.glob(self.snap + "/db.etcd.*"))

    def is_whole(self, hash_text=HASH, kept=("db.etcd.00000000000000c1",)):
        check(hash_text in said(self, "endpoint", "hashkv"), said(self, "endpoint", "hashkv"))
        check(self.kept() == list(kept), f"{self.kept()}")
        check(read(os.path.join(self.snap, kept[-1])) == self.original, "the original is not what it was")
        check(not glob.glob(self.snap + "/db.tmp*"), f"left behind: {os.listdir(self.snap)}")


def with_another_member(db):
    """Its list of members names one that the log does not."""
    return db.replace(b"856d959d1c1723aa", b"856d959d1c1723ab").replace(b"9614505281519559594", b"9614505281519559595")


def with_auth(db):
    return db.replace(b"authEnabled\x00", b"authEnabled\x01")


# --- tests ---


def test_everything_comes_along():
    with closing(Old()) as old:
        old.start()
        check('"converted the store of etcd"' in old.output(), old.output())
        old.is_whole()
        leases = said(old, "lease", "list")
        check(all(i in leases for i in ("1111", "2222", "3333")), leases)
        status = said(old, "endpoint", "status", "-w", "json")
        check('"cluster_id":8738316647379730286,"member_id":9614505281519559594,"revision":167' in status, status)
        check("s1" in said(old, "member", "list"), "the member is gone")
        said(old, "put", "after", "x")
        backup = os.path.join(old.folder, "backup.db")
        said(old, "snapshot", "save", backup)
        rows = read(backup)
        check(b"alice" in rows and b"$2a$" in rows, "the users are gone")
        old.stop()
        old.start()
        check(old.output(1000).count('"converted the store of etcd"') == 1, "it was converted twice")
        check("after" in said(old, "get", "after"), "the put is gone")


def test_authentication_is_not_dropped_silently():
    with closing(Old(change=with_auth)) as old:
        old.refused("authentication is enabled in this cluster")
        old.flags.append("--migrate-disable-auth")
        old.start()
        old.is_whole()
        check("authentication is switched off" in old.output(), old.output())
        old.flags.pop()
        old.stop()
        old.start()


def test_what_does_not_fit_is_refused_and_left_alone():
    cut = lambda db: db[: 4096 * 5]
    flipped = lambda db: db[: 2 * 4096] + bytes(b ^ 0xFF for b in db[2 * 4096 : 3 * 4096]) + db[3 * 4096 :]
    for old, text in [
        (Old(wal=None), "there is no write-ahead log beside it"),
        (Old(wal="restore-2member.wal"), "the write-ahead log ends with entry"),
        (Old(change=cut), "it was cut off"),
        (Old(change=with_another_member), "856d959d1c1723ab is there in its list of members and not by its log"),
        (Old(change=lambda db: bytes(4096) + db[4096:8192] + flipped(db)[8192:]), "offset"),
        (Old(change=lambda db: db.replace(b"storageVersion3.7.0", b"storageVersion3.9.0")), "its storage version is 3.9.0"),
        (Old(change=lambda db: db.replace(b"storageVersion3.7.0", b"storageVersion-----")), "its storage version is \"-----\""),
    ]:
        with closing(old):
            old.refused(text.replace('"', '\\"'))


def test_etcd_34_is_refused_and_its_snapshot_taken():
    """Folder and snapshot are of Debian's etcd-server and etcd-client, 3.4.23."""
    with closing(Old(db="etcd34.db.gz", wal="etcd34.wal", name="s34")) as old:
        old.refused("it was written by etcd 3.4 or an older one")
    with closing(Member()) as member:
        backup = os.path.join(member.folder, "backup.db")
        with open(backup, "wb") as f:
            f.write(gzip.decompress(read(f"{SAMPLES}/etcd34-snapshot.db.gz")))
        restored = kedgeutl("snapshot", "restore", backup, "--data-dir", member.data, "--name", member.name,
                            "--initial-cluster", member.initial, "--initial-advertise-peer-urls", member.peer_url)
        check(restored.status == 0, restored.errors)
        member.start()
        check(", 1266341094, 12" in said(member, "endpoint", "hashkv"), said(member, "endpoint", "hashkv"))
        check("6acca208479a650f" in said(member, "lease", "list"), "the lease is gone")


def test_an_etcd_that_runs_is_left_alone():
    with closing(Old()) as old, open(old.db, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        old.refused("another process has it open")


def test_what_an_earlier_try_left_is_taken_away():
    with closing(Old()) as old:
        for name in ("db.tmp.etcd", "db.tmp.etcd-lock"):
            with open(os.path.join(old.snap, name), "wb") as f:
                f.write(b"half" * 1000)
        os.link(old.db, os.path.join(old.snap, "db.etcd.0000000000000010"))
        old.start()
        old.is_whole()


def test_an_older_original_is_never_replaced():
    with closing(Old()) as old:
        for name in ("db.etcd.00000000000000c1", "db.etcd.00000000000000c1.2"):
            with open(os.path.join(old.snap, name), "wb") as f:
                f.write(name.encode())
        old.start()
        old.is_whole(kept=[f"db.etcd.00000000000000c1{end}" for end in ("", ".2", ".3")])
        check(read(os.path.join(old.snap, "db.etcd.00000000000000c1.2")) == b"db.etcd.00000000000000c1.2", "replaced")


def test_a_kill_at_any_moment_leaves_it_whole():
    chance = random.Random(1)
    for _ in range(6):
        with closing(Old()) as old:
            for _ in range(4):
                old.begin()
                time.sleep(chance.random() * 0.02)
                old.kill()
            old.start()
            old.is_whole()


def test_a_crash_at_each_step_leaves_it_whole():
    skip_without_failpoints()
    for step in STEPS:
        with closing(Old()) as old:
            old.environment = {"KEDGE_FAILPOINTS": f"{step}=exit"}
            old.begin()
            check(old.process.wait(30) == 1, f"{step} was not reached: {old.output()}")
            old.environment = {}
            old.start()
            old.is_whole()


for each in tally.scenarios(globals()):
    tally.scenario(each)
tally.end()
