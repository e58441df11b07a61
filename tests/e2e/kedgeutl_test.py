#!/usr/bin/python3
"""kedgeutl check on a member's data folder: whole, in use, damaged, absent."""

import os

import tally
from member import Member
from programs import kedgeutl, said


def expect(what, result, status, text):
    good = result.status == status and text in result.out + result.errors
    tally.expect(what, good, f"expected status {status} and {text!r}, got {result}")


def main():
    member = Member()
    try:
        member.start()
        for i in range(5):
            said(member, "put", f"k{i}", "x" * 1000)
        expect("a member that runs", kedgeutl("--timeout=200ms", "check", member.data), 2, "is in use")
        member.stop()
        expect("a whole store", kedgeutl("check", member.data), 0, "is whole: ")
        path = os.path.join(member.data, "member/snap/db")
        with open(path, "r+b") as f:
            data = f.read()
            # All copies of it: some stand on pages that were freed since.
            f.seek(0)
            f.write(data.replace(b"x" * 500, b"x" * 499 + b"y"))
        expect("a damaged row", kedgeutl("check", path), 1, "damaged row at offset ")
        expect("nothing", kedgeutl("check", member.data + "/nosuch"), 1, "No such file or directory")
        expect("no folder", kedgeutl("defrag", "--data-dir="), 1, "(stat member/snap/db: no such file or directory)")
        expect("no argument", kedgeutl("check"), 128, "needs the data folder")
    finally:
        member.close()
    tally.end()


main()
