#!/usr/bin/python3
"""SIGKILL during scheduled backups: nothing half-made under a final name, and the next one works."""

import json
import os
import random
import tempfile
import time

import tally
from backup import NAME, backups, check_file, metric, put_some
from member import Member
from programs import has_failpoints, kedgeutl
from tally import expect, until, wait

KILLS = int(os.environ.get("BACKUP_KILLS", "6"))
STEPS = ("backupWrite", "backupBeforeVerify", "backupBeforeCommit", "backupTwoNames", "backupBeforeNote", "backupBeforeRetain",
         "backupHalfRemoved")


def check_all(target):
    for note in backups(target):
        run = kedgeutl("snapshot", "status", os.path.join(target, note["name"]), "-w", "json")
        expect("whole under its name", run.status == 0 and json.loads(run.out)["hash"] == note["hash"], run.errors)
    for f in os.listdir(target):
        expect("names", f.startswith(".") or f.endswith(".json") or NAME.match(f), f)
        if NAME.match(f):
            run = kedgeutl("snapshot", "status", os.path.join(target, f))
            expect("whole, with a note or without", run.status == 0, run.errors)


def stepped(folder):
    """It ends at each step of a backup, in a build with failpoints."""
    target = os.path.join(folder, "stepped")
    os.mkdir(target)
    member = Member(f"--backup-dir={target}", "--backup-schedule=1s", "--backup-keep=2")
    try:
        if not has_failpoints():
            tally.skip("each step of a backup: a build without failpoints")
            return
        member.start()
        wait("backups come", lambda: metric(member, "kedge_backup_successes_total") >= 3)
        for step in STEPS:
            member.stop()
            member.environment = {"KEDGE_FAILPOINTS": f"{step}=exit"}
            before = backups(target)[-1]
            member.begin()
            wait(f"it ends at {step}", lambda: not member.running())
            check_all(target)
            expect("the last good one is there", before["name"] in os.listdir(target) or len(backups(target)) > 1, step)
            member.environment = {}
            member.start()
            wait(f"the next one works after {step}", lambda: metric(member, "kedge_backup_successes_total") >= 2)
            check_all(target)
        member.stop()
        expect("leftovers are gone", not [f for f in os.listdir(target) if f.endswith(".part")], os.listdir(target))
    finally:
        member.close()


def killed(folder):
    """SIGKILL at a random moment of a backup, again and again."""
    target = os.path.join(folder, "killed")
    os.mkdir(target)
    member = Member(f"--backup-dir={target}", "--backup-schedule=1s", "--backup-keep=4")
    try:
        member.start()
        put_some(member)
        for _ in range(KILLS):
            until(lambda: metric(member, "kedge_backup_running") != 0, 5, 0.005)
            time.sleep(random.random() * 0.3)
            member.kill()
            check_all(target)
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
    stepped(place)
tally.end()
