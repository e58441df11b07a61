#!/usr/bin/python3
"""Power loss under a whole server: records kedge at work, then starts it on what cuts of the trace leave.

    server.py KEDGE TOOLS [--seed N] [--every N] [--choices N] [--rounds N] [--canary] [--keep]

A client does numbered rounds (a transaction that puts a key of its own and the counter, now and then a delete and a
compaction) and notes each one that was acknowledged, while other clients write noise beside it. On each cut the server
must start, hold a counter not below the last acknowledged round, hold exactly the rounds up to the counter, and take a
write. The trace begins with an empty folder, so the first writes of the store's own file are cut and torn too
(etcd#16596). TOOLS holds record.so and cuts_pipe. Last line: "N passed, N failed".
"""
import argparse
import base64
import http.client
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from gateway import b64
from ports import free_port


class Server:
    """One kedge on a data folder. Its log goes to a file beside it."""

    def __init__(self, program, data, log, env=None, more=()):
        self.port, peer = free_port(), free_port()
        client_url, peer_url = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [program, "--data-dir", data, "--name", "one", "--snapshot-count", "25",
                 "--backend-batch-interval", "20ms",
                 "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
                 "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                 "--initial-cluster", f"one={peer_url}", *more],
                stdout=out, stderr=out, env=dict(os.environ, **(env or {})))

    def wait_ready(self, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return f"ended with {self.process.returncode}"
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return None
            except OSError:
                pass
            time.sleep(0.01)
        return "not ready in time"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Client:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def call(self, path, body):
        self.connection.request("POST", path, json.dumps(body))
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {answer}")
        return answer


# --- the work: a function of the round's number, so that the check knows what must be there ---

def value_of(number):
    return f"{number}:" + "v" * (number * 7919 % 3000)


def deleted_by(number):
    """The round whose key round `number` deletes, or None."""
    return number - 5 if number % 6 == 0 and number > 5 else None


def do_round(client, number):
    operations = [{"requestPut": {"key": b64(f"round/{number:06}"), "value": b64(value_of(number))}},
                  {"requestPut": {"key": b64("counter"), "value": b64(str(number))}}]
    if deleted_by(number) is not None:
        operations.append({"requestDeleteRange": {"key": b64(f"round/{deleted_by(number):06}")}})
    answer = client.call("/v3/kv/txn", {"success": operations})
    if number % 15 == 0:
        client.call("/v3/kv/compaction", {"revision": answer["header"]["revision"]})


def make_noise(port, stop, seed):
    client, chance = Client(port), random.Random(seed)
    while not stop.is_set():
        client.call("/v3/kv/put", {"key": b64(f"noise/{chance.randrange(50)}"),
                                   "value": b64("n" * chance.randrange(2000))})
        time.sleep(0.003)


def work(arguments, folder, trace, more=()):
    """The client, too, is preloaded with the recorder: its notes are part of the trace."""
    env = {"LD_PRELOAD": os.path.join(arguments.tools, "record.so"), "POWERLOSS_ROOT": folder,
           "POWERLOSS_TRACE": trace}
    server = Server(arguments.kedge, folder, folder + ".log", env, more)
    trouble = server.wait_ready()
    if trouble is not None:
        sys.exit(f"recorded server: {trouble}; {folder}.log")
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import server; "
            "server.note_rounds(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))")
    stop = threading.Event()
    noise = [threading.Thread(target=make_noise, args=(server.port, stop, arguments.seed + i)) for i in range(2)]
    for thread in noise:
        thread.start()
    try:
        subprocess.run([sys.executable, "-B", "-c", code, os.path.dirname(os.path.abspath(__file__)),
                        str(server.port), folder, str(arguments.rounds)],
                       env=dict(os.environ, **env), check=True)
    finally:
        stop.set()
        for thread in noise:
            thread.join()
        server.kill()


def note_rounds(port, folder, rounds):
    client = Client(port)
    acked = os.open(os.path.join(folder, "acked"), os.O_WRONLY | os.O_CREAT, 0o600)
    for number in range(1, rounds + 1):
        do_round(client, number)
        os.write(acked, struct.pack("=Q", number))
        time.sleep(0.005 * (number % 3))


# --- the check ---

def rows(client, prefix):
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    answer = client.call("/v3/kv/range", {"key": b64(prefix), "range_end": b64(end)})
    return {base64.b64decode(kv["key"]).decode(): base64.b64decode(kv.get("value", "")).decode()
            for kv in answer.get("kvs", [])}


def what_is_wrong(client, acked):
    counter = int(rows(client, "counter").get("counter", "0"))
    if counter < acked:
        return f"counter {counter}, acknowledged {acked}"
    expected = {f"round/{n:06}": value_of(n) for n in range(1, counter + 1)}
    for n in range(1, counter + 1):
        if deleted_by(n) is not None:
            del expected[f"round/{deleted_by(n):06}"]
    got = rows(client, "round/")
    if got != expected:
        missing, extra = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
        return f"counter {counter}: missing {missing[:5]}, too many {extra[:5]}, or other values"
    client.call("/v3/kv/put", {"key": b64("after"), "value": b64("loss")})
    return None if rows(client, "after").get("after") == "loss" else "a put after the start is not there"


def check_cut(arguments, folder, acked):
    server = Server(arguments.kedge, folder, folder + ".log")
    try:
        return server.wait_ready() or what_is_wrong(Client(server.port), acked)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        server.kill()


def cuts(arguments, trace, folder):
    """What cuts_pipe says of each cut, while it is in the folder: number, event, a number of the recording's own, kind."""
    numbers = (str(n) for n in (arguments.seed, arguments.choices, arguments.every))
    with subprocess.Popen([os.path.join(arguments.tools, "cuts_pipe"), trace, folder, *numbers],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pipe:
        for line in pipe.stdout:
            number, event, noted, kind = line.rstrip("\n").split(" ", 3)
            yield number, event, int(noted), kind
            pipe.stdin.write("ok\n")
            pipe.stdin.flush()
    if pipe.returncode != 0:
        raise RuntimeError(f"cuts_pipe ended with {pipe.returncode}")


def tell(wrong, number, event, kind, log=None):
    print(f"cut {number} after {event} events ({kind}): {wrong}")
    if log is not None:
        with open(log, errors="replace") as f:
            print(f.read()[-1500:])


def replay(arguments, trace, folder, expected_to_fail=False):
    count = 0
    for number, event, acked, kind in cuts(arguments, trace, folder):
        wrong = check_cut(arguments, folder, acked)
        if wrong is not None:
            tell(f"{wrong}; {acked} rounds acknowledged", number, event, kind, None if expected_to_fail else folder + ".log")
            return count, False
        count += 1
    return count, True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kedge")
    parser.add_argument("tools")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--choices", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--keep", action="store_true", help="keep the files of a failure")
    parser.add_argument("--canary", action="store_true", help="a server that syncs nothing must be found out")
    arguments = parser.parse_args()
    top = tempfile.mkdtemp(prefix="kedge-powerloss-")
    arguments.kedge = shutil.copy2(arguments.kedge, top)  # which a build may replace meanwhile
    count, fine = run(arguments, top, "data")
    if fine and arguments.canary:
        print("a server that syncs nothing:")
        _, unnoticed = run(arguments, top, "canary", ["--unsafe-no-fsync"], True)
        fine = not unnoticed
    if fine or not arguments.keep:
        shutil.rmtree(top)
    else:
        print(f"files: {top}")
    print(f"power loss under a server, seed {arguments.seed}: {count} passed, {0 if fine else 1} failed")
    sys.exit(0 if fine else 1)


def run(arguments, top, name, more=(), expected_to_fail=False):
    data, trace = os.path.join(top, name), os.path.join(top, name + ".trace")
    os.mkdir(data)
    work(arguments, data, trace, more)
    return replay(arguments, trace, os.path.join(top, "cut"), expected_to_fail)


if __name__ == "__main__":
    main()
