#!/usr/bin/python3
"""kedgeutl snapshot restore and what goes with it, on real processes: three members from one file form a cluster, revisions
bumped, a bare db, a restore that is killed again and again, and (where the official programs are) etcdutl beside it."""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import tally
from member import Member
from programs import ETCDUTL, KEDGECTL, KEDGEUTL, begin, ended, is_there, kedgeutl, run, said
from tally import expect

KEYS = 2000


def good(what, result):
    expect(what, result.status == 0, result)
    return result.out


def status(path, program=KEDGEUTL):
    return json.loads(good(f"{program} snapshot status {path}", run(program, "-w", "json", "snapshot", "status", path)))


def make_snapshot(member, path):
    """Some thousand keys of different sizes, deletes, a compaction, leases."""
    ctl = (KEDGECTL, f"--endpoints={member.endpoint}")
    for start in range(0, KEYS, 100):
        lines = "".join(f'put k{i % 700:04} "{"v" * (i % 900)}{i}"\n' for i in range(start, start + 100))
        said(member, "txn", stdin="\n" + lines + "\n\n")
    good("a lease", run(*ctl, "lease", "grant", "1000"))
    good("deletes", run(*ctl, "del", "k001", "--prefix"))
    good("compaction", run(*ctl, "compaction", "12"))
    good("a put after it", run(*ctl, "put", "last", "one"))
    good("save", run(*ctl, "snapshot", "save", path))


def check_three_members(folder, path):
    members = [Member(name=f"m{i}") for i in (1, 2, 3)]
    initial = ",".join(m.initial for m in members)
    try:
        for m in members:
            m.initial = initial
            tool = [KEDGECTL, KEDGEUTL][m is members[0]]
            good(f"{tool} restore of {m.name}", run(tool, "snapshot", "restore", path, f"--data-dir={m.data}", f"--name={m.name}",
                 f"--initial-cluster={initial}", f"--initial-advertise-peer-urls={m.peer_url}", "--bump-revision=auto"))
            m.begin()
        for m in members:
            m.wait_ready()
        revision = status(path)["revision"] + 1000000000
        ends = ",".join(m.endpoint for m in members)
        hashes = [x["HashKV"] for x in json.loads(good("hashkv", run(KEDGECTL, f"--endpoints={ends}", "-w", "json", "endpoint", "hashkv")))]
        expect("three members with one hash", len({(x["hash"], x["hash_revision"]) for x in hashes}) == 1, hashes)
        expect("the bumped revision", hashes[0]["hash_revision"] == revision, hashes[0])
        expect("nothing of the old cluster's members", len(json.loads(good("members", run(KEDGECTL, f"--endpoints={ends}", "-w", "json", "member", "list")))["members"]) == 3)
        one = (KEDGECTL, f"--endpoints={members[0].endpoint}")
        expect("the last put", good("get", run(*one, "get", "last", "--print-value-only")) == "one\n")
        expect("old revisions are compacted", "has been compacted" in run(*one, "get", "last", f"--rev={revision - 1}")[2])
        watch = begin(*one, "watch", "", "--prefix", f"--rev={revision}")
        good("a put", run(*one, "put", "new", "1"))
        expect("a watch from the bumped revision on begins with what comes next", watch.stdout.readline() == "PUT\n" and watch.stdout.readline() == "new\n")
        watch.kill()
        ended(watch)
        other = (KEDGECTL, f"--endpoints={members[2].endpoint}")
        got = json.loads(good("get from another", run(*other, "-w", "json", "get", "new")))["kvs"][0]
        expect("the next revision", got["mod_revision"] == revision + 1, got)
        lease = json.loads(good("leases", run(*other, "-w", "json", "lease", "list")))["leases"]
        expect("the lease is there", len(lease) == 1, lease)
    finally:
        for m in members:
            m.close()


def check_killed(folder, path):
    """Whenever it ends, what has the final name is whole; and the next one works."""
    data, wal = os.path.join(folder, "killed"), os.path.join(folder, "killed-wal")
    arguments = ["snapshot", "restore", path, f"--data-dir={data}"]
    begun = time.monotonic()
    good("a restore to time", kedgeutl(*arguments))
    took, whole, rng = time.monotonic() - begun, status(os.path.join(data, "member/snap/db")), random.Random(5)
    shutil.rmtree(data)
    made = 0
    for i in range(24):
        more = [f"--wal-dir={wal}"] if i % 2 else []
        p = begin(KEDGEUTL, *arguments, *more, stdout=None, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, took * 0.8))
        p.send_signal(signal.SIGKILL)
        p.wait()
        if os.path.exists(data):
            made += 1
        else:
            result = kedgeutl(*arguments, *more)
            expect(f"restore {i} after one that was killed", result[0] == 0, result)
        expect(f"restore {i} is whole", status(os.path.join(data, "member/snap/db"))["hash"] == whole["hash"])
        logs = wal if more else os.path.join(data, "member/wal")
        expect(f"restore {i} has its log", os.listdir(logs) == ["0" * 16 + "-" + "0" * 16 + ".wal"], os.listdir(logs))
        expect(f"restore {i} leaves nothing else", not os.path.exists(data + ".part") and not os.path.exists(wal + ".part"))
        shutil.rmtree(data)
        shutil.rmtree(wal, ignore_errors=True)
    print(f"24 kills, {made} after the restore was done")


def check_stopped_member(member, folder):
    """Tools on the directory of a member that is stopped."""
    store = os.path.join(member.data, "member/snap/db")
    expect("a db in use", "in use by another process" in kedgeutl("snapshot", "restore", store, f"--data-dir={folder}/x")[2])
    expect("defrag in use", kedgeutl("--timeout=200ms", "defrag", f"--data-dir={member.data}")[0] == 2)
    member.stop()
    before, hash_before = status(store), good("hashkv", kedgeutl("hashkv", store))
    good("defrag", kedgeutl("defrag", f"--data-dir={member.data}"))
    after = status(store)
    expect("defrag keeps everything", {**before, "totalSize": 0} == {**after, "totalSize": 0}, (before, after))
    expect("defrag gives space back", after["totalSize"] <= before["totalSize"], (before, after))
    expect("hashkv", good("hashkv", kedgeutl("hashkv", store)) == hash_before)
    good("migrate", kedgeutl("migrate", f"--data-dir={member.data}", "--target-version=3.5"))
    expect("3.5 has no version", status(store)["version"] == "", status(store))
    result = kedgeutl("snapshot", "restore", store, f"--data-dir={folder}/from-db", "--dry-run")
    expect("a dry restore of a db", result[0] == 0 and "a database of kedge" in result[1], result)
    good("a restore of a db", kedgeutl("snapshot", "restore", store, f"--data-dir={folder}/from-db"))
    expect("check", "is whole" in good("check", kedgeutl("check", f"{folder}/from-db")))
    member.start()
    expect("a member of a defragmented store", "one" in good("get", run(KEDGECTL, f"--endpoints={member.endpoint}", "get", "last")))


def check_beside_etcdutl(folder, path):
    if not is_there(ETCDUTL):
        print("etcdutl is not here: not compared")
        return
    cluster = ["--name=m2", "--initial-cluster=m1=http://127.0.0.1:1,m2=http://127.0.0.1:2", "--initial-advertise-peer-urls=http://127.0.0.1:2",
               "--initial-cluster-token=t"]
    for name, more in (("plain", []), ("bumped", ["--bump-revision=77", "--mark-compacted"])):
        ours, theirs = f"{folder}/ours-{name}", f"{folder}/theirs-{name}"
        good("kedgeutl restore", kedgeutl("snapshot", "restore", path, f"--data-dir={ours}", *cluster, *more))
        good("etcdutl restore", run(ETCDUTL, "snapshot", "restore", path, f"--data-dir={theirs}", *cluster, *more))
        mine = status(f"{ours}/member/snap/db")
        other = status(f"{theirs}/member/snap/db", ETCDUTL)
        expect(f"{name}: the same content, members and positions included", {**mine, "totalSize": 0} == {**other, "totalSize": 0}, (mine, other))
        names = [sorted(os.listdir(f"{d}/member/{sub}")) for d in (ours, theirs) for sub in ("wal",)]
        expect(f"{name}: the same log files", names[0] == names[1], names)
        logs = [open(f"{d}/member/wal/{names[0][0]}", "rb").read(4096).rstrip(b"\0") for d in (ours, theirs)]
        # Ours says auto_leave of the configuration too, as raft itself writes it: two bytes in the last record.
        expect(f"{name}: the log up to its checkpoint", logs[0][:300] == logs[1][:300] and logs[0].endswith(b"\x28"), [x.hex() for x in logs])
    copy = f"{folder}/copy.db"
    for revision in ("0", "15", "20", "11", "99999"):
        shutil.copy(path, copy)
        mine, other = kedgeutl("hashkv", path, f"--rev={revision}"), run(ETCDUTL, "hashkv", copy, f"--rev={revision}")
        expect(f"hashkv at {revision}", mine == other, (mine, other))
    for form in ("simple", "fields", "json", "table"):
        mine, other = kedgeutl("-w", form, "snapshot", "status", path), run(ETCDUTL, "-w", form, "snapshot", "status", path)
        expect(f"status as {form}", mine == other, (mine, other))


def main():
    member = Member()
    path = os.path.join(member.folder, "snap.db")
    try:
        member.start()
        make_snapshot(member, path)
        before = sorted(os.listdir(member.folder))
        result = kedgeutl("snapshot", "restore", path, "--dry-run")
        expect("a dry restore", result[0] == 0 and "can be restored" in result[1] and "--bump-revision=auto" in result[1], result)
        expect("it leaves nothing", sorted(os.listdir(member.folder)) == before)
        expect("the old spelling without flags", "snapshot" in good("help", run(KEDGECTL, "snapshot", "restore", path)))
        expect("the old spelling of status", good("status", run(KEDGECTL, "snapshot", "status", path)) == good("status", kedgeutl("snapshot", "status", path)))
        expect("bump without mark", kedgeutl("snapshot", "restore", path, "--bump-revision=5")[0] == 128)
        check_three_members(member.folder, path)
        check_killed(member.folder, path)
        check_beside_etcdutl(member.folder, path)
        check_stopped_member(member, member.folder)
    finally:
        member.close()
    tally.end()


main()
