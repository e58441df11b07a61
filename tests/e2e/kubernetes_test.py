#!/usr/bin/python3
"""What deploy/kubernetes/ describes, run as processes: the StatefulSet's members with their probes, the CronJob's and the Jobs'
own scripts, and the kubectl commands of docs/kubernetes.md and docs/backup.md from the pages (kubernetes.py stands in for
Kubernetes)."""

import os
import re
import shutil
import subprocess
import tempfile
import time

import kubernetes
import tally
from programs import KEDGE, KEDGECTL, KEDGEUTL, ROOT, environment, run
from tally import check

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.join(ROOT, "deploy", "kubernetes")


class Cluster:
    """A folder with programs, manifests and state; kubectl works on it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kedge-e2e.")
        os.chmod(self.folder, 0o755)  # pods are other users
        self.bin = os.path.join(self.folder, "bin")
        os.mkdir(self.bin)
        for program in (KEDGE, KEDGECTL, KEDGEUTL):
            shutil.copy(program, self.bin)
        tools = os.path.join(self.folder, "tools")
        os.mkdir(tools)
        with open(os.path.join(tools, "kubectl"), "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\nexec /usr/bin/python3 {HERE}/kubernetes.py "$@"\n')
        os.chmod(os.path.join(tools, "kubectl"), 0o755)
        self.env = os.environ | {"KEDGE_KUBE": self.folder, "PATH": tools + ":" + os.environ["PATH"]}
        self.manifests = os.path.join(self.folder, "manifests")
        shutil.copytree(DEPLOY, self.manifests)

    def sh(self, script, good=True):
        """Runs a shell script at the root of the repository; gives what it printed."""
        done = subprocess.run(["sh", "-ec", script], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=120,
                              check=False)  # fmt: skip
        check((done.returncode == 0) == good, f"status {done.returncode} of\n{script}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def page(self, page):
        script = subprocess.run([f"{ROOT}/tests/docs/run", "--show", "kubernetes", f"{ROOT}/docs/{page}"], check=True,
                                capture_output=True, text=True).stdout  # fmt: skip
        before, change, after = script.partition("id=$(")
        self.sh(before)
        if change:
            time.sleep(5.5)  # members are not changed before all have reached each other for five seconds
            self.sh(change + after)

    def kube(self):
        return kubernetes.Kube(self.folder)

    def ctl(self, member, *words):
        env = environment(ETCDCTL_ENDPOINTS=f"http://{self.kube().address(f'kedge-{member}')}:2379")
        result = run(KEDGECTL, *words, env=env)
        check(result.status == 0, f"{words}: {result}")
        return result.out

    def edit(self, name, old, new):
        path = os.path.join(self.manifests, name)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        assert old in text, (name, old)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))

    def claim(self, name, *below):
        return os.path.join(self.folder, "claims", name, *below)

    def backups(self):
        return sorted(f for f in os.listdir(self.claim("kedge-backup")))

    def apply(self, kube, name):
        for thing in kubernetes.manifests(os.path.join(self.manifests, name)):
            kube.apply(thing)

    def backup(self, name, good=True):
        """A run of the CronJob as it stands in the folder of manifests; gives its log."""
        kube = self.kube()
        self.apply(kube, "backup.yaml")
        status = kube.run_cron_job("kedge-backup", name)
        kube.save()
        assert (status == 0) == good, (name, status, kube.log(name))
        return kube.log(name)

    def saved(self, name):
        """The same; gives the name of the file."""
        return re.search("^saved and verified: (.*)$", self.backup(name), re.MULTILINE).group(1)

    def restore(self, file, token, good=True):
        """Runs the three Jobs; gives their logs."""
        kube = self.kube()
        jobs = [f"kedge-restore-{i}" for i in range(3)]
        for job in jobs:
            if kube.find("Job", job):
                kubernetes.delete(kube, "job", job)
        data = {"FILE": file, "TOKEN": token}
        kube.apply({"kind": "ConfigMap", "metadata": {"name": "kedge-restore"}, "data": data})
        self.apply(kube, "restore/jobs.yaml")
        kube.save()
        for job in jobs:
            assert (kube.state["done"][job] == 0) == good, (job, kube.log(job))
        return [kube.log(job) for job in jobs]

    def scale(self, members):
        kube = self.kube()
        statefulset = kube.find("StatefulSet", "kedge")
        statefulset["spec"]["replicas"] = members
        kube.reconcile(statefulset)
        kube.save()
        return kube

    def stop_members(self):
        self.scale(0)

    def start_members(self):
        self.scale(3).all_ready()

    def close(self):
        self.kube().close()


def test_the_pages_begin_a_cluster_save_it_and_restore_it(c):
    c.page("kubernetes.md")
    c.ctl(0, "put", "kept", "yes")
    # The page's restore is of the page's backup: what comes between the two is lost.
    c.page("backup.md")
    assert c.ctl(1, "get", "kept", "--print-value-only") == "yes\n"
    left = os.listdir(c.claim("data-kedge-2"))
    assert left == ["data"], left


def test_revisions_go_on_far_above_those_before_a_restore(c):
    before = int(c.ctl(0, "get", "kept", "-w", "fields").split('"Revision" : ')[1].split()[0])
    file = c.saved("for-revisions")
    c.stop_members()
    c.restore(file, "revisions")
    c.start_members()
    for member in range(3):
        after = int(c.ctl(member, "get", "kept", "-w", "fields").split('"Revision" : ')[1].split()[0])
        assert after > before + 100_000_000, (before, after)
    assert "compacted" in c.sh(f"kubectl exec kedge-0 -- kedgectl get kept --rev {before}", good=False)


def test_backups_are_pruned_to_the_number_wanted_oldest_first(c):
    c.edit("backup.yaml", 'value: "48"', 'value: "3"')
    # More than one digit of revision more, and names of others.
    for name in ("kedge-20200101T000000Z-r9.db", "kedge-20200101T000001Z-r10.db"):
        with open(c.claim("kedge-backup", name), "w", encoding="utf-8") as f:
            f.write("old")
    for name in ("notes.txt", "kedge-before-upgrade.db"):
        with open(c.claim("kedge-backup", name), "w", encoding="utf-8") as f:
            f.write("not a scheduled one")
    names = []
    for i in range(4):
        c.ctl(0, "put", "n", str(i))
        names.append(c.saved(f"prune-{i}"))
    assert c.backups() == sorted([*names[1:], "notes.txt", "kedge-before-upgrade.db"]), c.backups()
    for name in names[1:]:
        assert os.stat(c.claim("kedge-backup", name)).st_mode & 0o777 == 0o600


def test_a_number_that_is_none_removes_nothing(c):
    before = c.backups()
    last = 'value: "3"'
    for bad in ("0", "", "-1", "3x"):
        c.edit("backup.yaml", last, f'value: "{bad}"')
        last = f'value: "{bad}"'
        assert "how many backups are kept" in c.backup(f"number{bad}", good=False)
    c.edit("backup.yaml", last, 'value: "3"')
    assert c.backups() == before


def test_a_backup_that_fails_changes_nothing(c):
    before = c.backups()
    c.edit("backup.yaml", "http://kedge:2379", "http://127.0.0.1:1")
    kube = c.kube()
    kube.apply({"kind": "Secret", "metadata": {"name": "kedge-client"}, "stringData": {"ETCDCTL_COMMAND_TIMEOUT": "1s"}})
    kube.save()
    c.backup("unreachable", good=False)
    assert c.backups() == before
    c.edit("backup.yaml", "http://127.0.0.1:1", "http://kedge:2379")


def test_a_backup_that_does_not_verify_gets_no_name(c):
    before = c.backups()
    # In kedgectl's place: it writes a file that is almost right.
    os.rename(os.path.join(c.bin, "kedgectl"), os.path.join(c.bin, "kedgectl.real"))
    with open(os.path.join(c.bin, "kedgectl"), "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\n"$0.real" "$@" && printf x | dd of="$3" bs=1 seek=5000 conv=notrunc 2>/dev/null\n')
    os.chmod(os.path.join(c.bin, "kedgectl"), 0o755)
    c.backup("damaged", good=False)
    assert [f for f in c.backups() if not f.startswith(".new")] == before
    os.rename(os.path.join(c.bin, "kedgectl.real"), os.path.join(c.bin, "kedgectl"))
    c.backup("after-damaged")
    assert not [f for f in c.backups() if f.startswith(".new")], c.backups()


def test_a_damaged_file_is_not_restored(c):
    c.ctl(0, "put", "kept", "still")
    good = [f for f in c.backups() if f.startswith("kedge-2")][-1]
    with open(c.claim("kedge-backup", good), "rb") as f:
        data = bytearray(f.read())
    data[len(data) // 2] ^= 1
    with open(c.claim("kedge-backup", "bad.db"), "wb") as f:
        f.write(data)
    os.chmod(c.claim("kedge-backup", "bad.db"), 0o644)
    c.stop_members()
    c.restore("bad.db", "damaged", good=False)
    c.restore("missing.db", "missing", good=False)
    c.start_members()
    assert c.ctl(2, "get", "kept", "--print-value-only") == "still\n"


def test_a_restore_beside_a_running_member_is_refused(c):
    good = [f for f in c.backups() if f.startswith("kedge-2")][-1]
    logs = c.restore(good, "running", good=False)
    assert all("runs on this volume" in log for log in logs), logs
    assert c.ctl(0, "get", "kept", "--print-value-only") == "still\n"


def test_a_restore_done_twice_is_done_once(c):
    good = c.saved("good")
    c.stop_members()
    c.restore(good, "twice")
    c.start_members()
    c.ctl(0, "put", "after", "restore")
    c.stop_members()
    assert all("already" in log for log in c.restore(good, "twice"))
    c.start_members()
    assert c.ctl(1, "get", "after", "--print-value-only") == "restore\n"


def test_a_restore_that_was_cut_off_goes_through_the_next_time(c):
    good = c.saved("cut")
    c.stop_members()
    # Between the old data's leaving and the new data's coming, and before that.
    os.rename(c.claim("data-kedge-0", "data"), c.claim("data-kedge-0", "data.before-cut"))
    shutil.copytree(c.claim("data-kedge-0", "data.before-cut"), c.claim("data-kedge-0", "restoring"))
    os.mkdir(c.claim("data-kedge-1", "restoring"))
    if os.getuid() == 0:
        for folder in (c.claim("data-kedge-0", "restoring"), c.claim("data-kedge-1", "restoring")):
            subprocess.run(["chown", "-R", "65532:65532", folder], check=True)
    c.restore(good, "cut")
    c.start_members()
    assert c.ctl(0, "get", "after", "--print-value-only") == "restore\n"
    assert len(set(line.split(", ")[1] for line in c.ctl(0, "endpoint", "hashkv", "--cluster").splitlines())) == 1


def test_a_member_alone_lives_and_is_not_ready(c):
    c.stop_members()
    kube = c.scale(1)
    (pod,) = kube.state["pods"].values()
    end = time.monotonic() + 30
    while not kube.probe(pod, "startupProbe"):
        assert time.monotonic() < end, kube.log("kedge-0")
        time.sleep(0.1)
    assert kube.probe(pod, "livenessProbe") and not kube.probe(pod, "readinessProbe")
    c.start_members()


def test_a_missing_config_map_keeps_a_restore_from_starting(c):
    c.sh("kubectl delete configmap kedge-restore; kubectl delete job -l app.kubernetes.io/component=restore")
    c.sh(f"kubectl apply -f {c.manifests}/restore/jobs.yaml")
    assert "CreateContainerConfigError" in c.sh("kubectl logs job/kedge-restore-0")
    assert c.ctl(0, "get", "after", "--print-value-only") == "restore\n"


def main():
    cluster = Cluster()
    try:
        tally.in_turn(tally.scenarios(globals()), cluster)
    finally:
        cluster.close()
    tally.end()


main()
