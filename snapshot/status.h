/* What `etcdutl snapshot status` says of an image (bbolt.md "snapshot status"), gathered while a reader gives it out.
 */
#ifndef SNAPSHOT_STATUS_H
#define SNAPSHOT_STATUS_H

#include "snapshot/reader.h"

struct snapshot_status {
    uint32_t hash;    /* over all buckets */
    int64_t revision; /* of the last row of bucket key; 0 = none */
    uint64_t keys;    /* live */
    uint64_t size;    /* bytes of the pages in use: filled by snapshot_status_end */
    char version[32]; /* meta/storageVersion; "" = none */
};

struct snapshot_status_visitor {
    struct snapshot_visitor visitor; /* first; pass it to snapshot_reader_step */
    struct snapshot_status status;
    bool no_keys;       /* may be set after begin: keys stay 0, and a million of them cost no 32 MB */
    const char *reason; /* after ERR_CORRUPT_DATA that the reader did not say: a row that is none of etcd's */

    /* private */
    enum { STATUS_OTHER, STATUS_KEY, STATUS_META } bucket;
    struct key_notes *keys;
};

void snapshot_status_begin(struct snapshot_status_visitor *v);
/* After SNAPSHOT_DONE; fills what is left. bytes: of the pages in use. */
void snapshot_status_end(struct snapshot_status_visitor *v, uint64_t bytes);
void snapshot_status_free(struct snapshot_status_visitor *v);

#endif
