#!/usr/bin/python3
"""A backups' target that hangs: the member serves on, says so, ends when it is told to; and the backup goes on when the target
does. HANG_S: how long it hangs; after 30 s the backup is given up."""

import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tally
from member import Member
from programs import KEDGECTL, begin, ended, kedgectl
from tally import expect, wait

LIBRARY = sys.argv[1]
HANG_S = float(os.environ.get("HANG_S", "3"))


def status(member):
    code, out, errors = kedgectl("backup", "status", "-w", "json", endpoints=member.endpoint)
    return json.loads(out)[0]["Status"] if code == 0 else {"last_error": errors}


with tempfile.TemporaryDirectory(prefix="kedge-hang.") as folder:
    target, hang = os.path.join(folder, "target"), os.path.join(folder, "hang")
    os.mkdir(target)
    member = Member(f"--backup-dir={target}")
    member.environment = {"LD_PRELOAD": LIBRARY, "HANG_FOLDER": target, "HANG_FILE": hang}
    try:
        member.start()
        for i in range(20):
            kedgectl("put", f"k{i}", "v" * 100000, endpoints=member.endpoint)
        open(hang, "w").close()
        now = begin(KEDGECTL, f"--endpoints={member.endpoint}", "backup", "now")
        wait("it is at it", lambda: status(member).get("running"))
        begun, slowest, puts = time.monotonic(), 0, 0
        while time.monotonic() - begun < HANG_S:
            at = time.monotonic()
            code, _, errors = kedgectl("put", "during", str(puts), endpoints=member.endpoint)
            slowest, puts = max(slowest, time.monotonic() - at), puts + 1
            if code != 0:
                expect("puts go on", False, errors)
            time.sleep(0.02)
        expect("puts go on", puts > 10 and slowest < 2, f"{puts} puts, the slowest took {slowest:.1f} s")
        expect("questions about the target are answered", kedgectl("backup", "list", endpoints=member.endpoint)[0] == 0)
        if HANG_S > 32:
            wait("it says that the target hangs", lambda: status(member).get("hanging"))
            expect("that is a failure", status(member).get("failures") == 1, status(member))
            code, _, errors = kedgectl("backup", "now", endpoints=member.endpoint)
            expect("another one is refused", code == 1 and "hangs" in errors, errors)
            os.unlink(hang)
            expect("who waited is told", now.wait(10) == 1 and "target" in now.stderr.read())
            wait("it recovers", lambda: not status(member).get("hanging"))
            code, out, errors = kedgectl("backup", "now", endpoints=member.endpoint)
            expect("and takes backups again", code == 0, errors)
        else:
            os.unlink(hang)
            expect("it goes on when the target does", now.wait(30) == 0, now.stderr.read())
        files = sorted(os.listdir(target))
        expect("one backup with its note", len(files) == 2 and not files[0].startswith("."), files)
        open(hang, "w").close()
        last = begin(KEDGECTL, f"--endpoints={member.endpoint}", "backup", "now")
        wait("another one is under way", lambda: status(member).get("running"))
        at = time.monotonic()
        member.stop()
        expect("the member ends all the same", time.monotonic() - at < 15, f"after {time.monotonic() - at:.1f} s")
        ended(last, 10)
        expect("no backup was made of it", sorted(f for f in os.listdir(target) if not f.startswith(".")) == files,
               os.listdir(target))
    finally:
        if os.path.exists(hang):
            os.unlink(hang)
        member.close()
tally.end()
