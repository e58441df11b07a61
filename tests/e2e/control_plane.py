"""Kubernetes' own control plane, with a cluster of ours (or etcd's) as its store: kube-apiserver, kube-controller-manager and
kube-scheduler as `tests/interop/build.sh kubernetes` makes them. There are no kubelets: nodes are but objects, and a pod has
come as far as it can when it is bound to one."""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
import time

import programs
from ports import free_port

APISERVER, CONTROLLERS, SCHEDULER = (
    os.path.join(programs.OFFICIAL, name) for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"))
TOKEN = "of-this-test-only"


def is_built():
    return all(programs.is_there(program) for program in (APISERVER, CONTROLLERS, SCHEDULER))


class Refused(Exception):
    """An answer that is none of 2xx."""

    def __init__(self, status, said):
        super().__init__(f"{status}: {said}")
        self.status = status


class ControlPlane:
    def __init__(self, endpoints, *flags):
        """endpoints: of the store, with commas. flags: of kube-apiserver, besides what it needs."""
        self.endpoints, self.flags = endpoints, flags
        self.folder = tempfile.mkdtemp(prefix="kedge-e2e.")
        self.port = free_port()
        self.processes = {}
        self.insecure = ssl.create_default_context()
        self.insecure.check_hostname, self.insecure.verify_mode = False, ssl.CERT_NONE
        for arguments in (["genrsa", "-out", "sa.key", "2048"], ["rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub"]):
            subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
        with open(self.path("tokens.csv"), "w") as f:
            f.write(f'{TOKEN},admin,admin,"system:masters"\n')
        with open(self.path("kubeconfig"), "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "c",
                       "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                              "insecure-skip-tls-verify": True}}],
                       "users": [{"name": "u", "user": {"token": TOKEN}}],
                       "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}, f)

    def path(self, name):
        return os.path.join(self.folder, name)

    # --- processes ---

    def run(self, program, *flags):
        name = os.path.basename(program)
        with open(self.path(f"{name}.log"), "ab") as log:
            self.processes[name] = subprocess.Popen(
                [program, "--bind-address=127.0.0.1", f"--cert-dir={self.path(name)}", *flags], stdout=log, stderr=log,
                env=programs.environment())

    def start(self, wait=120):
        self.run(APISERVER, f"--secure-port={self.port}", f"--token-auth-file={self.path('tokens.csv')}",
                 "--etcd-servers=" + ",".join(f"http://{e}" for e in self.endpoints.split(",")),
                 "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC",
                 f"--service-account-key-file={self.path('sa.pub')}", f"--service-account-signing-key-file={self.path('sa.key')}",
                 "--service-cluster-ip-range=10.0.0.0/16", "--endpoint-reconciler-type=none", *self.flags)
        end = time.monotonic() + wait
        while not self.ready():
            if time.monotonic() > end or self.processes["kube-apiserver"].poll() is not None:
                raise AssertionError(f"kube-apiserver is not ready:\n{self.last_words()}")
            time.sleep(0.1)
        kubeconfig = f"--kubeconfig={self.path('kubeconfig')}"
        # Nobody tells of the nodes that they live.
        self.run(CONTROLLERS, kubeconfig, f"--secure-port={free_port()}", "--controllers=*,-node-lifecycle-controller",
                 f"--service-account-private-key-file={self.path('sa.key')}")
        self.run(SCHEDULER, kubeconfig, f"--secure-port={free_port()}")
        return self

    def ready(self):
        try:
            return self.once("GET", "/readyz", raw=True) == b"ok"
        except (OSError, Refused, http.client.HTTPException):
            return False

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes = {}

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self, lines=8):
        words = []
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            if os.path.exists(self.path(f"{name}.log")):
                with open(self.path(f"{name}.log"), errors="replace") as f:
                    words.append(f"--- {name}\n" + "".join(f.readlines()[-lines:])[:4000])
        return "\n".join(words)

    # --- the API ---

    def connect(self, timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.insecure, timeout=timeout)

    def send(self, connection, method, path, body=None, patch=False):
        kind = "application/merge-patch+json" if patch else "application/json"
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind})
        return connection.getresponse()

    def once(self, method, path, body=None, raw=False):
        connection = self.connect()
        try:
            answer = self.send(connection, method, path, body, patch=method == "PATCH")
            said = answer.read()
            if answer.status >= 300:
                raise Refused(answer.status, said[:1000])
            return said if raw else json.loads(said)
        finally:
            connection.close()

    def ask(self, method, path, body=None, wait=60):
        """As a client of Kubernetes does: what fails on the way is tried again. A POST that was carried out without that
        having been told is then refused as a conflict, and given as None."""
        end, again = time.monotonic() + wait, False
        while True:
            try:
                return self.once(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > end:
                    raise AssertionError(f"{method} {path}: {error}") from error
            except Refused as refused:
                if again and method == "POST" and refused.status == 409:
                    return None
                if refused.status not in (429, 500, 503, 504) or time.monotonic() > end:
                    raise
            again = True
            time.sleep(0.1)

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body):
        return self.ask("POST", path, body)

    def patch(self, path, body):
        return self.ask("PATCH", path, body)

    def delete(self, path):
        return self.ask("DELETE", path)


class Watch:
    """A watch in a thread of its own, from a version on; a stream that ends is gone on with from where it was, as informers
    do. It holds what it has been told: the objects by name, and every event's type and version."""

    def __init__(self, plane, path, listed):
        self.plane, self.path = plane, path
        self.version = listed["metadata"]["resourceVersion"]
        self.objects = {name(o): o for o in listed["items"]}
        self.events, self.wrong, self.over = [], [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over:
            connection = self.plane.connect(timeout=5)
            try:
                answer = self.plane.send(connection, "GET", f"{self.path}?watch=1&resourceVersion={self.version}")
                if answer.status != 200:
                    time.sleep(0.1)
                    continue
                for line in answer:
                    self.take(json.loads(line))
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
            finally:
                connection.close()

    def take(self, event):
        what, thing = event["type"], event["object"]
        if what == "ERROR":
            self.wrong.append(event)
            self.over = True
            return
        version = thing["metadata"]["resourceVersion"]
        if int(version) <= int(self.version):
            self.wrong.append(f"{version} after {self.version}")
        there = name(thing) in self.objects
        if there == (what == "ADDED"):
            self.wrong.append(f"{what} of {name(thing)}, which was {'' if there else 'not '}there")
        self.version = version
        if what == "DELETED":
            self.objects.pop(name(thing), None)
        else:
            self.objects[name(thing)] = thing
        self.events.append((what, version))

    def stop(self):
        self.over = True


def name(thing):
    metadata = thing["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def versions(things):
    """What identifies the state of each of these objects."""
    return {name(o): (o["metadata"]["uid"], o["metadata"]["resourceVersion"]) for o in things}
