/* Questions whose answers may be long: all leases, all keys of a lease. In slices: what is asked for is copied, then
 * put in order. Meanwhile leases and keys come and go; what was there all the time is in the answer exactly once, what
 * came or went may be in it. Core thread. */
#ifndef KV_LEASE_QUERY_H
#define KV_LEASE_QUERY_H

#include "kv/lease.h"

struct lease_query;

struct lease_entry {
    int64_t id;
    uint64_t expiry_ms;
};

/* By expiry; ties, and all of them on a member that is not primary, by id. */
struct lease_query *lease_query_leases(struct lease_table *table);
/* In byte order. A lease that is not there, or is being revoked, has none. */
struct lease_query *lease_query_keys(struct lease_table *table, int64_t id);
void lease_query_free(struct lease_query *query);

/* true = done. budget: entries copied or moved. */
bool lease_query_step(struct lease_query *query, size_t budget);
bool lease_table_asked(const struct lease_table *table); /* is a question open? */
/* The table was freed under the question (a generation was exchanged): ask the new one. */
bool lease_query_lost(const struct lease_query *query);

/* What was found, when done; it lives until lease_query_free. */
const struct lease_entry *lease_query_entries(const struct lease_query *query, size_t *count);
const struct bytes *lease_query_found_keys(const struct lease_query *query, size_t *count);
/* Instead of lease_query_free, where that could take long: frees a slice's worth. true = all is freed. */
bool lease_query_free_some(struct lease_query *query);

#endif
