#include "cmd/kedge/force_new.h"

#include "base/check.h"
#include "base/error.h"
#include "kv/members_json.h"
#include "raft/codec.h"
#include <inttypes.h>
#include <stdlib.h>

/* Who is a member once all of the log was applied: the store's members, and changes above its position. */
struct standing {
    struct raft_ids ids;
    bool learner; /* this member itself */
    uint64_t self;
    uint64_t removed_at; /* of the entry that removes it; what follows wasn't looked at */
};

static void add_stored(struct standing *standing, const struct kv *kv)
{
    size_t count;
    const struct kv_member *members = kv_members(kv, &count);
    for (size_t i = 0; i < count; i++) {
        raft_ids_add(&standing->ids, members[i].id);
        standing->learner |= members[i].id == standing->self && members[i].learner;
    }
}

static int add_entry(void *arg, const struct raft_entry *entry)
{
    struct standing *standing = arg;
    struct raft_conf_change change;
    if (entry->type != RAFT_ENTRY_CONF_CHANGE || raft_conf_change_decode(shared_bytes(entry->data), &change) != 0) {
        return 0;
    }
    if (change.type == RAFT_REMOVE_NODE && change.node_id == standing->self) {
        standing->removed_at = entry->index;
        return 1;
    }
    if (change.type == RAFT_REMOVE_NODE) {
        raft_ids_remove(&standing->ids, change.node_id);
    } else if (change.type != RAFT_UPDATE_NODE) {
        raft_ids_add(&standing->ids, change.node_id);
        if (change.node_id == standing->self) {
            standing->learner = change.type == RAFT_ADD_LEARNER;
        }
    }
    return 0;
}

static struct raft_entry *append(struct raft_entry *entries, size_t *count, enum raft_conf_change_type type,
                                 uint64_t id, struct bytes context)
{
    struct buffer data = {0};
    raft_conf_change_encode(&data, &(struct raft_conf_change){.type = type, .node_id = id, .context = context});
    entries[(*count)++] = (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE, .data = shared_copy(buffer_bytes(&data))};
    buffer_free(&data);
    return entries;
}

/* Itself first, so that there is always a voter. */
static size_t changes(const struct member *member, const struct standing *standing, struct raft_entry *entries)
{
    static char *const url[] = {"http://localhost:2380"}; /* as etcd; `member update` gives the right one */
    size_t count = 0;
    struct buffer json = {0};
    if (!raft_ids_has(&standing->ids, member->id)) {
        const struct kv_member self = {.id = member->id, .name = "", .peer_urls = url, .peer_url_count = 1};
        members_json_write(&json, &self);
        append(entries, &count, RAFT_ADD_NODE, member->id, buffer_bytes(&json));
    } else if (standing->learner) {
        members_json_promote(&json, member->id);
        append(entries, &count, RAFT_ADD_NODE, member->id, buffer_bytes(&json));
    }
    for (size_t i = 0; i < standing->ids.count; i++) {
        if (standing->ids.ids[i] != member->id) {
            append(entries, &count, RAFT_REMOVE_NODE, standing->ids.ids[i], (struct bytes){0});
        }
    }
    buffer_free(&json);
    return count;
}

/* Behind `last`, whatever stood there. Its term may be a later one than the state's: a write that was torn may have
 * kept the entries and lost the state (raft_start). */
static void save(struct member *member, uint64_t last, struct raft_entry *entries, size_t count)
{
    struct raft_hard_state state = member->contents.hard_state;
    uint64_t last_term = member->contents.last_term > 0 ? member->contents.last_term : 1;
    if (state.term < last_term) {
        state = (struct raft_hard_state){.term = last_term};
    }
    for (size_t i = 0; i < count; i++) {
        entries[i].index = last + 1 + i;
        entries[i].term = state.term;
    }
    state.commit = last + count;
    if (wal_save(member->wal, entries, count, &state) != 0 || wal_sync(member->wal) != 0) {
        log_fatal("failed to write the write-ahead log", log_str("path", member->wal_dir),
                  log_str("error", wal_reason(member->wal)));
    }
}

static __attribute__((noreturn)) void refuse_removed(const struct member *member)
{
    log_fatal("this member was removed from its cluster and cannot begin a new one under its old id",
              log_hex("local-member-id", member->id),
              log_str("error", "restore a snapshot of it into a new data directory instead"));
}

/* The last entry to be kept. The log ends before one that removes this member, unless that is known to be committed:
 * what is committed by decree must leave somebody who decrees. */
static uint64_t find_standing(struct member *member, struct standing *standing)
{
    char *reason = NULL;
    uint64_t applied = kv_applied_index(member->kv), first = member->contents.first_index;
    add_stored(standing, member->kv);
    int error = wal_replay(member->wal, applied + 1 > first ? applied + 1 : first, add_entry, standing, &reason);
    if (error != 0 && standing->removed_at == 0) {
        log_fatal("failed to read the write-ahead log", log_str("path", member->wal_dir), log_str("error", reason));
    }
    if (kv_member_removed(member->kv, member->id) ||
        (standing->removed_at != 0 && standing->removed_at <= member->contents.hard_state.commit)) {
        refuse_removed(member);
    }
    return standing->removed_at != 0 ? standing->removed_at - 1 : member->contents.last_index;
}

bool force_new_cluster(struct member *member)
{
    struct standing standing = {.self = member->id};
    uint64_t last = find_standing(member, &standing);
    struct raft_entry *entries = mem_zalloc((standing.ids.count + 1) * sizeof *entries);
    size_t count = changes(member, &standing, entries);
    if (count == 0 && last < member->contents.last_index) {
        count = 1; /* an empty one takes the place of what goes */
    }
    if (count > 0) {
        log_warn("forcing a new cluster of this member alone", log_hex("local-member-id", member->id),
                 log_hex("cluster-id", member->cluster_id),
                 log_uint("commit-index", member->contents.hard_state.commit), log_uint("last-index", last),
                 log_uint("dropped-entries", member->contents.last_index - last),
                 log_uint("changes-of-members", count));
        save(member, last, entries, count);
    }
    for (size_t i = 0; i < count; i++) {
        shared_unref(entries[i].data);
    }
    free(entries);
    free(standing.ids.ids);
    return count > 0;
}
