#!/usr/bin/python3
"""Backups by three members: a follower takes them, one a slot, whoever dies."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import backup
from backup import backups, check_file, expect, wait
from cluster import Cluster, kedgectl



def three_members(folder):
    target = os.path.join(folder, "three")
    os.mkdir(target)
    cluster = Cluster(3, f"--backup-dir={target}", "--backup-schedule=1s", "--backup-keep=all")
    try:
        cluster.start()
        leader = cluster.leader()
        wait("backups come", lambda: len(backups(target)) >= 2)
        taker = backups(target)[-1]["member"]
        expect("a follower takes them", taker != leader.name, f"{taker}, and {leader.name} leads")
        busy = [m for m in cluster.members if m.name == taker][0]
        busy.kill()
        before = len(backups(target))
        wait("another one goes on", lambda: len(backups(target)) >= before + 2)
        expect("it is another one", backups(target)[-1]["member"] != taker, backups(target)[-1])
        busy.start()
        before = len(backups(target))
        other = [m for m in cluster.members if m is not leader][0]
        code, out, _ = kedgectl("member", "list", endpoints=other.endpoint)
        to = [line.split(",")[0] for line in out.splitlines() if f" {other.name}," in line][0]
        expect("leadership moves", kedgectl("move-leader", to, endpoints=leader.endpoint)[0] == 0, out)
        wait("another leader goes on", lambda: len(backups(target)) >= before + 2)
        expect("and does not take them itself", backups(target)[-1]["member"] != other.name, backups(target)[-1])
        code, out, errors = kedgectl("backup", "status", endpoints=cluster.endpoints)
        expect("status of all", code == 0 and len(out.splitlines()) == 3, out + errors)
        for member in cluster.members:
            member.stop()
        notes = backups(target)
        slots = [n["slot"] for n in notes if n["slot"] != 0]
        expect("one backup a slot", len(slots) == len(set(slots)), slots)
        for note in notes[:1] + notes[-1:]:
            check_file(target, note)
        expect("no leftover", not [f for f in os.listdir(target) if f.endswith(".part")], os.listdir(target))
    finally:
        cluster.close()


with tempfile.TemporaryDirectory(prefix="kedge-backup.") as place:
    three_members(place)
backup.end()
