/* The state of a member against the model's, row by row, and its hash. */
#include "base/error.h"
#include "chaos/sim/internal.h"
#include <inttypes.h>
#include <stdlib.h>

void sim_check_init(struct sim *s)
{
    s->check = (struct sim_check){0};
    model_init(&s->check.model);
}

void sim_check_free(struct sim *s)
{
    struct sim_check *c = &s->check;
    model_free(&c->model);
    sim_table_free(&c->known);
    sim_table_free(&c->leaders);
    sim_table_free(&c->votes);
    sim_table_free(&c->op_of);
    free(c->ops);
    free(c->log);
    free(c->voters);
    free(c->told);
}

bool sim_check_current(const struct sim_member *m)
{
    return m->state == SIM_UP && m->shadow.applied == m->sim->check.log_count;
}

static void check_row(struct sim_member *m, int key)
{
    const struct model *model = &m->sim->check.model;
    char name[MODEL_KEY_LEN + 1];
    model_key_name(key, name);
    const struct model_change *expected = model_at(model, key, model->revision);
    struct buffer row = {0};
    int error = kv_row_at(m->kv, bytes_str(name), model->revision, &row);
    if (expected == NULL) {
        if (error != ERR_ABSENT) {
            sim_fail(m->sim, "member %u: %s is there (error %d), the model has none", m->slot, name, error);
        }
    } else {
        struct row_fields fields = model_fields(expected, name);
        uint8_t bytes[128];
        struct bytes encoded = bytes_of(bytes, row_encode(bytes, &fields));
        if (error != 0 || !bytes_equal(encoded, buffer_bytes(&row))) {
            sim_fail(m->sim, "member %u: %s is not as the model has it at revision %" PRId64 " (error %d)", m->slot,
                     name, model->revision, error);
        }
        if (lease_of(kv_leases(m->kv), bytes_str(name)) != expected->lease) {
            sim_fail(m->sim, "member %u: %s has lost its lease %" PRId64, m->slot, name, expected->lease);
        }
    }
    buffer_free(&row);
}

static void check_leases(struct sim_member *m)
{
    const struct model *model = &m->sim->check.model;
    size_t there = 0;
    for (size_t i = 0; i < model->lease_count; i++) {
        const struct model_lease *l = &model->leases[i];
        struct lease_info info = {0};
        bool found = lease_info(kv_leases(m->kv), (int64_t)i + 1, sim_member_clock(m), &info) == 0;
        there += l->there;
        if (found != l->there || (found && info.granted_ttl_s != l->ttl_s)) {
            sim_fail(m->sim, "member %u, lease %zu: there %d with TTL %" PRId64 ", the model has %d with %" PRId64,
                     m->slot, i + 1, found, info.granted_ttl_s, l->there, l->ttl_s);
        }
    }
    if (lease_count(kv_leases(m->kv)) != there) {
        sim_fail(m->sim, "member %u has %zu leases, the model %zu", m->slot, lease_count(kv_leases(m->kv)), there);
    }
}

void sim_check_state(struct sim_member *m)
{
    for (int key = 0; key < MODEL_KEYS; key++) {
        check_row(m, key);
    }
    check_leases(m);
}

void sim_check_hash(struct sim_member *m, const struct kv_hash_result *hash)
{
    const struct model *model = &m->sim->check.model;
    uint32_t expected = model_hash_kv(model, hash->compact_revision, hash->hash_revision);
    m->sim->result->hashes++;
    if (hash->hash != expected || hash->hash_revision > model->revision) {
        sim_fail(m->sim, "member %u: HashKV %08x of revisions %" PRId64 " to %" PRId64 ", the model has %08x", m->slot,
                 hash->hash, hash->compact_revision, hash->hash_revision, expected);
    }
}
