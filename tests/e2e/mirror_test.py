#!/usr/bin/python3
"""kedgectl make-mirror between two servers, kedge and (where it has been built) etcd on either side: the keys that are there, in
pages; what changes later, in the source's order; prefixes; a source and a destination that are gone for a while."""

import base64
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from member import Member  # noqa: E402

BIN = os.environ.get("KEDGE_BIN", "build")
CTL = os.path.join(BIN, "kedgectl")
ETCD = os.environ.get("ETCD", "build/interop/bin/etcd")


class Failure(Exception):
    pass


def run(member, *args, text=b"", status=0):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    command = [CTL, f"--endpoints={member.endpoint}", *args]
    done = subprocess.run(command, input=text, capture_output=True, timeout=60, env=clean)
    if done.returncode != status:
        raise Failure(f"{args[:3]}: expected status {status}, got {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def content(member, prefix=""):
    answer = json.loads(run(member, "get", prefix, "--prefix", "-w", "json"))
    return {base64.b64decode(kv["key"]): base64.b64decode(kv.get("value", "")) for kv in answer.get("kvs", [])}


def revision(member):
    return json.loads(run(member, "get", "x", "-w", "json"))["header"]["revision"]


def put_many(member, prefix, count, size):
    """Puts of a hundred keys at a time."""
    for start in range(0, count, 100):
        lines = [f'put "{prefix}{i:05}" "{"v" * size}{i}"' for i in range(start, min(count, start + 100))]
        run(member, "txn", text=("\n" + "\n".join(lines) + "\n\n\n").encode())


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Mirror:
    """A make-mirror that goes on."""

    def __init__(self, source, destination, *flags):
        command = [CTL, f"--endpoints={source.endpoint}", "make-mirror", *flags, destination.endpoint]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def failed(self, seconds=20):
        """Its standard error and status, once it has ended by itself."""
        _, errors = self.process.communicate(timeout=seconds)
        return errors.decode(), self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def test_keys_and_changes_arrive(source, destination):
    put_many(source, "all/", 2500, 10)
    run(source, "put", "all/big", text=b"b" * 1_400_000)
    run(source, "put", "all/empty", "")
    with Mirror(source, destination):
        wait_for("the copy", lambda: content(destination) == content(source))
        run(source, "del", "all/000", "--prefix")
        put_many(source, "later/", 300, 1000)
        run(source, "txn", text=b'\nput all/a 1\ndel all/00200\nput all/b 2\n\n\n')
        wait_for("the changes", lambda: content(destination) == content(source))
    run(source, "del", "", "--prefix")
    run(destination, "del", "", "--prefix")


def test_prefixes_are_replaced(source, destination):
    run(source, "put", "p/a/p/", "1")
    run(source, "put", "q/a", "1")
    cases = [
        ([], {b"p/a/p/": b"1"}),
        (["--no-dest-prefix"], {b"a/p/": b"1"}),
        (["--dest-prefix=other/"], {b"other/a/p/": b"1"}),
    ]
    for flags, expected in cases:
        with Mirror(source, destination, "--prefix=p/", *flags):
            wait_for(f"{flags}", lambda: content(destination) == expected)
            run(source, "put", "p/b", "2")
            new = {next(iter(expected)).replace(b"a/p/", b"b"): b"2"}
            wait_for(f"a change with {flags}", lambda: content(destination) == expected | new)
        run(source, "del", "p/b")
        run(destination, "del", "", "--prefix")
    with Mirror(source, destination, "--dest-prefix=all/"):
        wait_for("a prefix for all keys", lambda: content(destination) == {b"all/p/a/p/": b"1", b"all/q/a": b"1"})
    run(source, "del", "", "--prefix")
    run(destination, "del", "", "--prefix")


def test_a_given_revision_copies_only_what_came_then(source, destination):
    run(source, "put", "r/old", "1")
    first = revision(source) + 1
    run(source, "put", "r/new", "1")
    with Mirror(source, destination, "--prefix=r/", f"--rev={first}"):
        wait_for("the change", lambda: content(destination) == {b"r/new": b"1"})
    run(source, "put", "r/newer", "1")
    run(source, "compaction", str(revision(source)))
    with Mirror(source, destination, "--prefix=r/", f"--rev={first}") as mirror:
        said = mirror.failed()
        if said != ("Error: etcdserver: mvcc: required revision has been compacted\n", 1):
            raise Failure(f"a compacted revision: {said}")
    run(source, "del", "", "--prefix")
    run(destination, "del", "", "--prefix")


def test_large_changes_come_in_pieces(source, destination):
    put_many(source, "t/", 300, 5)
    with Mirror(source, destination, "--max-txn-ops=7"):
        wait_for("the copy", lambda: content(destination) == content(source))
        before = revision(destination)
        run(source, "del", "t/", "--prefix")
        wait_for("the deletions", lambda: content(destination) == {})
        if revision(destination) - before != 43:  # 300 / 7
            raise Failure(f"{revision(destination) - before} transactions")


def test_it_goes_on_after_a_restart_of_either_side(source, destination):
    with Mirror(source, destination):
        run(source, "put", "g/0", "0")
        wait_for("the first", lambda: content(destination) == content(source))
        for place, member in enumerate((source, destination)):
            member.kill()
            member.start()
            put_many(source, f"g/{place}/", 50, 5)
            wait_for(f"changes after restart {place}", lambda: content(destination) == content(source))
    run(source, "del", "", "--prefix")
    run(destination, "del", "", "--prefix")


def test_what_cannot_be_is_refused(source, destination):
    cases = [
        (["make-mirror"], 128, "make-mirror takes one destination argument"),
        (["make-mirror", "a:1", "b:1"], 128, "make-mirror takes one destination argument"),
        (["make-mirror", "a:1", "--dest-prefix=a", "--no-dest-prefix"], 128,
         "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one"),
        (["make-mirror", "a:1", "--dest-user=root"], 4, "--dest-user: not supported by kedge yet"),
        (["make-mirror", "https://a:1"], 4, "TLS is not supported by kedge yet"),
        (["make-mirror", destination.endpoint, "--max-txn-ops=-1"], 1, 'parsing "-1": invalid syntax'),
    ]  # fmt: skip
    for args, status, text in cases:
        done = subprocess.run([CTL, f"--endpoints={source.endpoint}", *args], capture_output=True, timeout=20)
        if done.returncode != status or text not in done.stderr.decode():
            raise Failure(f"{args}: expected {status} {text!r}, got {done.returncode} {done.stderr.decode()!r}")


TESTS = [
    test_keys_and_changes_arrive,
    test_prefixes_are_replaced,
    test_a_given_revision_copies_only_what_came_then,
    test_large_changes_come_in_pieces,
    test_it_goes_on_after_a_restart_of_either_side,
    test_what_cannot_be_is_refused,
]


def run_between(name, source, destination, tests):
    passed = failed = 0
    try:
        source.start()
        destination.start()
        for test in tests:
            try:
                test(source, destination)
                passed += 1
            except Exception as error:  # whatever it is, the next test still tells something
                failed += 1
                print(f"FAILED {test.__name__} {name}: {error!r}")
    finally:
        source.close()
        destination.close()
    return passed, failed


def main():
    total = run_between("from kedge to kedge", Member(), Member(), TESTS)
    skipped = 0
    for name, programs in [("from etcd to kedge", (ETCD, None)), ("from kedge to etcd", (None, ETCD))]:
        if not os.access(ETCD, os.X_OK):
            skipped += 3
            continue
        source, destination = (Member(program=program) for program in programs)
        found = run_between(name, source, destination, TESTS[:3])
        total = tuple(a + b for a, b in zip(total, found))
    print(f"{total[0]} passed, {total[1]} failed" + (f", {skipped} skipped: no etcd in build/interop/bin" if skipped else ""))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main())
