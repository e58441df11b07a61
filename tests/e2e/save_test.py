#!/usr/bin/python3
"""kedgectl snapshot save in the face of everything that ends it: signals, SIGKILL of the tool and of the server, full disks,
readers that go away. Nothing half-made ever has the final name, and doing it again works. Standard output and terminals."""

import concurrent.futures
import hashlib
import os
import pty
import re
import resource
import signal
import subprocess
import threading
import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

import programs
import tally
from cluster import Stubs
from member import on_one_member
from programs import KEDGECTL, ended, kedgeutl
from tally import check, wait_for

PIECE = 32768


def begin(endpoint, path, *flags, **how):
    arguments = (f"--endpoints={endpoint}", *flags, "snapshot", "save", path)
    return programs.begin(KEDGECTL, *arguments, text=False, **how)


def save(endpoint, path, *flags, **how):
    return ended(begin(endpoint, path, *flags, **how))


def size(path):
    return os.path.getsize(path) if os.path.exists(path) else -1


def expect_good(endpoint, path):
    """A save to this name works now, leaves that file alone, and the file is whole."""
    status, out, errors = save(endpoint, path)
    check(status == 0, f"{status} {out} {errors}")
    check(not os.path.exists(path + ".part"), "a part is left behind")
    expect_whole(path)


def expect_whole(path):
    read = kedgeutl("snapshot", "status", path)
    check(read.status == 0, f"status: {read.errors}")
    with open(path, "rb") as f:
        content = f.read()
    check(hashlib.sha256(content[:-32]).digest() == content[-32:], "the checksum is wrong")


class Half(stubs.MaintenanceServicer):
    """Sends the first half of a snapshot, and the second one when it may."""

    def __init__(self, content):
        self.content, self.go_on, self.half_sent = content, threading.Event(), threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
        stubs.add_MaintenanceServicer_to_server(self, self.server)
        self.endpoint = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Snapshot(self, request, context):
        body = self.content[:-32]
        for at in range(0, len(body), PIECE):
            if at >= len(body) // 2 and not self.go_on.is_set():
                self.half_sent.set()
                self.go_on.wait(60)
            blob = body[at:at + PIECE]
            yield pb.SnapshotResponse(blob=blob, remaining_bytes=len(body) - at - len(blob))
        yield pb.SnapshotResponse(blob=self.content[-32:])

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.go_on.set()
        self.server.stop(None).wait()


def whole(member, folder):
    """A snapshot of the member, of some megabytes."""
    path = os.path.join(folder, "whole.db")
    check(save(member.endpoint, path)[0] == 0, "it was not saved")
    with open(path, "rb") as f:
        content = f.read()
    os.unlink(path)
    return content


def test_a_signal_leaves_nothing_and_an_older_file_alone(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for older in (False, True):
                if older:
                    with open(path, "w", encoding="ascii") as f:
                        f.write("older")
                tool = begin(server.endpoint, path)
                wait_for("half of it", lambda: size(path + ".part") > 1000000)
                tool.send_signal(number)
                status, out, _ = ended(tool)
                check(status == -number and out == b"", f"{status} {out}")
                check(os.listdir(folder) == (["a.db"] if older else []), str(os.listdir(folder)))
            check(size(path) == len("older"), "the older file is another one")
            os.unlink(path)


def test_what_nohup_ignores_stays_ignored(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        tool = begin(server.endpoint, path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        wait_for("half of it", lambda: size(path + ".part") > 1000000)
        tool.send_signal(signal.SIGHUP)
        server.go_on.set()
        check(ended(tool)[0] == 0, "it ended")
    expect_whole(path)


def test_the_killed_tool_leaves_a_part_that_the_next_save_takes(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        for _ in range(2):
            tool = begin(server.endpoint, path)
            wait_for("half of it", lambda: size(path + ".part") > 1000000)
            tool.kill()
            check(ended(tool)[0] == -signal.SIGKILL, "it ended otherwise")
            check(os.listdir(folder) == ["a.db.part"], str(os.listdir(folder)))
    expect_good(member.endpoint, path)


def test_the_killed_tool_at_any_moment(member, folder):
    """Against the server itself, at moments from its start to its end: a file that has the name is whole."""
    path = os.path.join(folder, "a.db")
    kept = 0
    for i in range(20):
        tool = begin(member.endpoint, path)
        time.sleep(i * 0.01)
        tool.kill()
        ended(tool)
        check(set(os.listdir(folder)) <= {"a.db", "a.db.part"}, str(os.listdir(folder)))
        if os.path.exists(path):
            expect_whole(path)
            os.unlink(path)
            kept += 1
    expect_good(member.endpoint, path)


def test_the_killed_server_is_an_error_and_nothing_stays(member, folder):
    path = os.path.join(folder, "a.db")
    for _ in range(3):
        tool = begin(member.endpoint, path)
        wait_for("the beginning", lambda: size(path + ".part") > 1000000)
        tool.send_signal(signal.SIGSTOP)  # what is in flight then is less than what is missing
        member.kill()
        tool.send_signal(signal.SIGCONT)
        status, out, errors = ended(tool)
        check(status == 5 and out == b"" and b"code = Unavailable" in errors, f"{status} {out} {errors}")
        check(os.listdir(folder) == [], str(os.listdir(folder)))
        member.start()
        expect_good(member.endpoint, path)
        os.unlink(path)


def test_no_room_is_an_error_and_nothing_stays(member, folder):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000000, 2000000))

    status, out, errors = save(member.endpoint, os.path.join(folder, "a.db"), preexec_fn=small)
    check(status == 5 and b"could not write snapshot (file too large)" in errors, f"{status} {out} {errors}")
    check(os.listdir(folder) == [], str(os.listdir(folder)))
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode == 0:
        try:
            status, out, errors = save(member.endpoint, os.path.join(folder, "a.db"))
            check(status == 5 and b"(no space left on device)" in errors, f"{status} {out} {errors}")
            check(os.listdir(folder) == [], str(os.listdir(folder)))
        finally:
            subprocess.run(["umount", folder], check=True)
    with open("/dev/full", "wb") as full:
        status, _, errors = save(member.endpoint, "-", stdout=full)
        check(status == 5 and b"could not write snapshot (no space left on device)" in errors, f"{status} {errors}")


def test_two_saves_to_one_name_do_not_mix(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        first = begin(server.endpoint, path)
        wait_for("half of it", lambda: size(path + ".part") > 1000000)
        status, out, errors = save(member.endpoint, path)
        check(status == 5 and b"another save to" in errors, f"{status} {out} {errors}")
        server.go_on.set()
        check(ended(first)[0] == 0, "the first one failed")
    expect_whole(path)
    expect_good(member.endpoint, path)


def test_a_time_limit_is_kept_and_there_is_none_by_default(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        status, out, errors = save(server.endpoint, path, "--command-timeout=1s")
        check(status == 5 and b"context deadline exceeded" in errors, f"{status} {out} {errors}")
        check(os.listdir(folder) == [], str(os.listdir(folder)))
        tool = begin(server.endpoint, path)
        wait_for("half of it", lambda: size(path + ".part") > 1000000)
        time.sleep(6)  # --command-timeout is 5 s for other commands
        server.go_on.set()
        check(ended(tool)[0] == 0, "it gave up")
    expect_whole(path)


def test_standard_output_gets_the_snapshot_and_nothing_else(member, folder):
    path = os.path.join(folder, "a.db")
    with open(path, "wb") as f:
        status, _, errors = save(member.endpoint, "-", stdout=f)
    check(status == 0, errors)
    expect_whole(path)
    status, out, _ = save(member.endpoint, "-")
    with open(path, "rb") as f:
        check(status == 0 and len(out) == len(f.read()), f"{status}, {len(out)} bytes")
    tool = begin(member.endpoint, "-")
    tool.stdout.read(10)
    tool.stdout.close()
    errors = tool.stderr.read()
    check(tool.wait() == 5 and b"could not write snapshot (broken pipe)" in errors, f"{tool.returncode} {errors}")
    tool.stderr.close()
    content = whole(member, folder)
    with Half(content[:-32] + bytes(32)) as server:
        server.go_on.set()
        status, _, errors = save(server.endpoint, "-")
        check(status == 5 and b"checksum is wrong" in errors, f"{status} {errors}")


class Terminal:
    """What a program writes to a terminal of 80 columns."""

    def __init__(self):
        self.ours, self.theirs = pty.openpty()
        subprocess.run(["stty", "rows", "24", "cols", "80"], stdin=self.theirs, check=True)
        self.text = ""

    def close_theirs(self):
        os.close(self.theirs)

    def read(self):
        try:
            data = os.read(self.ours, 65536)
        except OSError:  # the other side is closed
            data = b""
        self.text += data.decode()
        return data != b""

    def close(self):
        while self.read():
            pass
        os.close(self.ours)


def test_a_terminal_shows_how_far_it_is(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        for signalled in (False, True):
            server.go_on.clear()
            terminal = Terminal()
            tool = begin(server.endpoint, path, stderr=terminal.theirs, stdout=subprocess.PIPE)
            terminal.close_theirs()
            while not re.search(r"\r 50 % \[=+> +\] \d+ of \d+ MB, \d+ [kM]B/s, [^\r]*\x1b\[K", terminal.text):
                check(terminal.read(), f"no progress in {terminal.text!r}")
            if signalled:
                tool.send_signal(signal.SIGTERM)
            else:
                server.go_on.set()
            status, out, _ = ended(tool)
            terminal.close()
            lines = re.findall(r"\r([^\r\n]*)\x1b\[K", terminal.text)
            check(all(len(line) < 80 for line in lines), f"too long: {lines}")
            check(lines[-1] == "", f"a line stays: {lines}")
            check(status == (-signal.SIGTERM if signalled else 0), f"{status} {terminal.text!r}")
            check("%" not in out.decode(), "it is on standard output")
            mixed = re.search(r'[^\n](?<!\r\x1b\[K)\{"level', terminal.text)
            check(mixed is None, f"lines mix: {terminal.text!r}")
    expect_whole(path)


def test_a_pipe_shows_no_progress_and_a_terminal_gets_no_snapshot(member, folder):
    path = os.path.join(folder, "a.db")
    with Half(whole(member, folder)) as server:
        tool = begin(server.endpoint, path)
        server.half_sent.wait(30)
        time.sleep(0.5)
        server.go_on.set()
        status, out, errors = ended(tool)
        check(status == 0 and b"\r" not in out + errors and b"%" not in out + errors, f"{status} {out} {errors}")
        check(all(line.startswith(b"{") for line in errors.splitlines()), f"{errors}")
    terminal = Terminal()
    tool = begin(member.endpoint, "-", stdout=terminal.theirs)
    terminal.close_theirs()
    errors = tool.stderr.read()
    check(tool.wait() == 5 and b"not for a terminal" in errors, f"{tool.returncode} {errors}")
    tool.stderr.close()
    terminal.close()
    check(terminal.text == "", "it got something")


def test_only_one_member_is_asked_and_only_a_plain_file_replaced(member, folder):
    twice = f"{member.endpoint},{member.endpoint}"
    status, _, errors = save(twice, os.path.join(folder, "a.db"))
    check(status == 5 and b"must be requested to one selected node" in errors, f"{status} {errors}")
    for path in (folder, "/dev/null"):
        status, _, errors = save(member.endpoint, path)
        check(status == 5 and b"is not a plain file" in errors, f"{status} {errors}")
    status, _, errors = save(member.endpoint, os.path.join(folder, "none", "a.db"))
    check(status == 5 and b"no such file or directory" in errors, f"{status} {errors}")
    check(os.listdir(folder) == [], str(os.listdir(folder)))


def prepare(member):
    with Stubs(member) as s:
        for i in range(24):
            s.kv.Put(pb.PutRequest(key=b"big%d" % i, value=os.urandom(1000000)), timeout=20)


on_one_member(tally.scenarios(globals()), prepare, folders=True)
