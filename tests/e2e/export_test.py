#!/usr/bin/python3
"""kedgeutl export: a member's data folder as etcd's, there whole or not at all. What it made is taken back by kedge here,
and by etcd in tests/interop."""

import os
import random
import shutil
import subprocess
import tempfile
import time

import tally
from member import Member
from programs import KEDGEUTL, begin, kedgeutl, said
from tally import check


def fill(member):
    """Some megabytes, a lease, a compaction, and a kill, so that the store lacks what the log has."""
    member.start()
    for i in range(60):
        said(member, "put", f"key{i % 20}", f"{i}" * 30000)
    lease = said(member, "lease", "grant", "5000").split()[1]
    said(member, "put", "leased", "x", f"--lease={lease}")
    said(member, "compact", "30", "--physical")
    said(member, "put", "last", "x")
    answers = said(member, "endpoint", "hashkv"), said(member, "lease", "list"), said(member, "member", "list")
    member.kill()
    return answers


def served(member, folder):
    """What kedge serves from a folder in place of the member's own."""
    own = member.data
    member.data = folder
    try:
        member.start()
        return said(member, "endpoint", "hashkv"), said(member, "lease", "list"), said(member, "member", "list")
    finally:
        member.kill()
        member.data = own


def hash_at_revision(answers):
    return [part.split(",")[-1] for part in answers[:1]] + list(answers[1:])


def test_all_of_it_comes_back(member, answers, folder):
    out = os.path.join(folder, "out")
    status, text, errors = kedgeutl("export", member.data, out)
    check(status == 0 and text.startswith(f"Exported to {out}: member "), f"{status} {text} {errors}")
    check(os.stat(out).st_mode & 0o777 == 0o700, "others may look into it")
    check(os.listdir(out) == ["member"] and sorted(os.listdir(out + "/member")) == ["snap", "wal"], f"{os.listdir(out)}")
    with open(out + "/member/snap/db", "rb") as f:
        check(f.read(20)[16:] == b"\xed\xda\x0c\xed", "it is no bbolt file")
    back = served(member, out)
    # Not the hash: it depends on whether the compaction was before or after the start.
    check(hash_at_revision(back) == hash_at_revision(answers), f"{answers}\n{back}")
    check(served(member, member.data) == back, "the folder that was exported is not what it was")


def test_into_an_empty_folder(member, answers, folder):
    out = os.path.join(folder, "out")
    os.makedirs(out + "/export.part/member")  # an earlier try
    status, _, errors = kedgeutl("export", member.data + "/", out + "/")
    check(status == 0 and os.listdir(out) == ["member"], f"{errors} {os.listdir(out)}")
    check(hash_at_revision(served(member, out)) == hash_at_revision(answers), "not the same")


def test_refusals_make_nothing(member, _, folder):
    full, out, other = (os.path.join(folder, n) for n in ("full", "out", "other"))
    os.mkdir(full)
    open(os.path.join(full, "x"), "w", encoding="ascii").close()
    shutil.copytree(member.data, other)
    shutil.rmtree(other + "/member/wal")
    damaged = os.path.join(folder, "damaged")
    shutil.copytree(member.data, damaged)
    with open(damaged + "/member/snap/db", "r+b") as f:
        content = f.read()
        f.seek(0)
        f.write(content.replace(b"1" * 500, b"1" * 499 + b"7"))
    for arguments, expected, text in [
        ([member.data, full], 1, f'data-dir "{full}" not empty or could not be read'),
        ([member.data + "/nosuch", out], 1, "no such file"),
        ([other, out], 1, "there is no write-ahead log"),
        ([damaged, out], 1, "offset"),
        ([member.data, folder + "/no/such/out"], 1, "cannot create"),
        ([member.data], 128, "export command needs"),
    ]:
        status, _, errors = kedgeutl("export", *arguments)
        check(status == expected and text in errors, f"{arguments}: {status} {errors}")
        check(sorted(os.listdir(folder)) == ["damaged", "full", "other"], f"{arguments}: {os.listdir(folder)}")
    status, _, errors = kedgeutl("export", other, out, "--wal-dir", member.data + "/member/wal")
    check(status == 0, errors)
    status, _, errors = kedgeutl("export", out, out + "2")
    check(status == 1 and "it is etcd's already" in errors, errors)
    member.start()
    status, _, errors = kedgeutl("--timeout=100ms", "export", member.data, out + "2")
    member.kill()
    check(status == 2 and "is in use: stop the member first" in errors and not os.path.exists(out + "2"), errors)


def test_a_kill_leaves_nothing_under_the_name(member, answers, folder):
    chance = random.Random(1)
    for i in range(30):
        out = os.path.join(folder, "out")
        with begin(KEDGEUTL, "export", member.data, out, stdout=subprocess.DEVNULL) as process:
            time.sleep(chance.random() * (0.03 if i % 2 else 0.3))
            process.kill()
        if os.path.exists(out):
            check(os.listdir(out) == ["member"], f"{os.listdir(out)}")
            check(hash_at_revision(served(member, out)) == hash_at_revision(answers), "not the same")
            shutil.rmtree(out)
    status, _, errors = kedgeutl("export", member.data, out)
    check(status == 0 and sorted(os.listdir(folder)) == ["out"], f"{errors} {os.listdir(folder)}")
    check(hash_at_revision(served(member, out)) == hash_at_revision(answers), "not the same")


def main():
    member = Member()
    try:
        answers = fill(member)
        for test in tally.scenarios(globals()):
            with tempfile.TemporaryDirectory(prefix="kedge-e2e.") as folder:
                tally.scenario(test, member, answers, folder)
    finally:
        member.close()
    tally.end()


main()
