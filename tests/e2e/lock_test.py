#!/usr/bin/python3
"""kedgectl lock and elect: who holds it, signals, exit statuses, a holder that dies, a server that comes back; and a server
that is stopped while calls wait. Where the official etcdctl has been built it must say the same."""

import concurrent.futures
import json
import os
import signal
import time
import urllib.error
import urllib.request

import tally
from gateway import b64, post
from member import on_one_member
from programs import ETCDCTL, KEDGECTL, begin, ended, is_there
from tally import check, check_equal, wait_for


def start(member, *args, program=KEDGECTL):
    return begin(program, f"--endpoints={member.endpoint}", *args)


def run(member, *args, program=KEDGECTL):
    return ended(start(member, *args, program=program), 30)


def keys(member, prefix):
    return [key for key in run(member, "get", prefix, "--prefix", "--keys-only")[1].split("\n") if key]


def wait_for_keys(member, prefix, count):
    wait_for(f"{count} keys {prefix}", lambda: len(keys(member, prefix)) == count, 20)


def test_a_command_runs_under_the_lock_and_its_end_is_kedgectls(member):
    lines = [
        ["lock", "a", "echo", "held"], ["lock", "a", "--", "sh", "-c", "exit 3"], ["lock", "a", "--", "sh", "-c", "kill -9 $$"],
        ["lock", "a", "nosuchprogram"], ["lock", "a", "./nosuchprogram"], ["lock", "a", "/etc/passwd"], ["lock"],
        ["lock", "a", "cat"], ["lock", "a", "--ttl", "x"], ["lock", "a", "sh", "-c", "true"], ["elect"], ["elect", "e"],
        ["elect", "-l", "e", "p"], ["lock", "a", "--", "sh", "-c", "test $ETCD_LOCK_REV -gt 1 && echo ${ETCD_LOCK_KEY%/*}"],
    ]  # fmt: skip
    wanted = [(0, "held\n", None), (3, "", "Error: exit status 3\n"), (255, "", "Error: signal: killed\n")]
    for line, expected in zip(lines, wanted):
        status, out, err = run(member, *line)
        check_equal(line, (status, out, expected[2] and err), expected)
    if is_there(ETCDCTL):
        for line in lines:
            ours, theirs = run(member, *line), run(member, *line, program=ETCDCTL)
            check_equal(line, (ours[0], ours[1], ours[2].split("\n")[0]), (theirs[0], theirs[1], theirs[2].split("\n")[0]))
    check_equal("keys that are left", keys(member, "a/"), [])


def test_one_at_a_time(member):
    path = os.path.join(member.folder, "turns")
    command = f"echo in >>{path}; sleep 0.05; echo out >>{path}"
    programs = [KEDGECTL] * 4 + ([ETCDCTL] * 2 if is_there(ETCDCTL) else [])
    turns = [start(member, "lock", "q", "--", "sh", "-c", command, program=program) for program in programs]
    for turn in turns:
        check_equal("a turn", (turn.communicate(timeout=60)[1], turn.returncode), ("", 0))
    with open(path) as f:
        check_equal("turns", f.read(), "in\nout\n" * len(programs))


def test_a_signal_gives_the_lock_back(member):
    holder = start(member, "lock", "s")
    key = holder.stdout.readline().strip()
    check_equal("the holder's key", keys(member, "s/"), [key])
    waiter = start(member, "lock", "s")
    wait_for_keys(member, "s/", 2)
    waiter.send_signal(signal.SIGTERM)
    check_equal("who waited", (*waiter.communicate(timeout=30), waiter.returncode), ("", "Error: context canceled\n", 1))
    check_equal("keys", keys(member, "s/"), [key])
    holder.send_signal(signal.SIGINT)
    check_equal("the holder", (holder.communicate(timeout=30)[1], holder.returncode), ("", 0))
    check_equal("keys that are left", keys(member, "s/"), [])


def test_a_signal_leaves_the_command_and_its_lock_alone(member):
    for program in [KEDGECTL] + [ETCDCTL] * is_there(ETCDCTL):
        path = os.path.join(member.folder, f"end-{os.path.basename(program)}")
        script = f"echo begun; until test -e {path}; do sleep 0.05; done; echo cleaned; exit 7"
        command = start(member, "lock", "c", "--", "sh", "-c", script, program=program)
        check_equal("its first line", command.stdout.readline(), "begun\n")
        for number in (signal.SIGINT, signal.SIGTERM):
            command.send_signal(number)
            time.sleep(0.2)
        check_equal("keys while it runs", len(keys(member, "c/")), 1)
        open(path, "w").close()
        out, err = command.communicate(timeout=30)
        check_equal(program, (out, err.split("\n")[0], command.returncode), ("cleaned\n", "Error: exit status 7", 7))
    check_equal("keys that are left", keys(member, "c/"), [])


def test_a_holder_that_dies_loses_the_lock_with_its_lease(member):
    holder = start(member, "lock", "d", "--ttl=2")
    holder.stdout.readline()
    waiter = start(member, "lock", "d", "echo", "mine")
    wait_for_keys(member, "d/", 2)
    time.sleep(3)  # the lease is kept alive
    check_equal("while the holder lives", waiter.poll(), None)
    holder.kill()
    holder.communicate()
    check_equal("afterwards", waiter.communicate(timeout=30)[0], "mine\n")


def test_elections_and_who_observes_them(member):
    observer = start(member, "elect", "-l", "e")
    one = start(member, "elect", "e", "one")
    one_key = one.stdout.readline().strip()
    check_equal("the first", one.stdout.readline(), "one\n")
    two = start(member, "elect", "e", "two")
    wait_for_keys(member, "e/", 2)
    check_equal("observed", observer.stdout.readline() + observer.stdout.readline(), f"{one_key}\none\n")
    one.send_signal(signal.SIGINT)
    check_equal("the first's end", (one.communicate(timeout=30)[1], one.returncode), ("", 0))
    two_key = two.stdout.readline().strip()
    check_equal("the second", two.stdout.readline(), "two\n")
    check_equal("observed", observer.stdout.readline() + observer.stdout.readline(), f"{two_key}\ntwo\n")
    two.send_signal(signal.SIGTERM)
    check_equal("the second's end", (two.communicate(timeout=30)[1], two.returncode), ("", 0))
    check_equal("keys that are left", keys(member, "e/"), [])
    observer.send_signal(signal.SIGINT)
    check_equal("the observer", (observer.communicate(timeout=30)[1], observer.returncode), ("", 0))


def test_a_lock_is_kept_over_a_restart_of_the_server(member):
    holder = start(member, "lock", "r", "--ttl=30")
    key = holder.stdout.readline().strip()
    waiter = start(member, "lock", "r", "echo", "after")
    wait_for_keys(member, "r/", 2)
    member.kill()
    member.start()
    check_equal("the holder's key", keys(member, "r/")[0], key)
    check_equal("the holder", holder.poll(), None)
    check_equal("who waits", waiter.poll(), None)
    holder.send_signal(signal.SIGINT)
    check_equal("the holder's end", (holder.communicate(timeout=30)[1], holder.returncode), ("", 0))
    check_equal("who waited", waiter.communicate(timeout=30)[0], "after\n")


def test_the_server_stops_while_calls_wait(member):
    def call(path, name):
        """What is said, be it refused or not."""
        try:
            url, body = f"http://{member.endpoint}/v3/{path}", json.dumps({"name": b64(name)}).encode()
            with urllib.request.urlopen(url, body, timeout=30) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()

    post(member, "lock/lock", {"name": b64("w")})
    pool = concurrent.futures.ThreadPoolExecutor()
    calls = [pool.submit(call, *what) for what in (("lock/lock", "w"), ("election/observe", "w"), ("election/observe", "nobody"))]
    wait_for_keys(member, "w/", 2)
    waiter = start(member, "lock", "w")
    wait_for_keys(member, "w/", 3)
    begun = time.monotonic()
    check_equal("the server's end", member.stop(), -signal.SIGTERM)
    check(time.monotonic() - begun <= 4, f"the server took {time.monotonic() - begun} s to stop")
    for waiting in calls:
        said = waiting.result(30)
        check("etcdserver: server stopped" in said, f"a call ends with {said}")
    member.start()
    waiter.send_signal(signal.SIGINT)
    waiter.communicate(timeout=30)


on_one_member(tally.scenarios(globals()))
