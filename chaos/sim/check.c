/* Writes, reads, leases and state against the model. The model is fed with the log as a start finds it: from then on
 * that is the truth, whatever anybody thought before. */
#include "base/error.h"
#include "base/pb.h"
#include "chaos/sim/internal.h"
#include <inttypes.h>
#include <stdlib.h>

void sim_check_init(struct sim *s)
{
    s->check = (struct sim_check){.sim = s};
    model_init(&s->check.model);
}

void sim_check_free(struct sim_check *c)
{
    for (size_t i = 0; i < c->log_count; i++) {
        shared_unref(c->log[i].data);
    }
    model_free(&c->model);
    free(c->ops);
    free(c->reads);
    free(c->log);
    free(c->told);
}

/* --- what clients were told ----------------------------------------------------------------------------------------
 */

void sim_check_proposed(struct sim_check *c, uint64_t id)
{
    if (c->op_count == c->op_capacity) {
        c->op_capacity = c->op_capacity * 2 + 256;
        c->ops = mem_realloc(c->ops, c->op_capacity * sizeof *c->ops);
    }
    if (c->op_count > 0 && c->ops[c->op_count - 1].id >= id) {
        sim_fail(c->sim, "request id %" PRIx64 " after %" PRIx64, id, c->ops[c->op_count - 1].id);
    }
    c->ops[c->op_count++] = (struct sim_op){.id = id};
}

/* Ids ascend. */
static struct sim_op *find_op(struct sim_check *c, uint64_t id)
{
    size_t lo = 0, hi = c->op_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c->ops[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < c->op_count && c->ops[lo].id == id ? &c->ops[lo] : NULL;
}

void sim_check_acknowledged(struct sim_check *c, uint64_t id, const struct model_outcome *told)
{
    struct sim_op *op = find_op(c, id);
    op->acknowledged = true;
    op->told = *told;
    if (told->error == 0 && told->revision > c->floor) {
        c->floor = told->revision;
    }
    c->sim->result->acknowledged++;
}

void sim_check_read(struct sim_check *c, struct sim_read read, int64_t floor)
{
    if (read.revision < floor) {
        sim_fail(c->sim,
                 "a linearizable read at revision %" PRId64 " began after revision %" PRId64 " was acknowledged",
                 read.revision, floor);
    }
    if (c->read_count == c->read_capacity) {
        c->read_capacity = c->read_capacity * 2 + 256;
        c->reads = mem_realloc(c->reads, c->read_capacity * sizeof *c->reads);
    }
    c->reads[c->read_count++] = read;
    c->floor = read.revision > c->floor ? read.revision : c->floor;
    c->sim->result->reads++;
}

/* --- leases --------------------------------------------------------------------------------------------------------
 */

static struct sim_told_lease *find_told(struct sim_check *c, int64_t id)
{
    for (size_t i = c->told_count; i > 0; i--) {
        if (c->told[i - 1].id == id) {
            return &c->told[i - 1];
        }
    }
    return NULL;
}

void sim_check_lease_told(struct sim_check *c, int64_t id, uint64_t until_ms)
{
    struct sim_told_lease *told = find_told(c, id);
    if (told == NULL) {
        c->told = mem_realloc(c->told, (c->told_count + 1) * sizeof *c->told);
        told = &c->told[c->told_count++];
        *told = (struct sim_told_lease){.id = id};
    }
    told->until_ms = until_ms > told->until_ms ? until_ms : told->until_ms;
}

static Etcdserverpb__InternalRaftRequest *decode(struct bytes data, struct arena *arena)
{
    return (Etcdserverpb__InternalRaftRequest *)pb_unpack(&etcdserverpb__internal_raft_request__descriptor, data, arena,
                                                          NULL);
}

void sim_check_saving(struct sim_check *c, const struct raft_entry *entry)
{
    struct arena arena = {0};
    if (entry->type == RAFT_ENTRY_NORMAL && entry->data != NULL) {
        const Etcdserverpb__InternalRaftRequest *request = decode(shared_bytes(entry->data), &arena);
        if (request != NULL && request->lease_revoke != NULL && find_op(c, request->header->id) == NULL) {
            const struct sim_told_lease *told = find_told(c, request->lease_revoke->id);
            c->sim->result->expired++;
            if (told != NULL && c->sim->now_ms < told->until_ms) {
                sim_fail(c->sim, "lease %" PRId64 " expires at %" PRIu64 " ms, its holder was told %" PRIu64, told->id,
                         c->sim->now_ms, told->until_ms);
            }
        }
    }
    arena_free(&arena);
}

/* --- the log -------------------------------------------------------------------------------------------------------
 */

static bool same_entry(const struct sim_entry *a, const struct raft_entry *b)
{
    return a->term == b->term && a->type == b->type && bytes_equal(shared_bytes(a->data), shared_bytes(b->data));
}

static void keep_entry(struct sim_check *c, const struct raft_entry *entry)
{
    if (c->log_count == c->log_capacity) {
        c->log_capacity = c->log_capacity * 2 + 256;
        c->log = mem_realloc(c->log, c->log_capacity * sizeof *c->log);
    }
    c->log[c->log_count++] = (struct sim_entry){
        .term = entry->term, .type = entry->type, .data = entry->data == NULL ? NULL : shared_ref(entry->data)};
}

void sim_check_synced(struct sim_check *c, const struct raft_entry *entry)
{
    if (entry->index != c->log_count + 1) {
        sim_fail(c->sim, "entry %" PRIu64 " is saved behind entry %zu", entry->index, c->log_count);
        return;
    }
    keep_entry(c, entry);
    c->sim->result->entries++;
}

void sim_check_recovered(struct sim_check *c, const struct raft_entry *entry)
{
    if (entry->index <= c->log_count) {
        if (!same_entry(&c->log[entry->index - 1], entry)) {
            sim_fail(c->sim, "entry %" PRIu64 " is another one than the one that was synced", entry->index);
        }
    } else if (entry->index == c->log_count + 1) {
        keep_entry(c, entry); /* written, not synced, and it survived */
    } else {
        sim_fail(c->sim, "the log has entry %" PRIu64 " but not %zu", entry->index, c->log_count + 1);
    }
}

static void judge_op(struct sim_check *c, struct sim_op *op, const struct model_outcome *is)
{
    const struct model_outcome *told = &op->told;
    if (op->logged) {
        sim_fail(c->sim, "request %" PRIx64 " is in the log twice", op->id);
    }
    op->logged = true;
    if (!op->acknowledged) {
        return;
    }
    bool same = told->error == is->error && told->deleted == is->deleted && told->succeeded == is->succeeded &&
                told->digest == is->digest && (told->revision == 0 || told->revision == is->revision);
    if (!same) {
        sim_fail(c->sim,
                 "request %" PRIx64 " was told error %d revision %" PRId64 " deleted %" PRId64
                 " succeeded %d, the model says "
                 "%d %" PRId64 " %" PRId64 " %d",
                 op->id, told->error, told->revision, told->deleted, told->succeeded, is->error, is->revision,
                 is->deleted, is->succeeded);
    }
}

static void feed(struct sim_check *c, const struct sim_entry *entry)
{
    if (entry->type != RAFT_ENTRY_NORMAL || entry->data == NULL || entry->data->len == 0) {
        return;
    }
    struct arena arena = {0};
    Etcdserverpb__InternalRaftRequest *request = decode(shared_bytes(entry->data), &arena);
    if (request == NULL) {
        sim_fail(c->sim, "an entry of the log is unreadable");
    } else {
        struct model_outcome outcome;
        if (c->sim->config.canary == SIM_CANARY_WRONG_APPLY && request->put != NULL && c->fed % 100 == 99) {
            request->put = NULL;
        }
        model_apply(&c->model, request, &outcome);
        struct sim_op *op = request->header == NULL ? NULL : find_op(c, request->header->id);
        if (op != NULL) {
            judge_op(c, op, &outcome);
        }
    }
    arena_free(&arena);
}

static void judge_read(struct sim_check *c, const struct sim_read *read)
{
    size_t count;
    uint64_t digest = model_digest_range(&c->model, read->lo, read->hi, read->revision, &count);
    if (read->revision > c->model.revision) {
        sim_fail(c->sim, "a read saw revision %" PRId64 ", the log ends at %" PRId64, read->revision,
                 c->model.revision);
    } else if (digest != read->digest || count != read->count) {
        sim_fail(c->sim, "a read of keys %d to %d at revision %" PRId64 " saw %zu rows, the model has %zu (or others)",
                 read->lo, read->hi, read->revision, read->count, count);
    }
}

void sim_check_judge(struct sim_check *c, uint64_t last_index)
{
    if (last_index < c->log_count) {
        sim_fail(c->sim, "the log ends at %" PRIu64 ", entry %zu was synced", last_index, c->log_count);
        return;
    }
    for (; c->fed < c->log_count; c->fed++) {
        feed(c, &c->log[c->fed]);
    }
    for (; c->op_judged < c->op_count; c->op_judged++) {
        const struct sim_op *op = &c->ops[c->op_judged];
        if (op->acknowledged && !op->logged) {
            sim_fail(c->sim, "request %" PRIx64 " was acknowledged with revision %" PRId64 " and is not in the log",
                     op->id, op->told.revision);
        }
    }
    for (size_t i = 0; i < c->read_count; i++) {
        judge_read(c, &c->reads[i]);
    }
    c->read_count = 0;
    if (c->model.revision < c->floor) {
        sim_fail(c->sim, "the revision went back from %" PRId64 " to %" PRId64, c->floor, c->model.revision);
    }
    sim_check_watches(c->sim, false);
}

/* --- the state -----------------------------------------------------------------------------------------------------
 */

static void check_row(struct sim_check *c, struct kv *kv, int key)
{
    char name[MODEL_KEY_LEN + 1];
    model_key_name(key, name);
    const struct model_change *expected = model_at(&c->model, key, c->model.revision);
    struct buffer row = {0};
    int error = kv_row_at(kv, bytes_str(name), c->model.revision, &row);
    if (expected == NULL) {
        if (error != ERR_ABSENT) {
            sim_fail(c->sim, "%s is there (error %d), the model has none", name, error);
        }
    } else {
        struct row_fields fields = model_fields(expected, name);
        uint8_t bytes[128];
        struct bytes encoded = bytes_of(bytes, row_encode(bytes, &fields));
        if (error != 0 || !bytes_equal(encoded, buffer_bytes(&row))) {
            sim_fail(c->sim, "%s is not as the model has it at revision %" PRId64 " (error %d)", name,
                     c->model.revision, error);
        }
        if (lease_of(kv_leases(kv), bytes_str(name)) != expected->lease) {
            sim_fail(c->sim, "%s has lost its lease %" PRId64, name, expected->lease);
        }
    }
    buffer_free(&row);
}

void sim_check_state(struct sim_check *c)
{
    struct kv *kv = c->sim->kv;
    if (kv_revision(kv) != c->model.revision || kv_compact_revision(kv) != c->model.compacted) {
        sim_fail(c->sim, "revision %" PRId64 " compacted %" PRId64 ", the model has %" PRId64 " and %" PRId64,
                 kv_revision(kv), kv_compact_revision(kv), c->model.revision, c->model.compacted);
        return;
    }
    for (int key = 0; key < MODEL_KEYS; key++) {
        check_row(c, kv, key);
    }
    size_t there = 0;
    for (size_t i = 0; i < c->model.lease_count; i++) {
        const struct model_lease *l = &c->model.leases[i];
        struct lease_info info = {0};
        bool found = lease_info(kv_leases(kv), l->id, sim_core_now(c->sim), &info) == 0;
        there += l->there;
        if (found != l->there || (found && info.granted_ttl_s != l->ttl_s)) {
            sim_fail(c->sim, "lease %" PRId64 ": there %d with TTL %" PRId64 ", the model has %d with %" PRId64, l->id,
                     found, info.granted_ttl_s, l->there, l->ttl_s);
        }
    }
    if (lease_count(kv_leases(kv)) != there) {
        sim_fail(c->sim, "%zu leases, the model has %zu", lease_count(kv_leases(kv)), there);
    }
}

void sim_check_hash(struct sim_check *c, const struct kv_hash_result *hash)
{
    uint32_t expected = model_hash_kv(&c->model, hash->compact_revision);
    if (hash->hash != expected || hash->current_revision != c->model.revision) {
        sim_fail(c->sim, "HashKV %08x at revision %" PRId64 ", the model has %08x at %" PRId64, hash->hash,
                 hash->current_revision, expected, c->model.revision);
    }
}
