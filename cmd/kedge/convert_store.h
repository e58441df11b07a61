/* The new store of a conversion, before it gets its name: what it must be to take part under this program, and what is
 * changed in it. */
#ifndef CMD_KEDGE_CONVERT_STORE_H
#define CMD_KEDGE_CONVERT_STORE_H

#include "kv/backend.h"
#include "raft/wal/wal.h"

struct convert_store_config {
    const char *path, *snap_dir, *wal_dir;
    uint64_t map_bytes, quota_bytes;
    const struct wal_contents *log; /* that it has to fit to */
    bool disable_auth;              /* switch authentication off in it */
};

/* What it holds. */
struct convert_position {
    uint64_t index, term;
    uint64_t rows;    /* of table key */
    char version[32]; /* of the storage: "3.5.0" where none is said, as etcd takes it */
};

/* Opens the store, which walks all of it, checks it against the log, changes what is to be changed, durably, and closes
 * it. 0, or an error with a heap text in *reason. */
int convert_store_finish(const struct convert_store_config *config, struct convert_position *out, char **reason);

/* A store without anything but these rows, durable: for an etcd that had committed nothing yet. */
int convert_store_make_empty(const struct convert_store_config *config, struct backend_op *rows, size_t count,
                             char **reason);

#endif
