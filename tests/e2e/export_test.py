#!/usr/bin/python3
"""kedgeutl export: a member's data folder as etcd's, there whole or not at all. What it made is taken back by kedge here,
and by etcd in tests/interop."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from member import Member

BIN = os.environ.get("KEDGE_BIN", "build")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def command(program, *arguments):
    return [os.path.join(BIN, program), *arguments]


def run(program, *arguments):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    done = subprocess.run(command(program, *arguments), capture_output=True, text=True, timeout=60, env=clean, check=False)
    return done.returncode, done.stdout, done.stderr


def kedgectl(member, *arguments):
    status, out, errors = run("kedgectl", f"--endpoints={member.endpoint}", *arguments)
    check(status == 0, f"{arguments}: {out}{errors}")
    return out


def fill(member):
    """Some megabytes, a lease, a compaction, and a kill, so that the store lacks what the log has."""
    member.start()
    for i in range(60):
        kedgectl(member, "put", f"key{i % 20}", f"{i}" * 30000)
    lease = kedgectl(member, "lease", "grant", "5000").split()[1]
    kedgectl(member, "put", "leased", "x", f"--lease={lease}")
    kedgectl(member, "compact", "30", "--physical")
    kedgectl(member, "put", "last", "x")
    said = kedgectl(member, "endpoint", "hashkv"), kedgectl(member, "lease", "list"), kedgectl(member, "member", "list")
    member.kill()
    return said


def served(member, folder):
    """What kedge serves from a folder in place of the member's own."""
    own = member.data
    member.data = folder
    try:
        member.start()
        return kedgectl(member, "endpoint", "hashkv"), kedgectl(member, "lease", "list"), kedgectl(member, "member", "list")
    finally:
        member.kill()
        member.data = own


def hash_at_revision(said):
    return [part.split(",")[-1] for part in said[:1]] + list(said[1:])


def test_all_of_it_comes_back(member, said, folder):
    out = os.path.join(folder, "out")
    status, text, errors = run("kedgeutl", "export", member.data, out)
    check(status == 0 and text.startswith(f"Exported to {out}: member "), f"{status} {text} {errors}")
    check(os.stat(out).st_mode & 0o777 == 0o700, "others may look into it")
    check(os.listdir(out) == ["member"] and sorted(os.listdir(out + "/member")) == ["snap", "wal"], f"{os.listdir(out)}")
    with open(out + "/member/snap/db", "rb") as f:
        check(f.read(20)[16:] == b"\xed\xda\x0c\xed", "it is no bbolt file")
    back = served(member, out)
    # Not the hash: it depends on whether the compaction was before or after the start.
    check(hash_at_revision(back) == hash_at_revision(said), f"{said}\n{back}")
    check(served(member, member.data) == back, "the folder that was exported is not what it was")


def test_into_an_empty_folder(member, said, folder):
    out = os.path.join(folder, "out")
    os.makedirs(out + "/export.part/member")  # an earlier try
    status, _, errors = run("kedgeutl", "export", member.data + "/", out + "/")
    check(status == 0 and os.listdir(out) == ["member"], f"{errors} {os.listdir(out)}")
    check(hash_at_revision(served(member, out)) == hash_at_revision(said), "not the same")


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
        status, _, errors = run("kedgeutl", "export", *arguments)
        check(status == expected and text in errors, f"{arguments}: {status} {errors}")
        check(sorted(os.listdir(folder)) == ["damaged", "full", "other"], f"{arguments}: {os.listdir(folder)}")
    status, _, errors = run("kedgeutl", "export", other, out, "--wal-dir", member.data + "/member/wal")
    check(status == 0, errors)
    status, _, errors = run("kedgeutl", "export", out, out + "2")
    check(status == 1 and "it is etcd's already" in errors, errors)
    member.start()
    status, _, errors = run("kedgeutl", "--timeout=100ms", "export", member.data, out + "2")
    member.kill()
    check(status == 2 and "is in use: stop the member first" in errors and not os.path.exists(out + "2"), errors)


def test_a_kill_leaves_nothing_under_the_name(member, said, folder):
    chance = random.Random(1)
    for i in range(30):
        out = os.path.join(folder, "out")
        with subprocess.Popen(command("kedgeutl", "export", member.data, out), stdout=subprocess.DEVNULL) as process:
            time.sleep(chance.random() * (0.03 if i % 2 else 0.3))
            process.kill()
        if os.path.exists(out):
            check(os.listdir(out) == ["member"], f"{os.listdir(out)}")
            check(hash_at_revision(served(member, out)) == hash_at_revision(said), "not the same")
            shutil.rmtree(out)
    status, _, errors = run("kedgeutl", "export", member.data, out)
    check(status == 0 and sorted(os.listdir(folder)) == ["out"], f"{errors} {os.listdir(folder)}")
    check(hash_at_revision(served(member, out)) == hash_at_revision(said), "not the same")


TESTS = [test_all_of_it_comes_back, test_into_an_empty_folder, test_refusals_make_nothing,
         test_a_kill_leaves_nothing_under_the_name]


def main():
    passed = failed = 0
    member = Member()
    try:
        said = fill(member)
        for test in TESTS:
            with tempfile.TemporaryDirectory(prefix="kedge-e2e.") as folder:
                try:
                    test(member, said, folder)
                    passed += 1
                except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    failed += 1
                    print(f"FAILED {test.__name__}: {error}")
    finally:
        member.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
