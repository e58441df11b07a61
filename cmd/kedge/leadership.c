#include "cmd/kedge/leadership.h"

#include "base/error.h"
#include "base/log.h"
#include <inttypes.h>
#include <stdio.h>

void leadership_init(struct leadership *leadership, struct peers *peers)
{
    *leadership = (struct leadership){.peers = peers};
}

static struct core *the_core(const struct leadership *leadership)
{
    return leadership->peers->member->core;
}

/* --- the log --- */

static void log_role(uint64_t id, const struct raft_status *status)
{
    char text[128];
    snprintf(text, sizeof text, "%" PRIx64 " became %s at term %" PRIu64, id, raft_role_name(status->role),
             status->term);
    log_info(text, log_str("logger", "raft"));
}

static void log_leader(uint64_t id, uint64_t before, const struct raft_status *status)
{
    char text[160];
    if (status->leader == RAFT_NONE) {
        snprintf(text, sizeof text, "raft.node: %" PRIx64 " lost leader %" PRIx64 " at term %" PRIu64, id, before,
                 status->term);
    } else if (before == RAFT_NONE) {
        snprintf(text, sizeof text, "raft.node: %" PRIx64 " elected leader %" PRIx64 " at term %" PRIu64, id,
                 status->leader, status->term);
    } else {
        snprintf(text, sizeof text,
                 "raft.node: %" PRIx64 " changed leader from %" PRIx64 " to %" PRIx64 " at term %" PRIu64, id, before,
                 status->leader, status->term);
    }
    log_info(text, log_str("logger", "raft"));
}

void leadership_log(struct leadership *leadership)
{
    struct raft_status status = core_raft_status(the_core(leadership));
    if (status.role != leadership->role || status.term != leadership->term) {
        log_role(status.id, &status);
        leadership->role = status.role;
        leadership->term = status.term;
    }
    if (status.leader != leadership->leader) {
        log_leader(status.id, leadership->leader, &status);
        leadership->leader = status.leader;
    }
}

/* --- leaving --- */

static size_t voters(const struct kv *kv)
{
    size_t count, found = 0;
    const struct kv_member *members = kv_members(kv, &count);
    for (size_t i = 0; i < count; i++) {
        found += !members[i].learner;
    }
    return found;
}

static void over(struct leadership *leadership, int error)
{
    struct raft_status status = core_raft_status(the_core(leadership));
    if (error != 0) {
        log_warn("leadership transfer failed", log_hex("local-member-id", status.id),
                 log_str("error", error_text(error)));
    } else {
        log_info("leadership transfer finished", log_hex("local-member-id", status.id),
                 log_hex("old-leader-member-id", status.id), log_hex("new-leader-member-id", status.leader),
                 log_duration("took", loop_clock_ns() - leadership->begun_ns));
    }
    leadership->left(leadership->owner);
}

static void transferred(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    over(request->owner, error);
}

void leadership_leave(struct leadership *leadership, void (*left)(void *owner), void *owner)
{
    struct core *core = the_core(leadership);
    struct raft_status status = core_raft_status(core);
    leadership->left = left;
    leadership->owner = owner;
    leadership->begun_ns = loop_clock_ns();
    if (status.role != RAFT_LEADER) {
        left(owner);
        return;
    }
    if (voters(core_kv(core)) < 2) {
        log_info("skipped leadership transfer for single voting member cluster", log_hex("local-member-id", status.id),
                 log_hex("current-leader-member-id", status.leader));
        left(owner);
        return;
    }
    leadership->to = peers_longest_connected(leadership->peers);
    log_info("leadership transfer starting", log_hex("local-member-id", status.id),
             log_hex("current-leader-member-id", status.leader), log_hex("transferee-member-id", leadership->to));
    leadership->request = (struct core_request){.done = transferred, .owner = leadership};
    int error = leadership->to == RAFT_NONE ? ERR_UNHEALTHY : core_transfer(core, &leadership->request, leadership->to);
    if (error != 0) {
        over(leadership, error);
    }
    loop_again(leadership->peers->member->loop);
}
