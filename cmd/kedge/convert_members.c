#include "cmd/kedge/convert_members.h"

#include "base/error.h"
#include "kv/members_json.h"
#include "raft/codec.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What the log says. A change in it may have been voided when it was applied (a URL that somebody had already), and
 * nothing in the log tells: who was only added is a member perhaps. */
struct standing {
    struct raft_ids voters, learners; /* for certain */
    struct raft_ids added;            /* perhaps, as whatever */
    uint64_t last;                    /* entry that counts */
    struct backend_read *store;
    struct arena arena;
    char **reason;
};

static void add(struct standing *s, const struct raft_conf_change *change)
{
    uint64_t id = change->node_id;
    if (raft_ids_has(&s->learners, id) && change->type == RAFT_ADD_NODE) {
        raft_ids_remove(&s->learners, id);
        raft_ids_add(&s->voters, id);
    } else if (!raft_ids_has(&s->voters, id) && !raft_ids_has(&s->learners, id)) {
        raft_ids_add(&s->added, id);
    }
}

static int take(void *arg, const struct raft_entry *entry)
{
    struct standing *s = arg;
    struct raft_conf_change change;
    if (entry->index > s->last || entry->type != RAFT_ENTRY_CONF_CHANGE ||
        raft_conf_change_decode(shared_bytes(entry->data), &change) != 0) {
        return 0;
    }
    if (change.type == RAFT_REMOVE_NODE) {
        raft_ids_remove(&s->voters, change.node_id);
        raft_ids_remove(&s->learners, change.node_id);
        raft_ids_remove(&s->added, change.node_id);
    } else if (change.type != RAFT_UPDATE_NODE && change.node_id != 0) {
        add(s, &change);
    }
    return 0;
}

/* --- beside the store --- */

static int differ(struct standing *s, uint64_t id, const char *store, const char *log)
{
    *s->reason =
        mem_printf("member %" PRIx64 " is %s in its list of members and %s by its log, as an etcd 3.5 before 3.5.26"
                   " could leave it: start the newest etcd 3.5 on it once, which puts the list in order",
                   id, store, log);
    return ERR_INVALID;
}

static int compare_one(struct standing *s, uint64_t id, bool learner)
{
    if (raft_ids_has(&s->voters, id)) {
        return learner ? differ(s, id, "a learner", "a voter") : 0;
    }
    if (raft_ids_has(&s->learners, id)) {
        return learner ? 0 : differ(s, id, "a voter", "a learner");
    }
    return raft_ids_has(&s->added, id) ? 0 : differ(s, id, "there", "not");
}

struct comparison {
    struct standing *s;
    int result;
};

/* A row that is none is noticed when the store is opened for good. */
static bool visit(void *arg, struct bytes key, struct bytes value)
{
    struct comparison *at = arg;
    struct members_json json;
    (void)key;
    if (members_json_read(value, &at->s->arena, &json) == 0) {
        at->result = compare_one(at->s, json.member.id, json.member.learner);
    }
    return at->result == 0;
}

static int compare_missing(struct standing *s, const struct raft_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        char key[20];
        struct bytes value;
        int len = snprintf(key, sizeof key, "%" PRIx64, ids->ids[i]);
        if (backend_get(s->store, BACKEND_MEMBERS, bytes_of(key, (size_t)len), &value) == ERR_ABSENT) {
            return differ(s, ids->ids[i], "not there", "a member");
        }
    }
    return 0;
}

static int compare(struct standing *s)
{
    struct comparison at = {.s = s};
    int error = backend_scan(s->store, BACKEND_MEMBERS, (struct bytes){0}, visit, &at);
    if (error != 0) {
        *s->reason = mem_strdup(error_text(error));
        return error;
    }
    error = at.result != 0 ? at.result : compare_missing(s, &s->voters);
    return error != 0 ? error : compare_missing(s, &s->learners);
}

static void copy_ids(struct raft_ids *to, const struct raft_ids *from)
{
    for (size_t i = 0; i < from->count; i++) {
        raft_ids_add(to, from->ids[i]);
    }
}

int convert_members_check(struct backend_read *store, uint64_t index, const struct wal_contents *log,
                          const char *wal_dir, char **reason)
{
    struct standing s = {.store = store, .last = index, .reason = reason};
    const struct wal_config config = {.fs = wal_fs_posix(), .dir = wal_dir};
    struct wal_contents again;
    if (log->snapshot.index > 0 && log->conf.voters.count == 0) {
        return 0; /* written before 3.5, without its members */
    }
    copy_ids(&s.voters, &log->conf.voters);
    copy_ids(&s.learners, &log->conf.learners);
    int error = wal_verify_entries(&config, &again, take, &s, reason);
    if (error == 0) {
        error = compare(&s);
        wal_contents_free(&again);
    }
    free(s.voters.ids);
    free(s.learners.ids);
    free(s.added.ids);
    arena_free(&s.arena);
    return error;
}
