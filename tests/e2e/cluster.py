"""Several members that are one cluster, on free loopback ports, each stopped by its process id."""

import time

import grpc
from etcd3.etcdrpc import rpc_pb2 as pb
from etcd3.etcdrpc import rpc_pb2_grpc as stubs

from member import Member
from programs import kedgectl


class Cluster:
    def __init__(self, size=3, *flags, program=None):
        self.flags, self.program, self.made = flags, program, size
        self.members = [Member(*flags, program=program, name=f"m{i + 1}") for i in range(size)]
        initial = self.initial()
        for member in self.members:
            member.initial = initial

    def initial(self, *more):
        return ",".join(f"{m.name}={m.peer_url}" for m in [*self.members, *more])

    def start(self, wait=60):
        for member in self.members:
            member.begin()
        for member in self.members:
            member.wait_ready(wait)
        return self

    def joining(self):
        """A member to be added: started by the caller once the cluster knows it."""
        self.made += 1
        member = Member(*self.flags, program=self.program, name=f"m{self.made}")
        member.initial, member.state = self.initial(member), "existing"
        return member

    @property
    def endpoints(self):
        return ",".join(m.endpoint for m in self.members)

    def running(self):
        return [m for m in self.members if m.running()]

    def leader(self, wait=30):
        """The member that takes itself for the leader of the highest term that any knows."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            leader, leader_term, highest = None, 0, 0
            for member in self.running():
                try:
                    with Stubs(member) as s:
                        status = s.maintenance.Status(pb.StatusRequest(), timeout=1)
                except grpc.RpcError:
                    continue
                highest = max(highest, status.raftTerm)
                if status.leader == status.header.member_id and status.raftTerm >= leader_term:
                    leader, leader_term = member, status.raftTerm
            if leader is not None and leader_term == highest:
                return leader
            time.sleep(0.02)
        raise AssertionError(f"no leader within {wait} s")

    def followers(self):
        leader = self.leader()
        return [m for m in self.running() if m is not leader]

    def change(self, *arguments, wait=60):
        """kedgectl member …, tried until it is taken: all members must have been there for five seconds."""
        end = time.monotonic() + wait
        while (result := kedgectl("member", *arguments, endpoints=self.endpoints)).status != 0:
            if time.monotonic() > end:
                raise AssertionError(f"member {arguments}: {result.errors}")
            time.sleep(0.1)
        return result.out

    def last_words(self):
        """Of each member's log, to be shown with what went wrong."""
        return "\n".join(f"--- {m.name}{'' if m.running() else ' (ended)'}\n{m.output(12)[:4000]}" for m in self.members)

    def same_hash(self, wait=30):
        """Waits until HashKV is equal on all members that run; gives it."""
        end = time.monotonic() + wait
        while True:
            try:
                hashes, revision = [], 0
                for member in self.running():
                    with Stubs(member) as s:
                        revision = revision or s.kv.Range(pb.RangeRequest(key=b"x"), timeout=5).header.revision
                        answer = s.maintenance.HashKV(pb.HashKVRequest(revision=revision), timeout=10)
                        hashes.append((answer.hash, answer.compact_revision))
                if len(set(hashes)) == 1:
                    return hashes[0][0]
            except grpc.RpcError as error:
                hashes = error
            if time.monotonic() > end:
                raise AssertionError(f"hashes differ: {hashes}")
            time.sleep(0.1)

    def close(self):
        for member in self.members:
            member.close()


class Stubs:
    """A connection to one member, for `with`."""

    def __init__(self, member):
        self.channel = grpc.insecure_channel(member.endpoint, options=[("grpc.enable_retries", 0),
                                                                      ("grpc.use_local_subchannel_pool", 1),
                                                                      ("grpc.max_receive_message_length", -1)])
        self.kv = stubs.KVStub(self.channel)
        self.lease = stubs.LeaseStub(self.channel)
        self.watch = stubs.WatchStub(self.channel)
        self.cluster = stubs.ClusterStub(self.channel)
        self.maintenance = stubs.MaintenanceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.channel.close()
