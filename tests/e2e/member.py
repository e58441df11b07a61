"""A server of the tests: started on free loopback ports with data in a temporary folder, stopped by its process id."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

import programs
import tally
from ports import free_port


class Member:
    """One member: by itself, or, with `initial` set before it starts, one of several."""

    def __init__(self, *flags, program=None, name="m1"):
        self.name = name
        self.program = program or programs.KEDGE
        self.folder = tempfile.mkdtemp(prefix="kedge-e2e.")
        self.data = os.path.join(self.folder, "data")
        self.port, self.peer_port = free_port(), free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.peer_url = f"http://127.0.0.1:{self.peer_port}"
        self.initial, self.state = f"{name}={self.peer_url}", "new"
        self.flags = list(flags)
        self.environment = {}  # besides this process's own
        self.process = None
        self.log = open(os.path.join(self.folder, "log"), "ab+")

    def start(self, wait=60):
        self.begin()
        return self.wait_ready(wait)

    def begin(self):
        """Starts the process and doesn't wait."""
        client, peer = f"http://{self.endpoint}", self.peer_url
        self.process = subprocess.Popen(
            [self.program, f"--name={self.name}", f"--data-dir={self.data}", f"--listen-client-urls={client}",
             f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
             f"--initial-cluster={self.initial}", f"--initial-cluster-state={self.state}", *self.flags],
            stdout=self.log, stderr=self.log,
            env=programs.environment(**self.environment))

    def wait_ready(self, wait=60):
        client = f"http://{self.endpoint}"
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.output()}")
            try:
                with urllib.request.urlopen(client + "/readyz", timeout=1) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"the server is not ready after {wait} s:\n{self.output()}")

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode if self.process else None

    def anonymous_kb(self):
        """Memory that is no file's."""
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))

    def output(self, lines=30):
        self.log.flush()
        with open(self.log.name, "rb") as f:
            return b"\n".join(f.read().splitlines()[-lines:]).decode(errors="replace")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def on_one_member(tests, prepare=lambda member: None, folders=False):
    """Scenarios that share a member; prepare writes to it before. folders: each gets an empty folder too. Ends the test."""
    member = Member()
    try:
        prepare(member.start())
        for test in tests:
            with tempfile.TemporaryDirectory(prefix="kedge-e2e.") as folder:
                if not tally.scenario(test, member, *([folder] if folders else []), state=member.output) and not member.running():
                    member.start()
    finally:
        member.close()
    tally.end()
