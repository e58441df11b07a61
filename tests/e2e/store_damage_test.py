#!/usr/bin/python3
"""Damage of the store's file under a server: met while it runs, it ends the member with file and offset in the log and no
wrong answer; found at the start, the start is refused with both, and the file is left as it is."""

import base64
import http.client
import os
import random
import re
import time

import tally
from gateway import b64, post
from member import Member
from tally import expect

ROWS = 400


def value_of(number):
    return f"{number}-" + chr(ord("a") + number % 26) * (100 + number % 200)


def filled():
    """A member whose rows have all reached the store's file, and left memory."""
    member = Member("--backend-batch-interval=10ms").start()
    for number in range(ROWS):
        post(member, "kv/put", {"key": b64(f"row/{number:05}"), "value": b64(value_of(number))})
    last = value_of(ROWS - 1).encode()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with open(store_of(member), "rb") as f:
            if last in f.read():
                break
        time.sleep(0.05)
    time.sleep(1)  # the core hears of the commit, and lets go of its rows
    return member


def store_of(member):
    return os.path.join(member.data, "member", "snap", "db")


def places_of(member, number):
    """All of them: pages that were copied since and not used again still hold the row as well."""
    with open(store_of(member), "rb") as f:
        content = f.read()
    return [found.start() for found in re.finditer(re.escape(value_of(number).encode()), content)]


def overwrite(member, offset, content):
    with open(store_of(member), "r+b") as f:
        f.seek(offset)
        f.write(content)


def ended(member, seconds=10):
    end = time.monotonic() + seconds
    while member.process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    return member.process.poll()


def met_while_running(what, damage, path, body):
    member = filled()
    try:
        damage(member)
        try:
            answer = post(member, path, body)
            expect(what, False, f"answered {str(answer)[:200]}")
        except (OSError, http.client.HTTPException):  # no answer, or one that breaks off
            pass
        status, said = ended(member), member.output()
        expect(f"{what}: ends", status == 1, f"status {status}")
        expect(f"{what}: says where", store_of(member) in said and "offset" in said, said[-500:])
    finally:
        member.close()


def flip_row(member):
    for place in places_of(member, 100):
        overwrite(member, place + 20, b"#")


def cut_file(member):
    os.truncate(store_of(member), 8192)


def while_running():
    one = {"key": b64("row/00100")}
    every = {"key": b64("row/"), "range_end": b64("row0")}
    met_while_running("a damaged row, read by key", flip_row, "kv/range", one)
    met_while_running("a damaged row in a list", flip_row, "kv/range", every)
    met_while_running("a damaged row under a hash", flip_row, "maintenance/hashkv", {})
    met_while_running("a cut file", cut_file, "kv/range", every)


def start_refused_or_sound(member, what):
    """0 = refused as it should be, 1 = started with all rows (the damage was where nobody reads), else a finding."""
    with open(store_of(member), "rb") as f:
        before = f.read()
    try:
        member.start(wait=20)
    except RuntimeError as error:
        said = str(error)
        expect(f"{what}: says where", store_of(member) in said and "offset" in said, said[-500:])
        with open(store_of(member), "rb") as f:
            expect(f"{what}: nothing overwritten", f.read() == before, "the file changed")
        return 0
    answer = post(member, "kv/range", {"key": b64("row/"), "range_end": b64("row0")})
    rows = {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode() for kv in answer["kvs"]}
    expect(f"{what}: served", rows == {f"row/{n:05}": value_of(n) for n in range(ROWS)}, "other rows")
    member.kill()
    return 1


def at_start():
    member = filled()
    chance, counts = random.Random(9), [0, 0]
    try:
        member.stop()
        with open(store_of(member), "rb") as f:
            sound = f.read()
        # Meta pages, heads of pages, anywhere.
        places = [chance.randrange(2) * 4096 + chance.randrange(152) for _ in range(10)]
        places += [chance.randrange(2, len(sound) // 4096) * 4096 + chance.randrange(32) for _ in range(10)]
        places += [chance.randrange(len(sound)) for _ in range(15)]
        for place in places:
            with open(store_of(member), "wb") as f:
                f.write(sound)
            overwrite(member, place, bytes([sound[place] ^ 1 << chance.randrange(8)]))
            counts[start_refused_or_sound(member, f"a flip at {place}")] += 1
        for length in (0, 100, 4096, 8192, len(sound) // 2):
            with open(store_of(member), "wb") as f:
                f.write(sound[:length])
            counts[start_refused_or_sound(member, f"a cut at {length}")] += 1
    finally:
        member.close()
    print(f"damage at start: {counts[0]} refused, {counts[1]} without effect")
    expect("most damage is refused", counts[0] > 15, str(counts))


def main():
    while_running()
    at_start()
    tally.end()


if __name__ == "__main__":
    main()
