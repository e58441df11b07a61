#include "chaos/sim/model.h"

#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

#define MIN_TTL_S 2
#define PRIME UINT64_C(0x100000001b3)

void model_init(struct model *m)
{
    *m = (struct model){.revision = 1, .compacted = -1};
}

void model_free(struct model *m)
{
    free(m->changes);
    free(m->leases);
}

void model_key_name(int key, char out[MODEL_KEY_LEN + 1])
{
    static const char digits[] = "0123456789";
    memcpy(out, (const char[]){'k', digits[key / 10 % 10], digits[key % 10], '\0'}, MODEL_KEY_LEN + 1);
}

int model_key_number(struct bytes key)
{
    if (key.len != MODEL_KEY_LEN || key.data[0] != 'k') {
        return -1;
    }
    int number = (key.data[1] - '0') * 10 + key.data[2] - '0';
    return number >= 0 && number < MODEL_KEYS ? number : -1;
}

void model_range(ProtobufCBinaryData key, ProtobufCBinaryData end, int *lo, int *hi)
{
    *lo = model_key_number(bytes_of(key.data, key.len));
    if (end.len == 0) {
        *hi = *lo + 1;
    } else {
        int last = model_key_number(bytes_of(end.data, end.len));
        *hi = last < 0 ? MODEL_KEYS : last; /* "\0" */
    }
}

const struct model_change *model_at(const struct model *m, int key, int64_t revision)
{
    for (size_t at = m->newest[key]; at > 0; at = m->changes[at - 1].before) {
        const struct model_change *c = &m->changes[at - 1];
        if (c->main <= revision) {
            return c->dead ? NULL : c;
        }
    }
    return NULL;
}

struct model_lease *model_lease(const struct model *m, int64_t id)
{
    bool known = id > 0 && (uint64_t)id <= m->lease_count && m->leases[id - 1].id == id;
    return known ? &m->leases[id - 1] : NULL;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* The revision that a read inside the transaction under way sees. */
static int64_t now(const struct model *m)
{
    return m->revision + (m->sub > 0);
}

static struct model_change *add(struct model *m, int key)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity * 2 + 256;
        m->changes = mem_realloc(m->changes, m->capacity * sizeof *m->changes);
    }
    struct model_change *c = &m->changes[m->count++];
    *c = (struct model_change){.main = m->revision + 1, .sub = m->sub++, .key = key, .before = m->newest[key]};
    m->newest[key] = m->count;
    return c;
}

static void end(struct model *m)
{
    m->revision = now(m);
    m->sub = 0;
}

static void put(struct model *m, const Etcdserverpb__PutRequest *request)
{
    int key = model_key_number(bytes_of(request->key.data, request->key.len));
    const struct model_change *old = model_at(m, key, now(m));
    int64_t create = old == NULL ? m->revision + 1 : old->create, version = old == NULL ? 1 : old->version + 1;
    struct model_change *c = add(m, key);
    c->create = create;
    c->version = version;
    c->lease = request->lease;
    memcpy(c->value, request->value.data, request->value.len);
}

static int64_t delete_range(struct model *m, int lo, int hi)
{
    int64_t deleted = 0;
    for (int key = lo; key < hi; key++) {
        if (model_at(m, key, now(m)) != NULL) {
            add(m, key)->dead = true;
            deleted++;
        }
    }
    return deleted;
}

static bool compare(const struct model *m, const Etcdserverpb__Compare *c)
{
    const struct model_change *row = model_at(m, model_key_number(bytes_of(c->key.data, c->key.len)), m->revision);
    return (row == NULL ? 0 : row->main) == c->mod_revision; /* the clients compare nothing else */
}

static void txn(struct model *m, const Etcdserverpb__TxnRequest *request, struct model_outcome *outcome)
{
    outcome->succeeded = true;
    for (size_t i = 0; i < request->n_compare; i++) {
        outcome->succeeded &= compare(m, request->compare[i]);
    }
    size_t count = outcome->succeeded ? request->n_success : request->n_failure;
    Etcdserverpb__RequestOp **ops = outcome->succeeded ? request->success : request->failure;
    for (size_t i = 0; i < count; i++) {
        int lo, hi;
        switch (ops[i]->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            put(m, ops[i]->request_put);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            model_range(ops[i]->request_delete_range->key, ops[i]->request_delete_range->range_end, &lo, &hi);
            outcome->deleted += delete_range(m, lo, hi);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            model_range(ops[i]->request_range->key, ops[i]->request_range->range_end, &lo, &hi);
            outcome->digest ^= model_digest_range(m, lo, hi, now(m), NULL);
            break;
        default:
            break;
        }
    }
}

static void grant(struct model *m, const Etcdserverpb__LeaseGrantRequest *request, struct model_outcome *outcome)
{
    struct model_lease *l = model_lease(m, request->id);
    if (l != NULL && l->there) {
        outcome->error = ERR_LEASE_EXIST;
        return;
    }
    while (m->lease_count < (size_t)request->id) {
        if (m->lease_count == m->lease_capacity) {
            m->lease_capacity = m->lease_capacity * 2 + 64;
            m->leases = mem_realloc(m->leases, m->lease_capacity * sizeof *m->leases);
        }
        m->leases[m->lease_count++] = (struct model_lease){0};
    }
    l = &m->leases[request->id - 1];
    *l = (struct model_lease){
        .id = request->id, .ttl_s = request->ttl < MIN_TTL_S ? MIN_TTL_S : request->ttl, .there = true};
}

static void revoke(struct model *m, int64_t id, struct model_outcome *outcome)
{
    struct model_lease *l = model_lease(m, id);
    if (l == NULL || !l->there) {
        outcome->error = ERR_LEASE_NOT_FOUND;
        return;
    }
    for (int key = 0; key < MODEL_KEYS; key++) {
        const struct model_change *row = model_at(m, key, m->revision);
        if (row != NULL && row->lease == id) {
            add(m, key)->dead = true;
        }
    }
    l->there = false;
}

static void compact(struct model *m, int64_t revision, struct model_outcome *outcome)
{
    if (revision <= m->compacted || revision > m->revision) {
        outcome->error = revision <= m->compacted ? ERR_COMPACTED : ERR_FUTURE_REV;
        return;
    }
    m->compacted = revision;
}

static void set_alarm(struct model *m, const Etcdserverpb__AlarmRequest *request)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->alarm_count; i++) {
        if (m->alarms[i] != request->memberid) {
            m->alarms[kept++] = m->alarms[i];
        }
    }
    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE) {
        CHECK(kept < sizeof m->alarms / sizeof m->alarms[0]);
        m->alarms[kept++] = request->memberid;
    }
    m->alarm_count = kept;
}

/* While somebody has no space nothing may grow; each transaction of the clients may put something. */
static bool grows(const Etcdserverpb__InternalRaftRequest *request)
{
    return request->put != NULL || request->txn != NULL || request->lease_grant != NULL;
}

void model_apply(struct model *m, const Etcdserverpb__InternalRaftRequest *request, struct model_outcome *outcome)
{
    *outcome = (struct model_outcome){0};
    if (m->alarm_count > 0 && grows(request)) {
        outcome->error = ERR_NO_SPACE;
    } else if (request->alarm != NULL) {
        set_alarm(m, request->alarm);
    } else if (request->put != NULL) {
        const struct model_lease *l = request->put->lease == 0 ? NULL : model_lease(m, request->put->lease);
        if (request->put->lease != 0 && (l == NULL || !l->there)) {
            outcome->error = ERR_LEASE_NOT_FOUND;
        } else {
            put(m, request->put);
        }
    } else if (request->delete_range != NULL) {
        int lo, hi;
        model_range(request->delete_range->key, request->delete_range->range_end, &lo, &hi);
        outcome->deleted = delete_range(m, lo, hi);
    } else if (request->txn != NULL) {
        txn(m, request->txn, outcome);
    } else if (request->compaction != NULL) {
        compact(m, request->compaction->revision, outcome);
    } else if (request->lease_grant != NULL) {
        grant(m, request->lease_grant, outcome);
    } else if (request->lease_revoke != NULL) {
        revoke(m, request->lease_revoke->id, outcome);
    }
    end(m);
    outcome->revision = m->revision;
}

/* --- digests and hash --------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t digest, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++) {
        digest = (digest ^ p[i]) * PRIME;
    }
    return digest ^ len;
}

uint64_t model_digest_row(uint64_t digest, const struct row_fields *row)
{
    const int64_t numbers[] = {row->create_revision, row->mod_revision, row->version, row->lease};
    digest = mix(digest, row->key.data, row->key.len);
    digest = mix(digest, row->value.data, row->value.len);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        digest = (digest ^ (uint64_t)numbers[i]) * PRIME;
        digest ^= digest >> 29;
    }
    return digest;
}

struct row_fields model_fields(const struct model_change *c, char name[MODEL_KEY_LEN + 1])
{
    model_key_name(c->key, name);
    if (c->dead) {
        return (struct row_fields){.key = bytes_of(name, MODEL_KEY_LEN)};
    }
    return (struct row_fields){
        .key = bytes_of(name, MODEL_KEY_LEN),
        .value = bytes_str(c->value),
        .create_revision = c->create,
        .mod_revision = c->main,
        .version = c->version,
        .lease = c->lease,
    };
}

uint64_t model_digest_change(uint64_t digest, const struct model_change *c)
{
    char name[MODEL_KEY_LEN + 1] = "";
    struct row_fields fields = model_fields(c, name);
    return model_digest_row(digest, &fields);
}

uint64_t model_digest_range(const struct model *m, int lo, int hi, int64_t revision, size_t *count)
{
    uint64_t digest = 1;
    size_t n = 0;
    for (int key = lo; key < hi; key++) {
        const struct model_change *row = model_at(m, key, revision);
        if (row != NULL) {
            digest = model_digest_change(digest, row);
            n++;
        }
    }
    if (count != NULL) {
        *count = n;
    }
    return digest;
}

/* By the book (mvcc.md, backend.md "HashKV"): the rows that a compaction keeps, and all after it. */
uint32_t model_hash_kv(const struct model *m, int64_t compacted, int64_t revision)
{
    uint32_t hash = crc32c(0, "key", 3);
    size_t kept = 0;
    model_digest_range(m, 0, MODEL_KEYS, revision, &kept);
    for (size_t i = 0; i < m->count && m->changes[i].main <= revision; i++) {
        const struct model_change *c = &m->changes[i];
        bool keep = model_at(m, c->key, kept > 0 ? revision : compacted) == c; /* all is gone: what compaction left */
        if (c->main <= compacted && !keep) {
            continue;
        }
        char name[MODEL_KEY_LEN + 1];
        struct row_fields fields = model_fields(c, name);
        uint8_t position[ROW_REVISION_MAX], bytes[128];
        hash = crc32c(hash, position, row_revision_put(position, (struct revision){c->main, c->sub}, c->dead));
        hash = crc32c(hash, bytes, row_encode(bytes, &fields));
    }
    return hash;
}
