"""What the tests of backups share: looking into a target, a file against its note."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import urllib.request

from programs import kedgectl, kedgeutl
from tally import end, expect, wait  # noqa: F401  tests take them from here

NAME = re.compile(r"kedge-\d{8}T\d{6}Z-r\d+\.db(\.zst)?$")


def backups(target):
    """The notes of all finished backups, oldest first."""
    notes = []
    for name in sorted(os.listdir(target)):
        if name.endswith(".json"):
            with open(os.path.join(target, name)) as f:
                note = json.load(f)
            if os.path.exists(os.path.join(target, note["name"])):
                notes.append(note)
    return notes


def metric(member, name):
    with urllib.request.urlopen(f"http://{member.endpoint}/metrics", timeout=5) as page:
        text = page.read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE).group(1))


def check_file(target, note):
    """The file is what its note says, by the tool that would restore it."""
    path = os.path.join(target, note["name"])
    run = kedgeutl("snapshot", "restore", path, "--dry-run")
    expect("it can be restored", run.status == 0, run.errors)
    if note["compress"] == "zstd":
        if shutil.which("zstd") is None:
            return
        plain = os.path.join(target, ".plain")
        subprocess.run(["zstd", "-q", "-d", "-f", path, "-o", plain], check=True)
        path = plain
    content = open(path, "rb").read()
    expect("size", len(content) == note["size"], note)
    expect("checksum", hashlib.sha256(content[:-32]).digest() == content[-32:], note["name"])
    run = kedgeutl("snapshot", "status", path, "-w", "json")
    status = json.loads(run.out or "{}")
    expect("hash and version", (status.get("hash"), status.get("version")) == (note["hash"], note["version"]),
           f"{run}{note}")
    expect("file mode", os.stat(os.path.join(target, note["name"])).st_mode & 0o777 == 0o600)


def put_some(member, count=30, size=50000):
    for i in range(count):
        kedgectl("put", f"fill/{i}", random.randbytes(size // 2).hex(), endpoints=member.endpoint)
