/* The cluster's version: the lowest of all members' server versions, asked by the leader on their peer ports every four
 * seconds and when its term begins, and set through the log (mvcc.md "Cluster version and downgrade").
 *
 * As long as one does not answer, nothing is known: a cluster without a version then gets 3.0, one with a version keeps
 * it. It rises to the minimum; it falls only while a downgrade is under way, to that one's target. */
#include "core/internal.h"

#include "base/check.h"
#include "kv/version.h"
#include <stdio.h>

#define OWN_MAJOR 3
#define OWN_MINOR 7
#define CHECK_MS 4000

/* All calls of a round, and what came of them so far. */
struct core_version_round {
    struct core *core;
    struct core_peer_call *calls;
    size_t count, open;
    unsigned major, minor; /* the lowest yet */
    bool unknown;          /* somebody did not answer */
};

/* --- setting it --- */

static void version_set(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)error;
    (void)response;
    ((struct core_own *)request->owner)->in_flight = false;
}

static void set_version(struct core *core, unsigned major, unsigned minor)
{
    char text[32];
    snprintf(text, sizeof text, "%u.%u.0", major, minor);
    Membershippb__ClusterVersionSetRequest request = MEMBERSHIPPB__CLUSTER_VERSION_SET_REQUEST__INIT;
    request.ver = text;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.cluster_version_set = &request;
    own_propose(core, &core->version, &internal, PROPOSE_OWN, version_set);
}

static bool below(unsigned major, unsigned minor, unsigned than_major, unsigned than_minor)
{
    return major < than_major || (major == than_major && minor < than_minor);
}

/* To the target, one minor down, once no server would be above it by more than that. */
static void go_down(struct core *core, const char *target, const struct core_version_round *round, unsigned minor)
{
    unsigned to_major, to_minor;
    if (version_parse(bytes_str(target), &to_major, &to_minor) && to_major == OWN_MAJOR && to_minor + 1 == minor &&
        (round->minor == minor || round->minor == to_minor)) {
        set_version(core, to_major, to_minor);
    }
}

static void decide(struct core *core, const struct core_version_round *round)
{
    unsigned major, minor;
    const char *now = kv_cluster_version(core->kv), *target;
    if (core->version.in_flight || !core->leading) {
        return;
    }
    if (now == NULL) {
        set_version(core, OWN_MAJOR, round->unknown ? 0 : round->minor);
        return;
    }
    if (round->unknown || !version_parse(bytes_str(now), &major, &minor) || round->major != major) {
        return;
    }
    if (kv_downgrade(core->kv, &target)) {
        go_down(core, target, round, minor);
    } else if (below(major, minor, round->major, round->minor)) {
        set_version(core, round->major, round->minor);
    }
}

/* --- asking --- */

static void end_round(struct core_version_round *round)
{
    round->core->version_round = NULL;
    free(round->calls);
    free(round);
}

static void answered(struct core_peer_call *call)
{
    struct core_version_round *round = call->owner;
    unsigned major, minor;
    call->path = NULL; /* over */
    if (call->error != 0 || call->status != 200 || !kv_version_of_page(call->response, "etcdserver", &major, &minor)) {
        round->unknown = true;
    } else if (below(major, minor, round->major, round->minor)) {
        round->major = major;
        round->minor = minor;
    }
    if (--round->open == 0) {
        decide(round->core, round);
        end_round(round);
    }
}

static void ask_all(struct core *core)
{
    size_t count;
    const struct kv_member *members = kv_members(core->kv, &count);
    struct core_version_round *round = mem_zalloc(sizeof *round);
    *round = (struct core_version_round){.core = core, .major = OWN_MAJOR, .minor = OWN_MINOR};
    round->calls = mem_zalloc((count + 1) * sizeof *round->calls);
    for (size_t i = 0; i < count && core->env->peer_call != NULL; i++) {
        if (members[i].id != core->config.member_id) {
            round->calls[round->count++] = (struct core_peer_call){.to = members[i].id,
                                                                   .method = "GET",
                                                                   .path = "/version",
                                                                   .timeout_ms = 1000 + core->config.election_ms,
                                                                   .done = answered,
                                                                   .owner = round};
        }
    }
    round->open = round->count;
    if (round->count == 0) {
        decide(core, round);
        end_round(round);
        return;
    }
    core->version_round = round;
    for (size_t i = 0; i < round->count; i++) {
        core->env->peer_call(core->env, &round->calls[i]);
    }
}

void version_leading(struct core *core)
{
    core->version_due_ms = core->now_ms;
}

void version_slice(struct core *core)
{
    if (!core->leading || core->version_round != NULL || core->version.in_flight ||
        core->now_ms < core->version_due_ms) {
        return;
    }
    core->version_due_ms = core->now_ms + CHECK_MS;
    ask_all(core);
}

uint64_t version_deadline(const struct core *core)
{
    return core->leading && core->version_round == NULL && !core->version.in_flight ? core->version_due_ms : UINT64_MAX;
}

void version_stop(struct core *core)
{
    struct core_version_round *round = core->version_round;
    if (round == NULL) {
        return;
    }
    for (size_t i = 0; i < round->count; i++) {
        if (round->calls[i].path != NULL) {
            core->env->peer_call_cancel(core->env, &round->calls[i]);
        }
    }
    end_round(round);
}
