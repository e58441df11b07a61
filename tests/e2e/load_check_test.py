#!/usr/bin/python3
"""kedgectl check perf and check datascale: what they print, that they leave nothing behind, also when they are interrupted, and
that they begin only where none of their keys are."""

import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from member import Member  # noqa: E402

BIN = os.environ.get("KEDGE_BIN", "build")
CTL = os.path.join(BIN, "kedgectl")


class Failure(Exception):
    pass


def ctl(member, *args):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    return subprocess.run([CTL, f"--endpoints={member.endpoint}", *args], capture_output=True, text=True, errors="replace",
                          timeout=120, env=clean)  # fmt: skip


def expect(result, status, pattern):
    if result.returncode != status or not re.fullmatch(pattern, result.stdout + result.stderr, re.S):
        raise Failure(f"expected {status} and {pattern!r}, got {result.returncode} and {result.stdout + result.stderr!r}")


def expect_no_keys(member):
    expect(ctl(member, "get", "", "--prefix", "--keys-only"), 0, "")


def test_datascale_tells_the_memory_and_leaves_nothing(member):
    expect(ctl(member, "check", "datascale", "--auto-compact", "--auto-defrag"), 0,
           r"Start data scale check for work load \[10000 key-value pairs, 1024 bytes per key-value, 50 concurrent clients\]\.\n"
           r"Compacting with revision \d+\nCompacted with revision \d+\n"
           rf'Defragmenting "{member.endpoint}"\nDefragmented "{member.endpoint}"\n'
           r"PASS: Approximate system memory used : -?\d+\.\d\d MB\.\n10000 / 10000 \[-+\] 100\.00% \d+ p/s\n")  # fmt: skip
    expect_no_keys(member)


def test_an_interrupted_perf_judges_what_it_has_and_leaves_nothing(member):
    process = subprocess.Popen([CTL, f"--endpoints={member.endpoint}", "check", "perf", "--load=small"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    end = time.monotonic() + 30
    while ctl(member, "get", "/etcdctl-check-perf/", "--prefix", "--limit=1", "--keys-only").stdout == "":
        if time.monotonic() > end:
            raise Failure("no key is written")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    verdict = "PASS" if process.returncode == 0 else "FAIL"
    if not re.search(rf"writes/s\n.*equest took.*tddev .*\n{verdict}\n$", out, re.S) or " / 60 [" not in errors:
        raise Failure(f"{process.returncode} {out!r} {errors!r}")
    expect_no_keys(member)


def test_keys_that_are_there_stay(member):
    for name, quote in (("perf", "'"), ("datascale", "")):
        prefix = f"/etcdctl-check-{name}/"
        ctl(member, "put", prefix + "mine", "x")
        text = f'Error: prefix "{prefix}" has keys. Delete with {quote}kedgectl del --prefix {prefix}{quote} first\n'
        expect(ctl(member, "check", name), 3, re.escape(text))
        expect(ctl(member, "del", prefix + "mine"), 0, "1\n")


def test_a_load_that_is_not_known_is_refused(member):
    for name in ("perf", "datascale"):
        expect(ctl(member, "check", name, "--load=zz"), 4, "Error: unknown load option zz\n")


def main():
    tests = [value for name, value in list(globals().items()) if name.startswith("test_")]
    passed = failed = 0
    member = Member()
    try:
        member.start()
        for test in tests:
            try:
                test(member)
                passed += 1
            except (Failure, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED {test.__name__}: {error}")
    finally:
        member.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
