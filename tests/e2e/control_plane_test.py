#!/usr/bin/python3
"""Kubernetes' own control plane in front of three members: a deployment grows and shrinks while members are killed, watches and
paged lists, old versions, custom resources, a backup that is restored, and etcd replaced below a control plane that goes on."""

import os
import shutil
import sys
import threading
import urllib.parse

import control_plane
import programs
import tally
from cluster import Cluster, Stubs
from control_plane import ControlPlane, Refused, Watch, versions
from etcd3.etcdrpc import rpc_pb2 as pb
from tally import check, check_equal, wait_for

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
THINGS = "/apis/example.com/v1/namespaces/default/things"
NODES = 4

if not control_plane.is_built():
    tally.skip_all("no kube-apiserver: tests/interop/build.sh kubernetes")

# --- what is in the store ---


def make_nodes(plane):
    room = {"cpu": "64", "memory": "256Gi", "pods": "200"}
    for i in range(NODES):
        plane.post("/api/v1/nodes", {"kind": "Node", "metadata": {"name": f"node-{i}"}})
        plane.patch(f"/api/v1/nodes/node-{i}/status", {"status": {
            "capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}})
        plane.patch(f"/api/v1/nodes/node-{i}", {"spec": {"taints": None}})


def make_deployment(plane, replicas):
    labels = {"app": "web"}
    plane.post(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            # without a kubelet nobody would confirm that a pod has ended
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "none"}]}}}})


def pods(plane):
    return plane.get(PODS)["items"]


def wait_for_pods(plane, count):
    """Until there are so many, and each is bound to a node. One whose deletion was cut off in the middle waits for a kubelet to
    end it."""
    def done():
        now = [p for p in pods(plane) if "deletionTimestamp" not in p["metadata"]]
        return len(now) == count and all(p["spec"].get("nodeName") for p in now)

    wait_for(f"{count} pods on nodes", done, 120)


def scale(plane, replicas):
    plane.patch(f"{DEPLOYMENTS}/web", {"spec": {"replicas": replicas}})


# --- scenarios, each going on where the one before ended ---


def test_a_deployment_is_scheduled(cluster, plane):
    make_nodes(plane)
    make_deployment(plane, 20)
    wait_for_pods(plane, 20)
    check_equal("nodes that got some", len({p["spec"]["nodeName"] for p in pods(plane)}), NODES)


def test_members_are_killed_while_it_grows_and_shrinks(cluster, plane):
    watch = Watch(plane, PODS, plane.get(PODS))
    for replicas, victim in ((60, "leader"), (100, "follower"), (30, "leader")):
        scale(plane, replicas)
        member = cluster.leader() if victim == "leader" else cluster.followers()[0]
        member.kill()
        wait_for_pods(plane, replicas)
        member.start()
    wait_for("the watch sees all", lambda: watch.wrong or versions(watch.objects.values()) == versions(pods(plane)), 30)
    watch.stop()
    check_equal("what was wrong with the watch", watch.wrong, [])
    check(len(watch.events) > 200, f"only {len(watch.events)} events")


def test_no_write_that_was_confirmed_is_lost(cluster, plane):
    """Many writers of one object with optimistic locking, as controllers do; the leader dies meanwhile."""
    plane.post(MAPS, {"metadata": {"name": "counter"}, "data": {"n": "0"}})
    confirmed = []

    def add():
        for _ in range(25):
            while True:
                now = plane.get(f"{MAPS}/counter")
                now["data"]["n"] = str(int(now["data"]["n"]) + 1)
                try:
                    answer = plane.once("PUT", f"{MAPS}/counter", now)
                    confirmed.append((int(answer["data"]["n"]), int(answer["metadata"]["resourceVersion"])))
                    break
                except Refused as refused:
                    if refused.status not in (409, 429, 500, 503, 504):
                        raise

    writers = [threading.Thread(target=add) for _ in range(4)]
    for writer in writers:
        writer.start()
    leader = cluster.leader()
    leader.kill()
    leader.start()
    for writer in writers:
        writer.join(120)
    check_equal("confirmed", len(confirmed), 100)
    check_equal("counts that two writers were told", len({n for n, _ in confirmed}), 100)
    check_equal("the order of versions", sorted(confirmed), sorted(confirmed, key=lambda c: c[1]))
    last = int(plane.get(f"{MAPS}/counter")["data"]["n"])
    check(last >= max(confirmed)[0], f"the counter is at {last}, but {max(confirmed)[0]} was confirmed")


def test_pages_and_old_versions(cluster, plane):
    for i in range(120):
        plane.post(MAPS, {"metadata": {"name": f"map-{i:03}"}, "data": {"v": "x" * 500}})
    whole = plane.get(f"{MAPS}?resourceVersion=")
    version, found, more = whole["metadata"]["resourceVersion"], [], ""
    while True:
        page = plane.get(f"{MAPS}?limit=7" + (f"&continue={urllib.parse.quote(more)}" if more else ""))
        check_equal("a page's version", page["metadata"]["resourceVersion"] >= version, True)
        found += page["items"]
        more = page["metadata"].get("continue")
        if not more:
            break
        plane.patch(f"{MAPS}/map-119", {"data": {"v": more[-8:]}})  # the pages are of one version all the same
    check_equal("the pages", versions(found), versions(whole["items"]))
    plane.delete(f"{MAPS}/map-000")
    old = plane.get(f"{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")
    check_equal("as it was", versions(old["items"]), versions(whole["items"]))


def test_custom_resources(cluster, plane):
    plane.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
        "metadata": {"name": "things.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})

    def served():
        try:
            return plane.once("GET", THINGS)
        except Refused:
            return None

    watch = Watch(plane, THINGS, wait_for("they are served", served))
    for i in range(50):
        plane.post(THINGS, {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": f"thing-{i}"},
                            "text": "äöü" * 100})
    plane.delete(THINGS)
    wait_for("all are gone again for the watch", lambda: watch.wrong or len(watch.events) >= 100, 30)
    watch.stop()
    check_equal("what was wrong with the watch", watch.wrong, [])
    check_equal("left", watch.objects, {})


def test_what_was_compacted_is_gone(cluster, plane):
    """kube-apiserver compacts every ten seconds here."""
    before = plane.get(MAPS)["metadata"]["resourceVersion"]

    def gone():
        plane.patch(f"{MAPS}/map-001", {"data": {"v": str(len(tries))}})
        tries.append(None)
        try:
            plane.once("GET", f"{MAPS}?resourceVersion={before}&resourceVersionMatch=Exact")
        except Refused as refused:
            return refused.status
        return None

    tries = []
    check_equal("the status of an old version", wait_for("a compaction", gone, 60), 410)


def test_a_backup_becomes_a_new_cluster(cluster, plane):
    plane.stop()
    held = dump(cluster)
    file = os.path.join(plane.folder, "backup.db")
    result = programs.kedgectl("snapshot", "save", file, endpoints=cluster.members[0].endpoint)
    check_equal("the backup", result.status, 0)
    for member in cluster.members:
        member.stop()
        shutil.rmtree(member.data)
        done = programs.kedgeutl("snapshot", "restore", file, f"--name={member.name}", f"--initial-cluster={member.initial}",
                                 f"--initial-advertise-peer-urls={member.peer_url}", f"--data-dir={member.data}",
                                 "--bump-revision=1000000", "--mark-compacted")
        check_equal(f"restored: {done.errors}", done.status, 0)
    cluster.start()
    check_equal("all keys", dump(cluster), held)
    plane.start()
    wait_for_pods(plane, 30)
    scale(plane, 45)
    wait_for_pods(plane, 45)
    versions_now = [int(p["metadata"]["resourceVersion"]) for p in pods(plane)]
    check(max(versions_now) > 1000000, f"no revision goes back: {max(versions_now)}")


def dump(cluster):
    """All that Kubernetes keeps, with the versions, once all members have the same."""
    cluster.same_hash()
    with Stubs(cluster.members[0]) as s:
        answer = s.kv.Range(pb.RangeRequest(key=b"/registry/", range_end=b"/registry0"), timeout=30)
    return [pair.SerializeToString() for pair in answer.kvs]


def test_etcd_is_replaced_below_a_control_plane_that_goes_on():
    if not programs.is_there(programs.ETCD):
        raise tally.Skipped("no official etcd")
    cluster = Cluster(3, program=programs.ETCD)
    plane = ControlPlane(cluster.endpoints)
    try:
        cluster.start()
        plane.start()
        make_nodes(plane)
        make_deployment(plane, 25)
        wait_for_pods(plane, 25)
        before = versions(pods(plane))
        watch = Watch(plane, PODS, plane.get(PODS))
        # Not stopped one after the other: etcd takes its time, and controllers that can't renew their leases for ten seconds end.
        for member in cluster.members:
            member.kill()
            member.program = programs.KEDGE
        cluster.start()
        check_equal("the pods", versions(pods(plane)), before)
        scale(plane, 50)
        wait_for_pods(plane, 50)
        wait_for("the watch sees all", lambda: watch.wrong or versions(watch.objects.values()) == versions(pods(plane)), 30)
        watch.stop()
        check_equal("what was wrong with the watch", watch.wrong, [])
    except Exception as error:
        raise AssertionError(plane.last_words() + cluster.last_words()) from error
    finally:
        plane.close()
        cluster.close()


def main():
    cluster = Cluster(3)
    plane = ControlPlane(cluster.endpoints, "--etcd-compaction-interval=10s")
    try:
        cluster.start()
        plane.start()
        own = [t for t in tally.scenarios(globals()) if t is not test_etcd_is_replaced_below_a_control_plane_that_goes_on]
        tally.in_turn(own, cluster, plane, state=lambda: plane.last_words() + cluster.last_words())
    finally:
        plane.close()
        cluster.close()
    tally.scenario(test_etcd_is_replaced_below_a_control_plane_that_goes_on)
    tally.end()


if __name__ == "__main__":
    sys.exit(main())
