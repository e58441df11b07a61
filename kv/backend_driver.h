/* What an implementation of kv/backend.h provides. Private to kv/backend*.c: everyone else calls kv/backend.h, whose
 * functions are one indirect call each. */
#ifndef KV_BACKEND_DRIVER_H
#define KV_BACKEND_DRIVER_H

#include "kv/backend.h"

struct backend_driver {
    int (*commit)(struct backend *b, const struct backend_batch *batch);
    int (*read_begin)(struct backend *b, struct backend_read **out);
    void (*read_end)(struct backend_read *r);
    int (*get)(struct backend_read *r, enum backend_table table, struct bytes key, struct bytes *value);
    int (*missing)(struct backend *b, enum backend_table table); /* reports it; ERR_CORRUPT_DATA */
    int (*scan)(struct backend_read *r, enum backend_table table, struct bytes from,
                bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);
    int (*scan_lengths)(struct backend_read *r, enum backend_table table, struct bytes from,
                        bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg);
    uint64_t (*count)(struct backend_read *r, enum backend_table table);
    struct backend_stats (*stats)(const struct backend *b);
    int (*repack)(struct backend *b, size_t budget_bytes, struct buffer *cursor);
    char *(*fault)(const struct backend *b);
    void (*close)(struct backend *b);
};

/* First member of an implementation's own struct. */
struct backend {
    const struct backend_driver *driver;
    atomic_int views; /* open ones; at most BACKEND_VIEWS */
    atomic_int reads; /* open ones, views too: none may be left at the end */
};

struct backend_read {
    struct backend *backend;
    bool view;
};

enum { BACKEND_VIEWS = 2 };

/* The two rows of table `meta` that a commit writes itself (backend.md "meta"). */
#define BACKEND_CONSISTENT_INDEX "consistent_index"
#define BACKEND_TERM "term"

#endif
