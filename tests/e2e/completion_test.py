#!/usr/bin/python3
"""Completion as a user at a terminal gets it: bash, and zsh and fish where they are installed, each with the script that kedgectl
prints; and kedgectl's answers to shells beside those of the official etcdctl, where that has been built."""

import os
import pty
import select
import shutil
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("KEDGE_BIN", "build"))
CTL = os.path.join(BIN, "kedgectl")
ETCDCTL = os.environ.get("ETCDCTL", "build/interop/bin/etcdctl")

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


class Failure(Exception):
    pass


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
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise Failure(f"expected {text!r}, got {seen!r}")
            seen += os.read(self.fd, 65536).decode(errors="replace").replace("\r", "")

    def close(self):
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def test_shell(shell):
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
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    done = subprocess.run([program, command, *words], capture_output=True, text=True, timeout=20, env=clean)
    lines = done.stdout.splitlines()
    if not lines or not lines[-1].startswith(":"):
        raise Failure(f"{program} {words}: {done}")
    return set(lines[:-1]), lines[-1], done.stderr.strip().splitlines()[-1]


def test_answers_are_etcdctl_s():
    for words in ASKED:
        theirs, ours = answer(ETCDCTL, words), answer(CTL, words)
        missing = theirs[0] - ours[0]
        if missing or theirs[1:] != ours[1:]:
            raise Failure(f"{words}: not offered {missing}, expected {theirs[1:]}, got {ours[1:]}")


def test_candidates_are_described():
    if "grant\tMake a lease" not in subprocess.run([CTL, "__complete", "lease", ""], capture_output=True, text=True).stdout:
        raise Failure("no descriptions")


def main():
    passed = failed = skipped = 0
    tests = [(f"at a terminal with {shell}", lambda shell=shell: test_shell(shell), shutil.which(shell))
             for shell in ("bash", "zsh", "fish")]  # fmt: skip
    tests.append(("answers beside etcdctl's", test_answers_are_etcdctl_s, os.access(ETCDCTL, os.X_OK)))
    tests.append(("descriptions", test_candidates_are_described, True))
    for name, test, possible in tests:
        if not possible:
            skipped += 1
            continue
        try:
            test()
            passed += 1
        except Exception as error:  # whatever it is, the next test still tells something
            failed += 1
            print(f"FAILED {name}: {error!r}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped: shells or programs that are not installed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
