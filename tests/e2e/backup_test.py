#!/usr/bin/python3
"""Backups by one member: on a schedule and when asked, verified, pruned; a missing or full target is told and harms nobody."""

import json
import os
import subprocess
import tempfile

import tally
from backup import backups, check_file, metric, put_some
from member import Member
from programs import KEDGE, kedgectl, run
from tally import expect, wait


def one_member(folder):
    target = os.path.join(folder, "one")
    os.mkdir(target)
    member = Member(f"--backup-dir={target}", "--backup-schedule=1s", "--backup-keep=3", "--backup-compress=zstd")
    try:
        member.start()
        kedgectl("put", "a", "1", endpoints=member.endpoint)
        wait("backups come", lambda: metric(member, "kedge_backup_successes_total") >= 5)
        wait("three are kept", lambda: len(backups(target)) == 3)
        member.stop()
        notes = backups(target)
        expect("nothing else is there", len(os.listdir(target)) == 2 * len(notes), os.listdir(target))
        expect("slots follow each other", all(a["slot"] < b["slot"] for a, b in zip(notes, notes[1:])), notes)
        check_file(target, notes[-1])
    finally:
        member.close()
    return notes


def asked_for(folder):
    target = os.path.join(folder, "asked")
    os.mkdir(target)
    member = Member(f"--backup-dir={target}")
    try:
        member.start()
        kedgectl("put", "a", "1", endpoints=member.endpoint)
        code, out, errors = kedgectl("backup", "now", endpoints=member.endpoint)
        note = backups(target)[-1]
        expect("now", code == 0 and note["name"] in out and note["revision"] == 2, out + errors)
        check_file(target, note)
        kedgectl("put", "a", "2", endpoints=member.endpoint)
        code, out, errors = kedgectl("backup", "now", "-w", "json", endpoints=member.endpoint)
        expect("now, json", code == 0 and json.loads(out)["backup"]["revision"] == 3, out + errors)
        code, out, _ = kedgectl("backup", "list", "-w", "json", endpoints=member.endpoint)
        expect("list", code == 0 and [b["revision"] for b in json.loads(out)["backups"]] == [3, 2], out)
        for form in ("simple", "fields", "table"):
            for verb in (["list"], ["status"], ["verify"]):
                code, out, errors = kedgectl("backup", *verb, "-w", form, endpoints=member.endpoint)
                expect(f"{verb} as {form}", code == 0 and out != "", errors)
        code, out, errors = kedgectl("backup", "verify", note["name"], endpoints=member.endpoint)
        expect("verify", code == 0 and note["name"] in out, out + errors)
        path = os.path.join(target, note["name"])
        with open(path, "r+b") as f:
            f.seek(note["size"] // 2)
            byte = f.read(1)
            f.seek(note["size"] // 2)
            f.write(bytes([byte[0] ^ 1]))
        code, out, errors = kedgectl("backup", "verify", note["name"], endpoints=member.endpoint)
        expect("damage is found", code == 1 and note["name"] in errors, out + errors)
        code, out, errors = kedgectl("backup", "list", endpoints=member.endpoint)
        expect("and shown", "good" in out.splitlines()[0] and "good" not in out.splitlines()[1], out)
        code, _, errors = kedgectl("backup", "verify", "../../etc/passwd", endpoints=member.endpoint)
        expect("only backups are verified", code == 1 and "no name of a backup" in errors, errors)
        expect("last success", metric(member, "kedge_backup_last_success_revision") == 3)
    finally:
        member.close()


def no_target():
    member = Member()
    try:
        member.start()
        code, _, errors = kedgectl("backup", "now", endpoints=member.endpoint)
        expect("without a target", code == 1 and "--backup-dir" in errors, errors)
        code, out, _ = kedgectl("backup", "status", endpoints=member.endpoint)
        expect("status without a target", code == 0 and "no target" in out, out)
    finally:
        member.close()


def missing(folder):
    target = os.path.join(folder, "missing")
    member = Member(f"--backup-dir={target}", "--backup-schedule=1s")
    try:
        member.start()
        wait("failures are counted", lambda: metric(member, "kedge_backup_failures_total") >= 3)
        expect("and logged", "No such file or directory" in member.output(100), member.output())
        expect("the folder is not made", not os.path.exists(target))
        expect("it serves", kedgectl("put", "a", "b", endpoints=member.endpoint)[0] == 0)
        code, out, errors = kedgectl("backup", "now", endpoints=member.endpoint)
        expect("now fails", code == 1 and ("No such file" in errors or "taking a backup" in errors
                                           or "at a backup" in errors), out + errors)
        os.mkdir(target)
        wait("it recovers", lambda: len(backups(target)) > 0)
    finally:
        member.close()


def full(folder):
    target = os.path.join(folder, "full")
    os.mkdir(target)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", target], capture_output=True).returncode != 0:
        tally.skip("a target that is full: no file system can be mounted here")
        return
    member = Member(f"--backup-dir={target}", "--backup-schedule=1s", "--backup-keep=1")
    try:
        member.start()
        wait("small ones fit", lambda: metric(member, "kedge_backup_successes_total") >= 2)
        before = metric(member, "kedge_backup_failures_total")
        put_some(member)
        wait("failures are counted", lambda: metric(member, "kedge_backup_failures_total") >= before + 2)
        expect("and logged", "No space left on device" in member.output(100), member.output())
        notes = backups(target)
        expect("the last good one stays", len(notes) == 1, os.listdir(target))
        expect("it serves", kedgectl("put", "a", "b", endpoints=member.endpoint)[0] == 0)
        member.stop()
        check_file(target, notes[0])
    finally:
        member.close()
        subprocess.run(["umount", target], check=True)


def settings():
    for flags, text in ((["--backup-schedule=61 * * * *", "--backup-dir=/"], "--backup-schedule"),
                        (["--backup-schedule=1h"], "--backup-dir"), (["--backup-keep=none"], "--backup-keep"),
                        (["--backup-compress=gzip"], "backup-compress")):
        status, _, errors = run(KEDGE, *flags, timeout=20)
        expect("refused by its name", status != 0 and text in errors, errors)


with tempfile.TemporaryDirectory(prefix="kedge-backup.") as place:
    one_member(place)
    asked_for(place)
    no_target()
    missing(place)
    full(place)
    settings()
tally.end()
