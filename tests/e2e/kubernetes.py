#!/usr/bin/python3
"""Enough of Kubernetes to run what deploy/kubernetes/ describes: pods are processes on addresses of loopback, claims are folders.

As a program it stands in for kubectl (kubectl below has the verbs); $KEDGE_KUBE is the folder of the cluster's state. What a
container runs, its variables, its probes and volumes are taken from the manifests as they are, but for paths and names: mount
paths become folders of claims, services' names and 0.0.0.0 become addresses. Pods run as their runAsUser where that is possible.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

NAMESPACE = "default"
READY_SECONDS, STOP_SECONDS = 60, 30


class Refused(Exception):
    pass


class Kube:
    def __init__(self, folder):
        self.folder = folder
        self.path = os.path.join(folder, "state.json")
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as f:
                self.state = json.load(f)
        else:
            network = f"127.{random.randint(1, 250)}.{random.randint(0, 250)}"
            self.state = {"network": network, "objects": {}, "pods": {}, "done": {}}
            for name in ("claims", "logs"):
                os.makedirs(os.path.join(folder, name))

    def save(self):
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            json.dump(self.state, f)
        os.rename(self.path + ".new", self.path)

    def find(self, kind, name):
        return self.state["objects"].get(f"{kind.lower()}/{name}")

    # --- objects ----------------------------------------------------------------------------------------------------

    def apply(self, thing):
        for item in thing["items"] if thing["kind"] == "List" else [thing]:
            kind, name = item["kind"].lower(), item["metadata"]["name"]
            self.state["objects"][f"{kind}/{name}"] = item
            if kind == "persistentvolumeclaim":
                self.claim(name)
            elif kind == "statefulset":
                self.reconcile(item)
            elif kind == "job" and name not in self.state["done"]:
                self.run_job(item)

    def claim(self, name):
        """The folder of a claim, made at its first use."""
        path = os.path.join(self.folder, "claims", name)
        if not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, 0o777)  # what fsGroup does for the pod's user
        return path

    # --- containers -------------------------------------------------------------------------------------------------

    def address(self, pod):
        return f"{self.state['network']}.{10 + int(pod.rsplit('-', 1)[1])}"

    def here(self, text, pod, mounts):
        """A text of a container's, with the folders and addresses that there are."""
        for path, folder in mounts.items():
            text = text.replace(path, folder)
        for key, service in self.state["objects"].items():
            name = service["metadata"]["name"]
            if not key.startswith("service/"):
                continue
            if service["spec"].get("clusterIP") == "None":
                text = re.sub(rf"([a-z0-9-]+)\.{name}(\.{NAMESPACE}\.svc)?(?=:)", lambda m: self.address(m.group(1)), text)
            elif f"//{name}:" in text:
                text = text.replace(f"//{name}:", f"//{self.ready_for(service)}:")
        return text.replace("0.0.0.0", self.address(pod["name"])) if "0.0.0.0" in text else text

    def ready_for(self, service):
        wanted = service["spec"]["selector"].items()
        for pod in self.state["pods"].values():
            if wanted <= pod["labels"].items() and self.probe(pod, "readinessProbe"):
                return self.address(pod["name"])
        return self.state["network"] + ".1"  # nobody listens there

    def variables(self, container, pod):
        env = {}
        for source in container.get("envFrom", []):
            (kind, reference), prefix = next(iter(source.items())), source.get("prefix", "")
            env |= {prefix + k: v for k, v in self.data(kind[: -len("Ref")], reference).items()}
        for entry in container.get("env", []):
            env[entry["name"]] = self.value(entry, pod, env)
        return env

    def data(self, kind, reference):
        found = self.find(kind, reference["name"])
        if found is None and not reference.get("optional"):
            raise Refused(f"CreateContainerConfigError: {kind} {reference['name']} not found")
        return (found or {}).get("data", {}) | (found or {}).get("stringData", {})

    def value(self, entry, pod, env):
        if "valueFrom" not in entry:
            return expand(entry["value"], env)
        (kind, reference) = next(iter(entry["valueFrom"].items()))
        if kind == "fieldRef":
            return field(reference["fieldPath"], pod)
        data = self.data(kind[: -len("KeyRef")], reference)
        if reference["key"] not in data:
            raise Refused(f"CreateContainerConfigError: no key {reference['key']} in {reference['name']}")
        return data[reference["key"]]

    def run(self, pod, argv, env, log):
        user = pod["spec"].get("securityContext", {}).get("runAsUser") if os.getuid() == 0 else None
        inherited = {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}
        env = inherited | env | {"PATH": os.path.join(self.folder, "bin") + ":/usr/bin:/bin"}
        return subprocess.Popen(argv, env=env, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                start_new_session=True, user=user, group=user, extra_groups=[] if user else None)  # fmt: skip

    def start(self, pod):
        """Starts the pod's only container; gives its process."""
        (container,) = pod["spec"]["containers"]
        folders = {}
        for volume in pod["spec"].get("volumes", []):
            folders[volume["name"]] = self.claim(volume["persistentVolumeClaim"]["claimName"])
        pod["mounts"] = {m["mountPath"]: folders[m["name"]] for m in container.get("volumeMounts", [])}
        env = self.variables(container, pod)
        argv = [self.here(expand(a, env), pod, pod["mounts"]) for a in container["command"] + container.get("args", [])]
        pod["env"] = {k: self.here(v, pod, pod["mounts"]) for k, v in env.items()}
        with open(os.path.join(self.folder, "logs", pod["name"]), "ab") as log:
            return self.run(pod, argv, pod["env"], log)

    # --- jobs -------------------------------------------------------------------------------------------------------

    def run_job(self, job):
        """Runs a Job to its end, once: what it would try again is seen in the same way."""
        name, template = job["metadata"]["name"], job["spec"]["template"]
        pod = {"name": name, "labels": template["metadata"].get("labels", {}), "spec": template["spec"]}
        try:
            status = self.start(pod).wait(job["spec"].get("activeDeadlineSeconds", 600))
        except Refused as refused:
            with open(os.path.join(self.folder, "logs", name), "a", encoding="utf-8") as log:
                log.write(f"{refused}\n")
            status = "refused"
        self.state["done"][name] = status
        return status

    def run_cron_job(self, cron_job, name):
        template = self.find("CronJob", cron_job)["spec"]["jobTemplate"]
        job = {"kind": "Job", "metadata": template.get("metadata", {}) | {"name": name}, "spec": template["spec"]}
        self.state["objects"][f"job/{name}"] = job
        return self.run_job(job)

    def log(self, pod):
        with open(os.path.join(self.folder, "logs", pod), encoding="utf-8", errors="replace") as log:
            return log.read()

    # --- members ----------------------------------------------------------------------------------------------------

    def reconcile(self, statefulset):
        name, spec = statefulset["metadata"]["name"], statefulset["spec"]
        wanted = [f"{name}-{i}" for i in range(spec["replicas"])]
        for pod in [p for p in self.state["pods"] if p not in wanted]:
            self.stop(pod)
        for pod_name in wanted:
            if pod_name in self.state["pods"]:
                continue
            template = json.loads(json.dumps(spec["template"]))
            pod = {"name": pod_name, "labels": template["metadata"]["labels"], "spec": template["spec"]}
            for claim in spec["volumeClaimTemplates"]:
                volume = {"name": claim["metadata"]["name"]}
                volume["persistentVolumeClaim"] = {"claimName": f"{volume['name']}-{pod_name}"}
                pod["spec"].setdefault("volumes", []).append(volume)
            pod["pid"] = self.start(pod).pid
            self.state["pods"][pod_name] = pod

    def stop(self, name):
        pod = self.state["pods"].pop(name)
        for sign in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + STOP_SECONDS
            while alive(pod["pid"], sign) and time.monotonic() < end:
                sign = 0
                time.sleep(0.02)

    def probe(self, pod, kind):
        (container,) = pod["spec"]["containers"]
        get = container[kind]["httpGet"]
        (port,) = [p["containerPort"] for p in container["ports"] if p["name"] == get["port"]]
        try:
            with urllib.request.urlopen(f"http://{self.address(pod['name'])}:{port}{get['path']}", timeout=5) as answer:
                return answer.status == 200
        except (OSError, urllib.error.HTTPError):
            return False

    def all_ready(self, seconds=READY_SECONDS):
        end = time.monotonic() + seconds
        waiting = [(p, k) for p in self.state["pods"].values() for k in ("startupProbe", "livenessProbe", "readinessProbe")]
        while waiting:
            waiting = [(pod, kind) for pod, kind in waiting if not self.probe(pod, kind)]
            if waiting and (time.monotonic() > end or not alive(waiting[0][0]["pid"])):
                pod = waiting[0][0]["name"]
                raise Refused(f"{pod} is not ready:\n{self.log(pod)}")
            time.sleep(0.05)

    def close(self):
        for pod in list(self.state["pods"]):
            self.stop(pod)
        shutil.rmtree(self.folder, ignore_errors=True)


def expand(text, env):
    return re.sub(r"\$\((\w+)\)", lambda m: env.get(m.group(1), m.group(0)), text)


def field(path, pod):
    label = re.fullmatch(r"metadata\.labels\['(.*)'\]", path)
    return pod["labels"][label.group(1)] if label else {"metadata.name": pod["name"], "metadata.namespace": NAMESPACE}[path]


def alive(pid, sign=0):
    """Whether a process is there and not only its exit status; sends it a signal."""
    try:
        os.kill(pid, sign)
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


# --- kubectl ----------------------------------------------------------------------------------------------------------


def manifests(path):
    import yaml  # slow to load, and seldom needed

    files = sorted(os.path.join(path, f) for f in os.listdir(path) if f.endswith(".yaml")) if os.path.isdir(path) else [path]
    for name in files:
        with open(name, encoding="utf-8") as f:
            yield from (d for d in yaml.safe_load_all(f) if d)


def chosen(kube, words, options):
    """kind and names of what `kind name`, `kind/name...` or `kind -l label=value` means."""
    short = {"pvc": "persistentvolumeclaim", "sts": "statefulset"}
    if "-l" in options:
        key, value = options["-l"].split("=")
        kind = words[0]
        names = [o["metadata"]["name"] for k, o in kube.state["objects"].items()
                 if k.startswith(kind + "/") and o["metadata"].get("labels", {}).get(key) == value]  # fmt: skip
        if not names:
            raise Refused(f"error: no matching resources found: {kind} {key}={value}")
        return [(kind, name) for name in names]
    pairs = [w.split("/") for w in words] if "/" in words[0] else [(words[0], w) for w in words[1:]]
    return [(short.get(kind, kind), name) for kind, name in pairs]


def delete(kube, kind, name):
    if kind == "pod":
        kube.stop(name)  # its StatefulSet makes it anew
        for key, thing in list(kube.state["objects"].items()):
            if key.startswith("statefulset/"):
                kube.reconcile(thing)
    elif kind == "persistentvolumeclaim":
        shutil.rmtree(os.path.join(kube.folder, "claims", name))
    else:
        del kube.state["objects"][f"{kind}/{name}"]
        kube.state["done"].pop(name, None)
        if os.path.exists(os.path.join(kube.folder, "logs", name)):
            os.remove(os.path.join(kube.folder, "logs", name))


def create(kube, words, options, literals):
    kind, name = words
    if kind == "configmap":
        data = dict(literal.split("=", 1) for literal in literals)
        kube.apply({"kind": "ConfigMap", "metadata": {"name": name}, "data": data})
    elif kind == "job" and options["--from"].startswith("cronjob/"):
        kube.run_cron_job(options["--from"].split("/")[1], name)
    else:
        raise Refused(f"create {kind}: not here")


def wait(kube, pairs, condition):
    if condition == "delete":
        return
    if condition != "condition=complete":
        raise Refused(f"wait --for={condition}: not here")
    for _, name in pairs:
        if kube.state["done"][name] != 0:
            raise Refused(f"timed out waiting for the condition on jobs/{name}\n{kube.log(name)}")


def execute(kube, name, argv):
    pod = kube.state["pods"][name]
    argv = [kube.here(a, pod, pod["mounts"]) for a in argv]
    # What the container would find at its own localhost.
    env = pod["env"] | {"ETCDCTL_ENDPOINTS": f"http://{kube.address(name)}:2379"}
    if kube.run(pod, argv, env, sys.stdout).wait(60) != 0:
        raise Refused(f"command terminated: {argv}")


def parse(argv):
    """Words, options (the last of each), literals, what is behind --."""
    words, options, literals = [], {}, []
    rest = argv[argv.index("--") + 1 :] if "--" in argv else []
    argv = iter(argv[: argv.index("--")] if "--" in argv else argv)
    for a in argv:
        key, _, value = a.partition("=")
        if key in ("-f", "-l", "-p", "-n"):
            options[key] = next(argv)
        elif key == "--from-literal":
            literals.append(value)
        elif a.startswith("-"):
            options[key] = value
        else:
            words.append(a)
    return words, options, literals, rest


def kubectl(kube, argv):
    (verb, *words), options, literals, rest = parse(argv)
    if verb == "apply":
        for thing in manifests(options["-f"]):
            kube.apply(thing)
            print(f"{thing['kind'].lower()} configured")
    elif verb == "create":
        create(kube, words, options, literals)
    elif verb == "wait":
        wait(kube, chosen(kube, words, options), options["--for"])
    elif verb == "logs":
        print(kube.log(words[0].rpartition("/")[2]), end="")
    elif verb == "scale":
        ((kind, name),) = chosen(kube, words, options)
        thing = kube.find(kind, name)
        thing["spec"]["replicas"] = int(options["--replicas"])
        kube.reconcile(thing)
    elif verb == "rollout":
        kube.all_ready()
    elif verb == "exec":
        execute(kube, words[0], rest)
    elif verb == "patch":
        kube.find(*words)["data"].update(json.loads(options["-p"])["data"])
    elif verb == "delete":
        for kind, name in chosen(kube, words, options):
            delete(kube, kind, name)
    else:
        raise Refused(f"{verb}: not here")


def main():
    kube = Kube(os.environ["KEDGE_KUBE"])
    try:
        kubectl(kube, sys.argv[1:])
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    finally:
        kube.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
