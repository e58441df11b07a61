#!/usr/bin/python3
"""kedgeutl check on a member's data folder: whole, in use, damaged, absent."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from member import Member  # noqa: E402

BIN = os.environ.get("KEDGE_BIN", "build")


def run(program, *args):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    done = subprocess.run([os.path.join(BIN, program), *args], capture_output=True, text=True, timeout=60, env=clean)
    return done.returncode, done.stdout, done.stderr


def main():
    member, failed, passed = Member(), 0, 0

    def expect(what, result, status, text):
        nonlocal failed, passed
        good = result[0] == status and text in result[1] + result[2]
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"FAILED {what}: expected status {status} and {text!r}, got {result}")

    try:
        member.start()
        for i in range(5):
            run("kedgectl", f"--endpoints={member.endpoint}", "put", f"k{i}", "x" * 1000)
        expect("a member that runs", run("kedgeutl", "--timeout=200ms", "check", member.data), 2, "is in use")
        member.stop()
        expect("a whole store", run("kedgeutl", "check", member.data), 0, "is whole: ")
        path = os.path.join(member.data, "member/snap/db")
        with open(path, "r+b") as f:
            data = f.read()
            # All copies of it: some stand on pages that were freed since.
            f.seek(0)
            f.write(data.replace(b"x" * 500, b"x" * 499 + b"y"))
        expect("a damaged row", run("kedgeutl", "check", path), 1, "damaged row at offset ")
        expect("nothing", run("kedgeutl", "check", member.data + "/nosuch"), 1, "No such file or directory")
        expect("no argument", run("kedgeutl", "check"), 128, "needs the data folder")
    finally:
        member.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
