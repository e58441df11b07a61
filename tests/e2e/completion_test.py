#!/usr/bin/python3
"""Completion as a user at a terminal gets it: bash, and zsh and fish where they are installed, each with the script that kedgectl
prints; and kedgectl's answers to shells beside those of the official etcdctl, where that has been built."""

import os
import pty
import select
import shutil
import tempfile
import time

import tally
from programs import BIN, ETCDCTL, KEDGECTL, is_there, run
from tally import Skipped, check

# What is typed before the tabulator, and what must stand on the line, or be offered, after it.
TYPED = [
    ("kedgectl lea", "kedgectl lease"),
    ("kedgectl lease gr", "kedgectl lease grant"),
    ("kedgectl get --write-out=js", "kedgectl get --write-out=json"),
    ("kedgectl get --write-out js", "kedgectl get --write-out json"),
    ("kedgectl get --consi", "kedgectl get --consistency"),
    ("kedgectl member ", "promote"),
    ("kedgectl snapshot save /tmp/kedge-compl", "kedgectl snapshot save /tmp/kedge-completion."),
]  # fmt: skip

# Word lists that both programs are asked about: kedgectl may offer more, and orders names in its own way.
ASKED = [
    [""], ["le"], ["lease", ""], ["lease", "gr"], ["lease", "grant", ""], ["le", "gr", ""], ["get", "--"], ["get", "-"],
    ["get", "--con"], ["get", "--consistency", ""], ["get", "--consistency="], ["-w", ""], ["--write-out", ""],
    ["get", "k", "--prefix", "--"], ["completion", ""], ["help", ""], ["help", "lease", ""], ["check", "perf", "--load", ""],
    ["snapshot", ""], ["snapshot", "save", ""], ["user", "add", "--"], ["lease", "--"], ["get", "--prefix="],
    ["put", "--lease="], ["get", "a", ""], ["--endpoints", ""], ["watch", "a", "--", ""], ["lease", "grant", "--help", ""],
    ["endpoint", ""], ["endpoint", "status", "--"], ["role", ""], ["make-mirror", "--dest-"], ["nosuch", ""], ["--", ""],
]  # fmt: skip


class Terminal:
    """A shell at a terminal, with kedgectl's completion loaded."""

    def __init__(self, shell, folder):
        arguments = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
        environment = {"TERM": "dumb", "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": folder}
        setup = {
            "bash": "PS1='> '; source <(kedgectl completion bash)",
            "zsh": "autoload -U compinit; compinit -u -D; unsetopt automenu; PS1='> '; source <(kedgectl completion zsh)",
            "fish": "kedgectl completion fish | source",
        }[shell]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(shell, [shell, *arguments], environment)
        self.say(setup + "; echo rea''dy\n")
        self.expect("ready")

    def say(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text, seconds=20):
        seen, end = "", time.monotonic() + seconds
        while text not in seen:
            check(select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], f"expected {text!r}, got {seen!r}")
            seen += os.read(self.fd, 65536).decode(errors="replace").replace("\r", "")

    def close(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def at_a_terminal(shell):
    if shutil.which(shell) is None:
        raise Skipped(f"no {shell}")
    with tempfile.TemporaryDirectory(prefix="kedge-completion.", dir="/tmp") as folder:
        for typed, expected in TYPED:
            terminal = Terminal(shell, folder)
            try:
                # The echo of what is typed comes first: only the rest of it shows that it was completed.
                rest = expected[len(typed):] if expected.startswith(typed) else expected
                terminal.say(typed)
                terminal.expect(typed.split()[-1])
                terminal.say("\t\t")
                terminal.expect(rest)
            finally:
                terminal.close()


def answer(program, words, command="__completeNoDesc"):
    result = run(program, command, *words)
    lines = result.out.splitlines()
    check(lines and lines[-1].startswith(":"), f"{program} {words}: {result}")
    return set(lines[:-1]), lines[-1], result.errors.strip().splitlines()[-1]


def test_answers_are_etcdctl_s():
    if not is_there(ETCDCTL):
        raise Skipped(f"no {ETCDCTL}")
    for words in ASKED:
        theirs, ours = answer(ETCDCTL, words), answer(KEDGECTL, words)
        missing = theirs[0] - ours[0]
        good = not missing and theirs[1:] == ours[1:]
        check(good, f"{words}: not offered {missing}, expected {theirs[1:]}, got {ours[1:]}")


def test_candidates_are_described():
    check("grant\tMake a lease" in run(KEDGECTL, "__complete", "lease", "").out, "no descriptions")


for each in ("bash", "zsh", "fish"):
    tally.scenario(at_a_terminal, each, name=f"at a terminal with {each}")
for each in tally.scenarios(globals()):
    tally.scenario(each)
tally.end()
