/* What a store must hold so that a member can begin from it: kv_open's demands, row by row, without a store. For
 * whoever has rows before there is one: restore, a backup's verification.
 *
 * Any thread, one at a time. Holds users, roles and alarms, and nothing of table key. */
#ifndef KV_CONTENT_H
#define KV_CONTENT_H

#include "kv/backend.h"

struct kv_content_facts {
    int64_t last_revision;    /* of the last row of table key; 0 = none */
    uint64_t rows;            /* of table key */
    int64_t revision;         /* current, as kv_open would have it; 1 = nothing was ever written */
    int64_t compact_revision; /* -1 = never compacted */
    uint64_t index, term;     /* of the log; 0 = there is none */
    uint64_t leases, users, roles, alarms, members;
    bool auth_enabled;
    bool cluster_too_new;     /* of a later version than this program's */
    char cluster_version[64]; /* "" = not set */
    bool kubernetes;          /* keys under /registry/ */
};

struct kv_content;

struct kv_content *kv_content_new(void);
void kv_content_free(struct kv_content *content); /* NULL is allowed */

/* Each row, tables in any order, each table's rows ascending. 0 or ERR_CORRUPT_DATA. */
int kv_content_row(struct kv_content *content, enum backend_table table, struct bytes key, struct bytes value);
/* "table lease: a row is no lease": after an error. */
const char *kv_content_reason(const struct kv_content *content);

/* After the last row. Does not judge whether members of this program may serve it: see auth_enabled, cluster_too_new.
 */
void kv_content_facts(const struct kv_content *content, struct kv_content_facts *out);

#endif
