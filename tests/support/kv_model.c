#include "tests/support/kv_model.h"
#include "base/crc32c.h"

#include <stdio.h>
#include <stdlib.h>

void kv_model_free(struct kv_model *m)
{
    free(m->rows);
}

const struct model_row *kv_model_at(const struct kv_model *m, const char *key, int64_t revision)
{
    const struct model_row *found = NULL;
    for (size_t i = 0; i < m->count; i++) {
        if (strcmp(m->rows[i].key, key) == 0 && m->rows[i].main <= revision) {
            found = &m->rows[i];
        }
    }
    return found == NULL || found->dead ? NULL : found;
}

bool kv_model_has_lease(const struct kv_model *m, int64_t id)
{
    for (size_t i = 0; i < m->lease_count; i++) {
        if (m->leases[i] == id) {
            return true;
        }
    }
    return false;
}

void kv_model_begin(struct kv_model *m)
{
    m->main = m->revision + 1;
    m->sub = 0;
}

void kv_model_end(struct kv_model *m)
{
    m->revision = kv_model_now(m);
    m->sub = 0;
}

int64_t kv_model_now(const struct kv_model *m)
{
    return m->revision + (m->sub > 0);
}

static void add(struct kv_model *m, const struct model_row *row)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity == 0 ? 64 : m->capacity * 2;
        m->rows = mem_realloc(m->rows, m->capacity * sizeof m->rows[0]);
    }
    m->rows[m->count++] = *row;
}

void kv_model_put(struct kv_model *m, const char *key, const char *value, int64_t lease)
{
    const struct model_row *old = kv_model_at(m, key, m->main);
    struct model_row row = {.main = m->main, .sub = m->sub, .lease = lease};
    row.created = old == NULL ? m->main : old->created;
    row.version = old == NULL ? 1 : old->version + 1;
    m->sub++;
    snprintf(row.key, sizeof row.key, "%s", key);
    snprintf(row.value, sizeof row.value, "%s", value);
    add(m, &row);
}

void kv_model_delete(struct kv_model *m, const char *key)
{
    struct model_row row = {.main = m->main, .sub = m->sub++, .dead = true};
    snprintf(row.key, sizeof row.key, "%s", key);
    add(m, &row);
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const struct model_row *const *)a)->key, (*(const struct model_row *const *)b)->key);
}

size_t kv_model_list(const struct kv_model *m, const char *key, const char *end, size_t end_len, int64_t revision,
                     const struct model_row **out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count && n < max; i++) {
        const struct model_row *row = &m->rows[i];
        bool inside = end_len == 0                ? strcmp(row->key, key) == 0
                      : end_len == 1 && *end == 0 ? strcmp(row->key, key) >= 0
                                                  : strcmp(row->key, key) >= 0 && strcmp(row->key, end) < 0;
        if (inside && kv_model_at(m, row->key, revision) == row) {
            out[n++] = row;
        }
    }
    qsort(out, n, sizeof out[0], by_key);
    return n;
}

uint32_t kv_model_hash(const struct kv_model *m, int64_t revision, int64_t compact_revision)
{
    uint32_t hash = crc32c(0, "key", 3);
    size_t kept = 0;
    struct arena arena = {0};
    for (size_t i = 0; i < m->count; i++) {
        kept += kv_model_at(m, m->rows[i].key, revision) == &m->rows[i];
    }
    for (size_t i = 0; i < m->count; i++) {
        const struct model_row *row = &m->rows[i];
        bool keep = kv_model_at(m, row->key, revision) == row;
        if (row->main > revision || (row->main <= compact_revision && kept > 0 && !keep) ||
            (row->main == compact_revision && row->dead)) {
            continue;
        }
        struct row_fields fields = {
            .key = bytes_str(row->key),
            .value = bytes_str(row->value),
            .create_revision = row->created,
            .mod_revision = row->main,
            .version = row->version,
            .lease = row->lease,
        };
        struct row *made = row_new(&arena, (struct revision){row->main, row->sub}, row->dead, &fields);
        hash = crc32c(hash, made->revision_bytes, made->revision_len);
        hash = crc32c(hash, made->data, made->len);
    }
    arena_free(&arena);
    return hash;
}
