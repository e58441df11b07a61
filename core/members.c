/* Changes of the membership on their way into the log, and leadership handed over (mvcc.md "Membership", "MoveLeader").
 *
 * What etcd checks before it proposes is checked here; what depends on the log alone is checked when the entry is
 * applied (kv/members.c). Raft takes one change at a time and drops a second one silently, so that its proposer waits
 * in vain: here the next one waits until the first was applied. */
#include "core/internal.h"

#include "base/check.h"
#include "kv/members_json.h"
#include "raft/codec.h"
#include "raft/ids.h"

/* A member counts as connected after so long without interruption (limits.tsv). */
#define HEALTH_INTERVAL_MS 5000
/* A learner may vote when it has this much of the leader's log, in percent. */
#define LEARNER_READY_PERCENT 90

void members_init(struct core *core)
{
    list_init(&core->conf_waiting);
    list_init(&core->promotes);
    list_init(&core->transfers);
}

/* --- who is there --- */

/* Voters but for one, and how many of them have started: have published a name. */
struct voters {
    size_t count, started;
};

static struct voters voters_without(const struct core *core, uint64_t id)
{
    struct voters voters = {0};
    size_t count;
    const struct kv_member *members = kv_members(core->kv, &count);
    for (size_t i = 0; i < count; i++) {
        if (members[i].learner || members[i].id == id) {
            continue;
        }
        voters.count++;
        voters.started += members[i].name[0] != '\0';
    }
    return voters;
}

static bool started_quorum(struct voters voters)
{
    return voters.started >= voters.count / 2 + 1;
}

/* A member without connections reaches nobody, and there is nobody to reach. */
static uint64_t active_since(const struct core *core, uint64_t id)
{
    return core->env->active_since_ms == NULL ? 0 : core->env->active_since_ms(core->env, id);
}

static bool connected(const struct core *core, uint64_t id)
{
    uint64_t since = active_since(core, id);
    return id == core->config.member_id || (since != 0 && since + HEALTH_INTERVAL_MS < core->now_ms);
}

static size_t connected_voters(const struct core *core)
{
    size_t count, connections = 0;
    const struct kv_member *members = kv_members(core->kv, &count);
    for (size_t i = 0; i < count; i++) {
        connections += !members[i].learner && connected(core, members[i].id);
    }
    return connections;
}

/* --- etcd's checks, by the functions that hold them there --- */

/* mayAddMember. One started member of one may always be joined by a second: that is how a lost cluster is rebuilt. */
static int may_add(const struct core *core, bool learner)
{
    if (!core->config.strict_reconfig) {
        return 0;
    }
    struct voters voters = voters_without(core, RAFT_NONE);
    struct voters after = {.count = voters.count + 1, .started = voters.started};
    bool second = voters.started == 1 && after.count == 2;
    if (!learner && !second && !started_quorum(after)) {
        return ERR_NOT_ENOUGH_STARTED_MEMBERS;
    }
    if (voters.count > 1 && connected_voters(core) < (voters.count + 1) / 2 + 1) {
        return ERR_UNHEALTHY;
    }
    return 0;
}

/* mayRemoveMember. A member that is down may go, it is in no quorum anyway. Without the strict check too, the last
 * voter stays: raft could not go on. */
static int may_remove(const struct core *core, uint64_t id)
{
    const struct kv_member *member = kv_member(core->kv, id);
    if (member != NULL && member->learner) {
        return 0;
    }
    struct voters voters = voters_without(core, RAFT_NONE), left = voters_without(core, id);
    if (left.count == 0 || (core->config.strict_reconfig && !started_quorum(left))) {
        return ERR_NOT_ENOUGH_STARTED_MEMBERS;
    }
    if (!core->config.strict_reconfig || (id != core->config.member_id && active_since(core, id) == 0)) {
        return 0;
    }
    return connected_voters(core) - 1 < 1 + (voters.count - 1) / 2 ? ERR_UNHEALTHY : 0;
}

/* mayPromoteMember: who is not in raft's configuration is not found; whether it is a learner is seen at apply. */
static int may_promote(const struct core *core, uint64_t id)
{
    struct raft_progress learner, leader;
    if (!raft_progress(core->raft, core->config.member_id, &leader)) {
        return ERR_NOT_LEADER;
    }
    if (!raft_progress(core->raft, id, &learner)) {
        return ERR_MEMBER_NOT_FOUND;
    }
    if (learner.match * 100 < leader.match * LEARNER_READY_PERCENT) {
        return ERR_LEARNER_NOT_READY;
    }
    struct voters voters = voters_without(core, RAFT_NONE);
    struct voters after = {.count = voters.count + 1, .started = voters.started + 1};
    return core->config.strict_reconfig && !started_quorum(after) ? ERR_NOT_ENOUGH_STARTED_MEMBERS : 0;
}

/* --- proposing --- */

static int propose(struct core *core, struct core_request *request, enum raft_conf_change_type type, uint64_t node_id,
                   struct bytes context)
{
    struct buffer out = {0};
    request->id = core_next_id(core);
    raft_conf_change_encode(&out, &(struct raft_conf_change){request->id, type, node_id, context});
    propose_queue(core, request, shared_copy(buffer_bytes(&out)), &core->conf_waiting);
    buffer_free(&out);
    return 0;
}

static int propose_member(struct core *core, struct core_request *request, enum raft_conf_change_type type,
                          const struct kv_member *member)
{
    struct buffer json = {0};
    members_json_write(&json, member);
    int error = propose(core, request, type, member->id, buffer_bytes(&json));
    buffer_free(&json);
    return error;
}

int core_member_add(struct core *core, struct core_request *request, char *const *peer_urls, size_t peer_url_count,
                    bool learner, uint64_t *id)
{
    int error = core->stopping ? ERR_STOPPED : may_add(core, learner);
    if (error != 0) {
        return error;
    }
    int64_t seconds = core->wall_ms / 1000;
    do { /* one that was added and removed within this second has this second's id */
        *id = ids_member_added((const char *const *)peer_urls, peer_url_count, "", seconds++);
    } while (kv_member_removed(core->kv, *id));
    const struct kv_member member = {
        .id = *id, .name = "", .peer_urls = peer_urls, .peer_url_count = peer_url_count, .learner = learner};
    return propose_member(core, request, learner ? RAFT_ADD_LEARNER : RAFT_ADD_NODE, &member);
}

int core_member_update(struct core *core, struct core_request *request, uint64_t id, char *const *peer_urls,
                       size_t peer_url_count)
{
    const struct kv_member member = {.id = id, .name = "", .peer_urls = peer_urls, .peer_url_count = peer_url_count};
    return core->stopping ? ERR_STOPPED : propose_member(core, request, RAFT_UPDATE_NODE, &member);
}

int core_member_remove(struct core *core, struct core_request *request, uint64_t id)
{
    int error = core->stopping ? ERR_STOPPED : may_remove(core, id);
    return error != 0 ? error : propose(core, request, RAFT_REMOVE_NODE, id, (struct bytes){0});
}

int members_promote(struct core *core, struct core_request *request, uint64_t id)
{
    int error = may_promote(core, id);
    if (error != 0) {
        return error;
    }
    struct buffer json = {0};
    members_json_promote(&json, id);
    error = propose(core, request, RAFT_ADD_NODE, id, buffer_bytes(&json));
    buffer_free(&json);
    return error;
}

/* The change that this leader proposed last is not applied yet, whether somebody still waits for it or not. */
static bool change_under_way(const struct core *core)
{
    return core->conf_at.term == core->term && core->conf_at.index > core->applied;
}

/* A new leader first has to apply what it found in its log: a change may be in there. A follower can't know. */
static bool may_propose(const struct core *core)
{
    return core->leader != RAFT_NONE && (core->role != RAFT_LEADER || core->leading) && !change_under_way(core) &&
           propose_find((struct core *)core, core->conf_id) == NULL;
}

static void propose_next(struct core *core)
{
    struct core_waiting *waiting = list_first(&core->conf_waiting, struct core_waiting, node);
    struct core_request *request = waiting->request;
    struct raft_position at;
    int error = raft_propose(core->raft, RAFT_ENTRY_CONF_CHANGE, waiting->data, &at);
    if (error == ERR_NO_LEADER) {
        return;
    }
    propose_unqueue(waiting);
    request->state = REQUEST_PROPOSED;
    core->conf_id = request->id;
    core->conf_at = at; /* {0, 0} if the leader is another member */
    if (error != 0) {
        propose_take(core, request->id);
        request->done(request, error, NULL);
    }
}

/* --- leadership --- */

int core_transfer(struct core *core, struct core_request *request, uint64_t to)
{
    const struct kv_member *member = kv_member(core->kv, to);
    if (core->stopping) {
        return ERR_STOPPED;
    }
    if (core->role != RAFT_LEADER) {
        return ERR_NOT_LEADER;
    }
    if (member == NULL || member->learner) {
        return ERR_BAD_LEADER_TRANSFEREE;
    }
    int error = raft_transfer(core->raft, to);
    if (error != 0) {
        return error;
    }
    request->id = to;
    request->expires_ms = core->now_ms + core->config.request_timeout_ms;
    request->state = REQUEST_TRANSFER;
    request->reached = false;
    list_push_back(&core->transfers, &request->node);
    return 0;
}

static void transfer_end(struct core_request *request, int error)
{
    list_remove(&request->node);
    request->state = REQUEST_NONE;
    request->done(request, error, NULL);
}

/* Raft gives a transfer up after an election timeout; and nothing comes of it when the other has gone, as when all
 * members are stopped at once. (etcd's MoveLeader waits for the request's own time.) One that was not there yet may
 * still come: a member that was started a moment ago hears its leader before the leader takes it for active. */
static bool given_up(const struct core *core, struct core_request *request)
{
    struct raft_status status = raft_status(core->raft);
    bool active = active_since(core, request->id) != 0;
    request->reached |= active;
    return status.role == RAFT_LEADER && ((request->reached && !active) || status.transferee == RAFT_NONE);
}

void members_slice(struct core *core)
{
    list_each(node, &core->transfers)
    {
        struct core_request *request = container_of(node, struct core_request, node);
        if (core->leader == request->id || core->now_ms >= request->expires_ms || given_up(core, request)) {
            transfer_end(request, core->leader == request->id ? 0 : ERR_TIMEOUT_LEADER_TRANSFER);
        }
    }
    promote_slice(core);
    if (!list_empty(&core->conf_waiting) && may_propose(core)) {
        propose_next(core);
    }
}

uint64_t members_deadline(const struct core *core)
{
    if (!list_empty(&core->conf_waiting) && may_propose(core)) {
        return core->now_ms;
    }
    uint64_t at = promote_deadline(core);
    if (!list_empty(&core->transfers)) {
        uint64_t expires = list_first(&core->transfers, struct core_request, node)->expires_ms;
        at = expires < at ? expires : at;
    }
    return at;
}

void members_fail_all(struct core *core, int error)
{
    promote_fail_all(core, error);
    while (!list_empty(&core->transfers)) {
        transfer_end(list_first(&core->transfers, struct core_request, node), error);
    }
}
