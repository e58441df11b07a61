#!/usr/bin/python3
"""kedgectl backup now on members of a cluster: each writes into its own folder, never two at a time, whoever leads."""

import json
import os
import tempfile
import threading

import tally
from backup import backups, check_file, put_some
from cluster import Cluster
from programs import KEDGECTL, begin, kedgectl
from tally import expect, wait


def each_in_its_own_folder(folder):
    cluster = Cluster(3)
    try:
        for member in cluster.members:
            os.mkdir(os.path.join(folder, member.name))
            member.flags = [f"--backup-dir={os.path.join(folder, member.name)}", "--backup-compress=zstd"]
        cluster.start()
        put_some(cluster.members[0], 40, 100000)
        for member in cluster.members:
            code, out, errors = kedgectl("backup", "now", endpoints=member.endpoint)
            notes = backups(os.path.join(folder, member.name))
            expect("taken by who was asked", code == 0 and [n["member"] for n in notes] == [member.name], out + errors)
            check_file(os.path.join(folder, member.name), notes[0])
        hashes = {backups(os.path.join(folder, m.name))[0]["hash"] for m in cluster.members}
        expect("all have the same content", len(hashes) == 1, hashes)
        answers = []
        threads = [threading.Thread(target=lambda m=m: answers.append(kedgectl("backup", "now", endpoints=m.endpoint)))
                   for m in cluster.members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [a for a in answers if a[0] != 0]
        expect("one at least is taken", len(refused) < 3, answers)
        expect("who is refused is told why", all("is taking a backup" in a[2] for a in refused), answers)
        lines = []
        for member in cluster.members:
            for line in member.output(100000).splitlines():
                if "taking a backup" in line or "took a backup" in line:
                    lines.append((json.loads(line)["ts"], "taking" in line))
        at_work = most = 0
        for _, begins in sorted(lines):
            at_work += 1 if begins else -1
            most = max(most, at_work)
        expect("never two at a time", most == 1 and at_work == 0, lines)
        code, out, errors = kedgectl("backup", "list", endpoints=cluster.members[1].endpoint)
        expect("each lists its own", code == 0 and "m2" in out and "m1" not in out, out + errors)
    finally:
        cluster.close()


def interrupted(folder):
    """The server goes on with what a client no longer waits for."""
    cluster = Cluster(1, f"--backup-dir={folder}")
    try:
        cluster.start()
        client = begin(KEDGECTL, f"--endpoints={cluster.endpoints}", "backup", "now", stdout=None, stderr=None)
        wait("it is there", lambda: len(os.listdir(folder)) > 0 or client.poll() is not None)
        client.kill()
        client.wait()
        wait("it is finished", lambda: len(backups(folder)) == 1)
    finally:
        cluster.close()


with tempfile.TemporaryDirectory(prefix="kedge-backup.") as place:
    each_in_its_own_folder(place)
with tempfile.TemporaryDirectory(prefix="kedge-backup.") as place:
    interrupted(place)
tally.end()
