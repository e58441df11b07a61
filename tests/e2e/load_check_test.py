#!/usr/bin/python3
"""kedgectl check perf and check datascale: what they print, that they leave nothing behind, also when they are interrupted, and
that they begin only where none of their keys are."""

import re
import signal

import tally
from member import on_one_member
from programs import KEDGECTL, begin, ended, kedgectl
from tally import check, wait_for


def ctl(member, *arguments):
    return kedgectl(*arguments, endpoints=member.endpoint, timeout=120, errors="replace")


def expect(result, status, pattern):
    good = result.status == status and re.fullmatch(pattern, result.out + result.errors, re.S)
    check(good, f"expected {status} and {pattern!r}, got {result}")


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
    process = begin(KEDGECTL, f"--endpoints={member.endpoint}", "check", "perf", "--load=small")
    wait_for("a key", lambda: ctl(member, "get", "/etcdctl-check-perf/", "--prefix", "--limit=1", "--keys-only").out)
    process.send_signal(signal.SIGINT)
    status, out, errors = ended(process, 30)
    verdict = "PASS" if status == 0 else "FAIL"
    good = re.search(rf"writes/s\n.*equest took.*tddev .*\n{verdict}\n$", out, re.S) and " / 60 [" in errors
    check(good, f"{status} {out!r} {errors!r}")
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


on_one_member(tally.scenarios(globals()))
