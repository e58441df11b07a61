#!/usr/bin/python3
"""Defragment: the file gets smaller while clients read and write, a store at its quota is written to again afterwards, and
a SIGKILL at any moment of it leaves a store with the same content."""

import json
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from member import Member  # noqa: E402

CTL = os.path.join(os.environ.get("KEDGE_BIN", "build"), "kedgectl")
VALUE = "v" * 20000
KEYS = 400


class Failure(Exception):
    pass


def ctl(member, *args, check=True):
    result = subprocess.run([CTL, f"--endpoints={member.endpoint}", "--command-timeout=30s", *args], capture_output=True,
                            timeout=60, env={k: v for k, v in os.environ.items() if not k.startswith("ETCD")})  # fmt: skip
    if check and result.returncode != 0:
        raise Failure(f"{' '.join(args)[:200]}: {result.returncode} {result.stderr.decode()[:500]}")
    return result


def status(member):
    return json.loads(ctl(member, "endpoint", "status", "-w", "json").stdout)[0]["Status"]


def hash_at(member, revision):
    answer = json.loads(ctl(member, "endpoint", "hashkv", "--rev", str(revision), "-w", "json").stdout)
    return answer[0]["HashKV"]["hash"]


def fill(member, keys=KEYS, value=VALUE):
    """Puts of many keys in few transactions. The last one's exit status."""
    result = None
    for first in range(0, keys, 40):
        lines = "".join(f"put k{n:05} {value}\n" for n in range(first, min(first + 40, keys)))
        result = subprocess.run([CTL, f"--endpoints={member.endpoint}", "txn"], input=f"\n{lines}\n\n".encode(),
                                capture_output=True, timeout=60)  # fmt: skip
        if result.returncode != 0:
            break
    return result


def compact(member):
    revision = status(member)["header"]["revision"]
    ctl(member, "compaction", "--physical", str(revision))
    return revision


def test_the_file_gets_smaller_while_clients_read_and_write(member):
    fill(member)
    ctl(member, "put", "stays", "here")
    ctl(member, "del", "k", "--prefix", "--range")
    compact(member)  # the hash at the very revision of a compaction is another one after a restart, with etcd too
    ctl(member, "put", "behind", "it")
    before = status(member)
    revision = before["header"]["revision"]
    content = hash_at(member, revision)
    over, faults = threading.Event(), []

    def work(n):
        count = 0
        try:
            while not over.is_set():
                count += 1
                ctl(member, "put", f"w{n}", str(count))
                got = ctl(member, "get", f"w{n}", "--print-value-only").stdout.decode().strip()
                if got != str(count):
                    raise Failure(f"read {got} after {count} was written")
        except Exception as error:  # noqa: BLE001
            faults.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        ctl(member, "defrag")
    over.set()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    after = status(member)
    if int(after["dbSize"]) * 4 > int(before["dbSize"]):
        raise Failure(f"{before['dbSize']} bytes before, {after['dbSize']} after")
    if os.path.getsize(os.path.join(member.data, "member/snap/db")) > int(before["dbSize"]) // 4:
        raise Failure("the file is as large as it was")
    if hash_at(member, revision) != content:
        raise Failure("the history's hash has changed")
    member.stop()
    member.start()
    again, stays = hash_at(member, revision), ctl(member, "get", "stays", "--print-value-only").stdout
    if again != content or stays.strip() != b"here":
        raise Failure(f"after a restart: hash {again}, was {content}; {stays}")


def test_a_store_at_its_quota_is_written_to_again(member):
    refused = fill(member, keys=2000)
    if refused.returncode == 0 or b"database space exceeded" not in refused.stderr:
        raise Failure(f"the quota was not reached: {refused.stderr[:300]}")
    ctl(member, "del", "k", "--prefix", "--range")
    compact(member)
    ctl(member, "defrag")
    ctl(member, "alarm", "disarm")
    ctl(member, "put", "a", "b")
    again = fill(member, keys=100)
    if again.returncode != 0:
        raise Failure(f"still no room: {again.stderr[:300]}, {status(member)}")


def test_a_kill_at_any_moment_leaves_the_store_as_it_was(member):
    fill(member)
    ctl(member, "del", "k001", "k003")
    compact(member)
    for attempt in range(4):
        fill(member, keys=120)
        ctl(member, "del", "k00000", "k00100")
        ctl(member, "put", "behind", "it")
        last = status(member)["header"]["revision"]
        ctl(member, "compaction", str(last - 1))
        content = hash_at(member, last)
        asked = subprocess.Popen([CTL, f"--endpoints={member.endpoint}", "defrag"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(random.uniform(0, 0.12))
        member.kill()
        asked.wait(30)
        member.start()
        if hash_at(member, last) != content:
            raise Failure(f"attempt {attempt}: the history's hash has changed")
        left = [name for name in os.listdir(os.path.join(member.data, "member/snap")) if "tmp" in name]
        if left:
            raise Failure(f"attempt {attempt}: {left} are left")


def test_a_crash_at_each_step_leaves_the_store_as_it_was(member):
    """etcd#14685: the revision and the hash are those of before, whatever was applied meanwhile."""
    with open(member.program, "rb") as f:
        if b"failpoint panic" not in f.read():
            return
    for step in ("defragBeforeCopy", "defragBeforeRename", "defragAfterRename"):
        member.stop()
        member.environment = {"KEDGE_FAILPOINTS": f"{step}=exit"}
        member.start()
        fill(member, keys=120)
        ctl(member, "del", "k00000", "k00100")
        ctl(member, "put", "behind", "it")
        last = status(member)["header"]["revision"]
        ctl(member, "compaction", "--physical", str(last - 1))
        content = hash_at(member, last)
        writer = subprocess.Popen([CTL, f"--endpoints={member.endpoint}", "put", "meanwhile", step],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        ctl(member, "defrag", check=False)
        writer.kill()
        writer.wait()
        member.process.wait(30)  # of the crash
        member.environment = {}
        member.start()
        if hash_at(member, last) != content or status(member)["header"]["revision"] < last:
            raise Failure(f"{step}: another content")


TESTS = [
    (test_the_file_gets_smaller_while_clients_read_and_write, []),
    (test_a_store_at_its_quota_is_written_to_again, ["--quota-backend-bytes=16777216"]),
    (test_a_kill_at_any_moment_leaves_the_store_as_it_was, []),
    (test_a_crash_at_each_step_leaves_the_store_as_it_was, []),
]


def main():
    failed = 0
    for test, flags in TESTS:
        member = Member(*flags)
        try:
            test(member.start())
        except Exception as error:  # noqa: BLE001
            failed += 1
            print(f"{test.__name__}: {error}\n{member.output()}")
        finally:
            member.close()
    print(f"defrag: {len(TESTS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
