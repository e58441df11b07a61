#!/usr/bin/python3
"""SIGKILL during scheduled backups: nothing half-made under a final name, and the next one works."""

import json
import os
import random
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import backup
from backup import NAME, backups, check_file, expect, kedgeutl, metric, put_some, wait
from member import Member


KILLS = int(os.environ.get("BACKUP_KILLS", "6"))


def killed(folder):
    """SIGKILL at a random moment of a backup, again and again."""
    target = os.path.join(folder, "killed")
    os.mkdir(target)
    member = Member(f"--backup-dir={target}", "--backup-schedule=1s", "--backup-keep=4")
    begun = 0
    try:
        member.start()
        put_some(member)
        for _ in range(KILLS):
            end = time.monotonic() + 5
            while time.monotonic() < end and metric(member, "kedge_backup_running") == 0:
                time.sleep(0.005)
            time.sleep(random.random() * 0.3)
            member.kill()
            files = os.listdir(target)
            begun += any(f.endswith(".part") for f in files)
            for note in backups(target):
                run = kedgeutl("snapshot", "status", os.path.join(target, note["name"]), "-w", "json")
                expect("whole under its name", run.returncode == 0 and json.loads(run.stdout)["hash"] == note["hash"],
                       run.stderr)
            for f in files:
                expect("names", f.startswith(".") or f.endswith(".json") or NAME.match(f), f)
            member.start()
        done = metric(member, "kedge_backup_successes_total")
        wait("the next one works", lambda: metric(member, "kedge_backup_successes_total") >= done + 2)
        member.stop()
        expect("leftovers are gone", not [f for f in os.listdir(target) if f.endswith(".part")], os.listdir(target))
        check_file(target, backups(target)[-1])
    finally:
        member.close()


with tempfile.TemporaryDirectory(prefix="kedge-backup.") as place:
    killed(place)
backup.end()
