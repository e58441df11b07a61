#!/usr/bin/python3
"""Changes of the membership on three members: what is refused and in which words, learners, members that move, that were
removed, or that lost their data, and a cluster that begins anew from one of them.

Usage: members_test.py [PROGRAM]   with etcd as the program, what is kedge's own is left out: the rest holds for both"""

import base64
import json
import os
import shutil
import sys
import time
import urllib.error

import tally
from cluster import Cluster
from gateway import b64, post
from ports import free_port
from tally import check, until

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else None
OWN = PROGRAM is None or os.path.basename(PROGRAM).startswith("kedge")


UNKNOWN, INVALID, NOT_FOUND, PRECONDITION, UNAVAILABLE = 2, 3, 5, 9, 14  # gRPC's codes
LEARNERS_DO_NOT = "etcdserver: rpc not supported for learner"


class Refused(Exception):
    """An error of the server's: code and text."""


def call(member, path, request=None, timeout=15):
    """Through the JSON gateway: Debian's stubs are older than learners."""
    try:
        return post(member, path, request or {}, timeout)
    except urllib.error.HTTPError as error:
        body = json.load(error)
        raise Refused(body["code"], body["message"]) from error


def refused(code, text, member, path, request=None):
    try:
        answer = call(member, path, request)
    except Refused as error:
        check(error.args == (code, text), f"{path} {request}: expected {code} {text}, got {error.args}")
        return
    raise AssertionError(f"{path} {request}: expected {text}, got {answer}")


def eventually(member, path, request=None, wait=30):
    """Repeats a call that may be refused while members get to know each other again."""
    end = time.monotonic() + wait
    while True:
        try:
            return call(member, path, request)
        except (Refused, OSError) as error:
            if time.monotonic() > end:
                raise AssertionError(f"{path} {request}: {error}") from error
            time.sleep(0.2)


def ids(cluster):
    """Name (or peer URL, of members that never started) -> id, as the first member that runs lists them."""
    listed = eventually(cluster.running()[0], "cluster/member/list")["members"]
    return {m.get("name") or m["peerURLs"][0]: m["ID"] for m in listed}


def hexadecimal(identity):
    return f"{int(identity):x}"


def add(cluster, member, learner=False):
    """The id that the new member gets."""
    before = set(ids(cluster).values())
    request = {"peerURLs": [member.peer_url], "isLearner": learner}
    answer = eventually(cluster.running()[0], "cluster/member/add", request)
    check(answer["member"]["ID"] not in before and len(answer["members"]) == len(before) + 1, f"added: {answer}")
    return answer["member"]["ID"]


def remove(cluster, identity):
    eventually(cluster.running()[0], "cluster/member/remove", {"ID": identity})


def ended(member, status, text, wait=20):
    until(lambda: not member.running(), wait)
    check(not member.running(), f"{member.name} still runs")
    check(member.process.returncode == status,
          f"{member.name} ended with {member.process.returncode}, not {status}:\n{member.output(20)}")
    check(text in member.output(200), f"{member.name} does not say {text!r}:\n{member.output(5)}")


def put(member, key, value="x"):
    eventually(member, "kv/put", {"key": b64(key), "value": b64(value)})


def get(member, key, serializable=False):
    kvs = eventually(member, "kv/range", {"key": b64(key), "serializable": serializable}).get("kvs")
    return base64.b64decode(kvs[0]["value"]).decode() if kvs else None


def test_what_is_refused(cluster):
    one, other, identities = cluster.members[0], cluster.members[1], ids(cluster)
    exists, gone = "etcdserver: Peer URLs already exists", "etcdserver: member not found"
    taken = {"peerURLs": [other.peer_url]}
    time.sleep(5.2)  # so long must members be connected before any is added
    refused(PRECONDITION, exists, one, "cluster/member/add", taken)
    refused(PRECONDITION, exists, one, "cluster/member/add", {**taken, "isLearner": True})
    refused(INVALID, "etcdserver: given member URLs are invalid", one, "cluster/member/add",
            {"peerURLs": ["http://no-port"]})
    refused(PRECONDITION, exists, one, "cluster/member/update", {**taken, "ID": identities["m1"]})
    refused(NOT_FOUND, gone, one, "cluster/member/update", {"ID": "17", "peerURLs": ["http://127.0.0.1:1"]})
    refused(NOT_FOUND, gone, one, "cluster/member/remove", {"ID": "17"})
    if OWN:  # an etcd dies of it, and so do all others
        for urls in ([], [""], ["foo bar"], ["http://[::1"]):
            refused(INVALID, "etcdserver: given member URLs are invalid", one, "cluster/member/update",
                    {"ID": identities["m1"], "peerURLs": urls})
    if OWN:  # etcd tries for seven seconds when it has to ask the leader
        refused(NOT_FOUND, gone, one, "cluster/member/promote", {"ID": "17"})
    refused(PRECONDITION, "etcdserver: can only promote a learner member", one, "cluster/member/promote",
            {"ID": identities["m1"]})
    leader = cluster.leader()
    follower = cluster.followers()[0]
    move = "maintenance/transfer-leadership"
    refused(PRECONDITION, "etcdserver: bad leader transferee", leader, move, {"targetID": "17"})
    refused(PRECONDITION, "etcdserver: not leader", follower, move, {"targetID": identities[leader.name]})


def test_members_that_never_started_count_against_further_ones(cluster):
    joining = [cluster.joining() for _ in range(3)]
    identities = [add(cluster, member) for member in joining[:2]]
    refused(UNKNOWN, "etcdserver: re-configuration failed due to not enough started members", cluster.running()[0],
            "cluster/member/add", {"peerURLs": [joining[2].peer_url]})
    for identity in identities:
        remove(cluster, identity)
    refused(NOT_FOUND, "etcdserver: member not found", cluster.members[2], "cluster/member/remove",
            {"ID": identities[0]})
    for member in joining:
        member.close()


def test_no_change_may_cost_the_quorum(cluster):
    identities = ids(cluster)
    down = next(m for m in cluster.members if m is not cluster.leader())
    down.kill()
    alive = cluster.running()
    unhealthy = UNAVAILABLE, "etcdserver: unhealthy cluster", alive[0]
    joining = cluster.joining()
    time.sleep(0.5)
    refused(*unhealthy, "cluster/member/remove", {"ID": identities[alive[1].name]})
    refused(*unhealthy, "cluster/member/add", {"peerURLs": [joining.peer_url]})
    refused(*unhealthy, "cluster/member/add", {"peerURLs": [joining.peer_url], "isLearner": True})
    down.start()
    joining.close()


def test_a_learner_serves_little_and_becomes_a_voter(cluster):
    put(cluster.members[0], "before")
    learner = cluster.joining()
    follower = next(m for m in cluster.members if m is not cluster.leader())
    identity = add(cluster, learner, learner=True)
    refused(PRECONDITION, "etcdserver: can only promote a learner member which is in sync with leader", follower,
            "cluster/member/promote", {"ID": identity})
    refused(PRECONDITION, "etcdserver: too many learner members in cluster", follower, "cluster/member/add",
            {"peerURLs": ["http://127.0.0.1:1"], "isLearner": True})
    learner.begin()
    end = time.monotonic() + 30
    while ids(cluster).get(learner.name) != identity and time.monotonic() < end:
        time.sleep(0.05)
    check(get(learner, "before", serializable=True) == "x", "the learner lacks a key")
    refused(PRECONDITION, LEARNERS_DO_NOT, learner, "kv/range", {"key": b64("before")})
    refused(PRECONDITION, LEARNERS_DO_NOT, learner, "kv/put", {"key": b64("before")})
    refused(PRECONDITION, LEARNERS_DO_NOT, learner, "cluster/member/list")
    check(call(learner, "maintenance/status").get("isLearner"), "the learner's status does not say so")
    # which has to ask the leader:
    members = eventually(follower, "cluster/member/promote", {"ID": identity})["members"]
    check(not any(m.get("isLearner") for m in members) and len(members) == 4, f"after the promotion: {members}")
    cluster.members.append(learner)
    put(learner, "after")
    check(get(cluster.members[0], "after") == "x", "what the new voter took")


def test_leadership_goes_where_it_is_told(cluster):
    target, end = cluster.members[-1], time.monotonic() + 30
    while (leader := cluster.leader()) is not target:
        try:
            call(leader, "maintenance/transfer-leadership", {"targetID": ids(cluster)[target.name]})
        except Refused as error:  # on a loaded machine it may have moved by itself meanwhile
            check(time.monotonic() < end, f"leadership does not move: {error}")


def test_a_removed_member_ends_and_stays_away(cluster):
    gone = cluster.members.pop()  # it leads
    identity = ids(cluster)[gone.name]
    remove(cluster, identity)
    ended(gone, 0, "the member has been permanently removed from the cluster")
    cluster.leader()
    gone.begin()
    ended(gone, 0, "the member has been permanently removed from the cluster")
    check(identity not in ids(cluster).values(), "it is back")
    gone.close()


def test_a_member_may_move(cluster):
    moving = next(m for m in cluster.members if m is not cluster.leader())
    identity = ids(cluster)[moving.name]
    moving.stop()
    moving.peer_port = free_port()
    moving.peer_url = f"http://127.0.0.1:{moving.peer_port}"
    answer = call(cluster.running()[0], "cluster/member/update", {"ID": identity, "peerURLs": [moving.peer_url]})
    check(moving.peer_url in [m["peerURLs"][0] for m in answer["members"]], f"the answer: {answer}")
    moving.start()
    put(cluster.members[0], "moved", "here")
    check(get(moving, "moved") == "here", "what the others have")
    initial = cluster.initial()
    for member in cluster.members:
        member.initial = initial


def test_all_members_are_there_after_a_restart(cluster):
    before = ids(cluster)
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.begin()
    for member in cluster.members:
        member.wait_ready()
        listed = call(member, "cluster/member/list", {"linearizable": True})["members"]
        check({m["name"]: m["ID"] for m in listed} == before, f"{member.name} lists {listed}")


def test_a_wiped_member_is_told_how_to_come_back(cluster):
    """kedge's own: an etcd whose data is gone begins with an empty log under its old id."""
    lost = next(m for m in cluster.members if m is not cluster.leader())
    identity = ids(cluster)[lost.name]
    for state in ("new", "existing"):
        if lost.running():
            lost.kill()
        shutil.rmtree(lost.data)
        lost.state = state
        lost.begin()
        ended(lost, 1, f"member {hexadecimal(identity)} has already been bootstrapped")
        check(f"etcdctl member remove {hexadecimal(identity)}" in lost.output(3), "no advice")
    cluster.members.remove(lost)
    remove(cluster, identity)
    cluster.members.append(lost)
    add(cluster, lost)
    lost.start()
    check(ids(cluster)[lost.name] != identity, "the old id")
    check(get(lost, "moved") == "here", "what the others have")


def test_a_member_on_an_old_copy_of_its_data_ends(cluster):
    """An etcd panics then; kedge says what to do."""
    old = next(m for m in cluster.members if m is not cluster.leader())
    copy, newest = old.data + ".copy", old.data + ".newest"
    old.stop()
    shutil.copytree(old.data, copy)
    old.start()
    for i in range(10):
        put(old, f"more{i}")
    old.kill()
    os.rename(old.data, newest)
    os.rename(copy, old.data)
    old.begin()
    ended(old, 1, "has lost entries that it had acknowledged")
    shutil.rmtree(old.data)
    os.rename(newest, old.data)
    old.start()
    check(get(old, "more9") == "x", "with its newest data")


def test_who_does_not_fit_cannot_join(cluster):
    """Texts as etcd has them; the last of a line is what matters."""
    joining = cluster.joining()

    def begin(initial, text):
        joining.initial = initial
        joining.begin()
        ended(joining, 1, text)

    others = cluster.initial()
    begin(f"{others},{joining.name}={joining.peer_url}", "member count is unequal")
    begin(f"{others}", f"couldn't find local name \\\"{joining.name}\\\" in the initial cluster configuration")
    begin(f"x=http://127.0.0.1:1,{joining.name}={joining.peer_url}",
          "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs")
    begin(f"x={joining.peer_url},{joining.name}={joining.peer_url}", "has duplicate url")
    identity = add(cluster, joining, learner=True)
    begin(f"{others},{joining.name}=http://127.0.0.1:1", "PeerURLs: no match found for existing member")
    remove(cluster, identity)
    joining.close()


def test_one_member_goes_on_alone_and_the_cluster_grows_again(cluster):
    put(cluster.members[0], "kept", "yes")
    for member in cluster.members:
        member.kill()
    one = cluster.members[0]
    one.flags.append("--force-new-cluster")
    one.start()
    for member in cluster.members[1:]:
        member.close()
    cluster.members[1:] = []
    check(list(ids(cluster)) == [one.name], "others are still there")
    if OWN:  # etcd drops what this member did not know to be committed
        check(get(one, "kept") == "yes", "an acknowledged write is gone")
    one.stop()
    one.flags.remove("--force-new-cluster")
    one.start()
    joining = cluster.joining()
    add(cluster, joining)
    joining.start()
    cluster.members.append(joining)
    check(get(joining, "moved") == "here", "what the first has")
    cluster.same_hash()


KEDGES = [test_a_wiped_member_is_told_how_to_come_back, test_a_member_on_an_old_copy_of_its_data_ends]


def main():
    cluster = Cluster(3, "--snapshot-count=100", program=PROGRAM)
    try:
        cluster.start()
        tests = [test for test in tally.scenarios(globals()) if OWN or test not in KEDGES]
        tally.in_turn(tests, cluster, state=cluster.last_words)
    finally:
        cluster.close()
    tally.end()


main()
