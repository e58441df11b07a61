/* Committed entries into the state machine, in order, a slice a turn; what each asks for besides; and its waiter's
 * answer. An entry that takes long (a delete of many keys) is continued in the next turns; readers in between see the
 * state before it. */
#include "core/internal.h"

#include "base/check.h"

#define ARENA_AT_ONCE ((size_t)256 * 1024)
#define SPENT_BLOCKS 32

/* Every response has its header as its first field. */
struct headed_response {
    ProtobufCMessage base;
    Etcdserverpb__ResponseHeader *header;
};

/* On a full disk nothing leaves pending, but nothing large is admitted either: what is committed then is applied all
 * the same, or linearizable reads and the alarm's own entry would wait for space. */
static bool held_back(struct core *core)
{
    return (kv_pending_bytes(core->kv) > CORE_MAX_PENDING_BYTES && !core->disk_full) ||
           watch_backlog_bytes(core->hub) > CORE_MAX_PENDING_BYTES;
}

/* Takes the next entry up. False: none, or its bytes have to come back from the log first. */
static bool begin(struct core *core)
{
    if (core->applied >= core->commit || held_back(core) || install_holds(core)) {
        return false;
    }
    const struct raft_entry *entry = raft_entry(core->raft, core->applied + 1);
    if (entry == NULL) {
        return false;
    }
    CHECK(entry->type != RAFT_ENTRY_CONF_CHANGE_V2, "entry %llu: etcd proposes no such change",
          (unsigned long long)entry->index);
    core->apply_data = entry->data == NULL ? NULL : shared_ref(entry->data);
    core->apply = (struct kv_apply){
        .index = entry->index,
        .term = entry->term,
        .type = entry->type == RAFT_ENTRY_CONF_CHANGE ? KV_ENTRY_CONF_CHANGE : KV_ENTRY_NORMAL,
        .data = shared_bytes(core->apply_data),
        .arena = &core->apply_arena,
        .now_ms = core->now_ms,
    };
    kv_apply_begin(core->kv, &core->apply);
    core->applying = true;
    return true;
}

/* The first entry of an own term is empty: once it is applied this member knows all that earlier leaders promised, and
 * may start the lease clock (mvcc.md "Promotion"). */
static void notice_own_term(struct core *core)
{
    const struct kv_apply *apply = &core->apply;
    if (!core->leading && core->role == RAFT_LEADER && apply->term == core->term && apply->type == KV_ENTRY_NORMAL &&
        apply->data.len == 0) {
        core->leading = true;
        core->stats.terms_led++;
        read_ask_again(core);
        space_started(core);
        clock_leader_changed(core, true);
        version_leading(core);
    }
}

static void change_members(struct core *core)
{
    const struct raft_conf_change change = {.type = (enum raft_conf_change_type)core->apply.conf_change.type,
                                            .node_id = core->apply.conf_change.node_id};
    raft_apply_conf_change(core->raft, &change, NULL);
    core->conf_applied = core->apply.index;
    if (change.type == RAFT_REMOVE_NODE && change.node_id == core->config.member_id &&
        raft_status(core->raft).role == RAFT_LEADER) {
        /* While the others still listen. (In etcd it leads on until it stops, and they wait out an election timeout.)
         */
        (void)raft_transfer(core->raft, RAFT_NONE);
    }
    if (core->env->members_changed != NULL) {
        core->env->members_changed(core->env);
    }
}

static void answer(struct core *core)
{
    struct kv_apply *apply = &core->apply;
    struct core_request *request = apply->request_id == 0 ? NULL : propose_take(core, apply->request_id);
    if (request == NULL) {
        return;
    }
    if (apply->response != NULL) {
        Etcdserverpb__ResponseHeader *header = ((struct headed_response *)apply->response)->header;
        if (header != NULL) {
            core_header(core, header, false);
        }
    }
    request->arena = apply->arena;
    request->done(request, apply->error, apply->response);
}

/* Small blocks are used again; many, which took an entry of very many operations, are given back in slices. */
static void clear_arena(struct core *core)
{
    if (core->apply_arena.total > ARENA_AT_ONCE) {
        arena_join(&core->spent, &core->apply_arena);
    }
    arena_reset(&core->apply_arena);
}

static void finish(struct core *core)
{
    struct kv_apply *apply = &core->apply;
    core->applied = apply->index;
    core->applying = false;
    core->stats.applied_total++;
    notice_own_term(core);
    if (apply->effects & KV_EFFECT_CONF_CHANGE) {
        change_members(core);
    }
    if (apply->effects & KV_EFFECT_RAISE_NO_SPACE) {
        space_raise(core);
    }
    if (apply->effects & KV_EFFECT_CHECKPOINT) {
        core->checkpoint_wanted_index = core->applied;
    }
    if (apply->effects & KV_EFFECT_CLUSTER_VERSION) {
        kv_update_storage_version(core->kv);
    }
    answer(core);
    shared_unref(core->apply_data);
    core->apply_data = NULL;
    clear_arena(core);
}

/* What an entry takes, in units of a small put: by its own size and by what it left for the store. */
static uint64_t entry_cost(const struct core *core, size_t pending_before)
{
    size_t pending = kv_pending_bytes(core->kv);
    return 1 + core->apply.data.len / 4096 + (pending > pending_before ? pending - pending_before : 0) / 1024;
}

bool apply_slice(struct core *core)
{
    uint64_t before = core->applied;
    unsigned steps = 0;
    for (uint64_t cost = 0; cost < CORE_TURN_ENTRIES && steps < CORE_TURN_STEPS;) {
        size_t pending = kv_pending_bytes(core->kv);
        if (!core->applying && !begin(core)) {
            break;
        }
        core->apply.wanted = core->apply.request_id != 0 && propose_find(core, core->apply.request_id) != NULL;
        int progress = kv_apply_step(core->kv, &core->apply, KV_BUDGET);
        CHECK(progress >= 0, "entry %llu: %s", (unsigned long long)core->apply.index, error_name(progress));
        if (progress == KV_MORE) {
            steps++;
            continue;
        }
        cost += entry_cost(core, pending);
        finish(core);
    }
    if (core->applied > before) {
        raft_applied(core->raft, core->applied);
        forwarded_stand(core);
        propose_end_lost(core);
        store_applied(core);
    }
    if (core->spent.blocks != NULL) {
        arena_free_some(&core->spent, SPENT_BLOCKS);
    }
    return core->applying || core->spent.blocks != NULL ||
           (core->applied < core->commit && !held_back(core) && !core->log_read_out && !install_holds(core));
}
