#!/usr/bin/python3
"""kedgectl make-mirror between two servers, kedge and (where it has been built) etcd on either side: the keys that are there, in
pages; what changes later, in the source's order; prefixes; a source and a destination that are gone for a while."""

import base64
import json

import tally
from member import Member
from programs import ETCD, KEDGECTL, begin, ended, is_there, kedgectl, said
from tally import check, check_equal, wait_for


def content(member, prefix=""):
    answer = json.loads(said(member, "get", prefix, "--prefix", "-w", "json"))
    return {base64.b64decode(kv["key"]): base64.b64decode(kv.get("value", "")) for kv in answer.get("kvs", [])}


def revision(member):
    return json.loads(said(member, "get", "x", "-w", "json"))["header"]["revision"]


def put_many(member, prefix, count, size):
    """Puts of a hundred keys at a time."""
    for start in range(0, count, 100):
        lines = [f'put "{prefix}{i:05}" "{"v" * size}{i}"' for i in range(start, min(count, start + 100))]
        said(member, "txn", stdin="\n" + "\n".join(lines) + "\n\n\n")


class Mirror:
    """A make-mirror that goes on."""

    def __init__(self, source, destination, *flags):
        self.process = begin(KEDGECTL, f"--endpoints={source.endpoint}", "make-mirror", *flags, destination.endpoint)

    def failed(self, seconds=20):
        """Its standard error and status, once it has ended by itself."""
        status, _, errors = ended(self.process, seconds)
        return errors, status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def test_keys_and_changes_arrive(source, destination):
    put_many(source, "all/", 2500, 10)
    said(source, "put", "all/big", stdin="b" * 1_400_000)
    said(source, "put", "all/empty", "")
    with Mirror(source, destination):
        wait_for("the copy", lambda: content(destination) == content(source))
        said(source, "del", "all/000", "--prefix")
        put_many(source, "later/", 300, 1000)
        said(source, "txn", stdin='\nput all/a 1\ndel all/00200\nput all/b 2\n\n\n')
        wait_for("the changes", lambda: content(destination) == content(source))
    said(source, "del", "", "--prefix")
    said(destination, "del", "", "--prefix")


def test_prefixes_are_replaced(source, destination):
    said(source, "put", "p/a/p/", "1")
    said(source, "put", "q/a", "1")
    cases = [
        ([], {b"p/a/p/": b"1"}),
        (["--no-dest-prefix"], {b"a/p/": b"1"}),
        (["--dest-prefix=other/"], {b"other/a/p/": b"1"}),
    ]
    for flags, expected in cases:
        with Mirror(source, destination, "--prefix=p/", *flags):
            wait_for(f"{flags}", lambda: content(destination) == expected)
            said(source, "put", "p/b", "2")
            new = {next(iter(expected)).replace(b"a/p/", b"b"): b"2"}
            wait_for(f"a change with {flags}", lambda: content(destination) == expected | new)
        said(source, "del", "p/b")
        said(destination, "del", "", "--prefix")
    with Mirror(source, destination, "--dest-prefix=all/"):
        wait_for("a prefix for all keys", lambda: content(destination) == {b"all/p/a/p/": b"1", b"all/q/a": b"1"})
    said(source, "del", "", "--prefix")
    said(destination, "del", "", "--prefix")


def test_a_given_revision_copies_only_what_came_then(source, destination):
    said(source, "put", "r/old", "1")
    first = revision(source) + 1
    said(source, "put", "r/new", "1")
    with Mirror(source, destination, "--prefix=r/", f"--rev={first}"):
        wait_for("the change", lambda: content(destination) == {b"r/new": b"1"})
    said(source, "put", "r/newer", "1")
    said(source, "compaction", str(revision(source)))
    with Mirror(source, destination, "--prefix=r/", f"--rev={first}") as mirror:
        compacted = ("Error: etcdserver: mvcc: required revision has been compacted\n", 1)
        check_equal("a compacted revision", mirror.failed(), compacted)
    said(source, "del", "", "--prefix")
    said(destination, "del", "", "--prefix")


def test_large_changes_come_in_pieces(source, destination):
    put_many(source, "t/", 300, 5)
    with Mirror(source, destination, "--max-txn-ops=7"):
        wait_for("the copy", lambda: content(destination) == content(source))
        before = revision(destination)
        said(source, "del", "t/", "--prefix")
        wait_for("the deletions", lambda: content(destination) == {})
        check_equal("transactions", revision(destination) - before, 43)  # 300 / 7


def test_it_goes_on_after_a_restart_of_either_side(source, destination):
    with Mirror(source, destination):
        said(source, "put", "g/0", "0")
        wait_for("the first", lambda: content(destination) == content(source))
        for place, member in enumerate((source, destination)):
            member.kill()
            member.start()
            put_many(source, f"g/{place}/", 50, 5)
            wait_for(f"changes after restart {place}", lambda: content(destination) == content(source))
    said(source, "del", "", "--prefix")
    said(destination, "del", "", "--prefix")


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
        result = kedgectl(*args, endpoints=source.endpoint, timeout=20)
        check(result.status == status and text in result.errors, f"{args}: expected {status} {text!r}, got {result}")


def run_between(name, source, destination, tests):
    try:
        source.start()
        destination.start()
        for test in tests:
            tally.scenario(test, source, destination, name=f"{test.__name__} {name}")
    finally:
        source.close()
        destination.close()


def main():
    tests = tally.scenarios(globals())
    run_between("from kedge to kedge", Member(), Member(), tests)
    for name, programs in [("from etcd to kedge", (ETCD, None)), ("from kedge to etcd", (None, ETCD))]:
        if is_there(ETCD):
            run_between(name, *(Member(program=program) for program in programs), tests[:3])
        else:
            tally.skip(f"{name}: no etcd in build/interop/bin", 3)
    tally.end()


main()
