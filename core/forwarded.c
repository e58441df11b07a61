/* Proposals of other members that come while nobody can take them: leadership is being handed over, or there is no
 * leader. Raft would drop them, and their clients would wait in vain; etcd's receiver blocks. Here they wait, and go to
 * whoever leads next, within the time that their own member gives them. */
#include "core/internal.h"

#include "base/check.h"
#include "raft/message.h"

/* etcd's queue for such messages (peer.md "Sizes and timing"); each is one member's proposals of a turn. */
#define MAX_HELD 4096
#define MAX_HELD_BYTES ((size_t)64 << 20)

struct held {
    struct list node;
    uint64_t expires_ms;
    size_t bytes;
    struct raft_message message;
    struct raft_message_owner owner;
};

static bool can_be_taken(const struct core *core)
{
    struct raft_status status = raft_status(core->raft);
    return status.leader != RAFT_NONE && status.transferee == RAFT_NONE;
}

static void drop(struct core *core, struct held *held)
{
    core->held_count--;
    core->held_bytes -= held->bytes;
    list_remove(&held->node);
    raft_message_owner_free(&held->owner);
    free(held);
}

bool forwarded_hold(struct core *core, const struct raft_message *message)
{
    size_t bytes = raft_message_size(message);
    if (message->type != RAFT_MSG_PROPOSE || core->stopping || can_be_taken(core)) {
        return false;
    }
    if (core->held_count >= MAX_HELD || core->held_bytes + bytes > MAX_HELD_BYTES) {
        return true; /* lost, as messages may be */
    }
    struct held *held = mem_zalloc(sizeof *held);
    raft_message_copy(&held->message, &held->owner, message);
    held->bytes = bytes;
    held->expires_ms = core->now_ms + core->config.request_timeout_ms;
    list_push_back(&core->held, &held->node);
    core->held_count++;
    core->held_bytes += bytes;
    return true;
}

/* Proposed anew rather than as a message: the new leader may be who proposed them, and raft sends nothing back. */
static void propose(struct core *core, const struct held *held)
{
    for (size_t i = 0; i < held->message.entry_count && core->now_ms < held->expires_ms; i++) {
        const struct raft_entry *entry = &held->message.entries[i];
        struct raft_position at;
        (void)raft_propose(core->raft, entry->type, entry->data, &at);
    }
}

void forwarded_release(struct core *core)
{
    if (list_empty(&core->held) || !can_be_taken(core)) {
        return;
    }
    while (!list_empty(&core->held)) {
        struct held *held = list_first(&core->held, struct held, node);
        propose(core, held);
        drop(core, held);
    }
}

void forwarded_drop_all(struct core *core)
{
    while (!list_empty(&core->held)) {
        drop(core, list_first(&core->held, struct held, node));
    }
}

/* --- a leader tells this member to take over --- */

/* Nobody stands for election while a committed change of members is not applied (raft.md), and raft forgets the wish.
 * The change may be the leader's own removal: then the wish comes right behind it. */
bool forwarded_hold_stand(struct core *core, const struct raft_message *message)
{
    if (message->type != RAFT_MSG_TIMEOUT_NOW || core->applied >= raft_status(core->raft).commit) {
        return false;
    }
    core->stand = *message;
    core->stand_waits = true;
    return true;
}

/* raft itself sees to it that the wish is of its term. */
void forwarded_stand(struct core *core)
{
    if (core->stand_waits && core->applied >= raft_status(core->raft).commit) {
        core->stand_waits = false;
        raft_step(core->raft, &core->stand);
    }
}
