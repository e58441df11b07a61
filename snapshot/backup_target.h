/* Where backups go: an interface, with one implementation so far, a directory. An object store fits behind it: nothing
 * is ever changed in place, and what is written counts only after commit.
 *
 * A target does one thing at a time, on one thread; its calls may block for as long as the medium does. Functions give
 * 0 or ERR_DISK_FULL, ERR_ABSENT, ERR_IO, and then backup_target.reason says what could not be done and why. */
#ifndef SNAPSHOT_BACKUP_TARGET_H
#define SNAPSHOT_BACKUP_TARGET_H

#include "snapshot/source.h"

struct backup_item {
    char *name;
    uint64_t size;
};

/* Zeroed is empty and valid. */
struct backup_listing {
    struct backup_item *items; /* by name */
    size_t count, capacity;
};
void backup_listing_add(struct backup_listing *listing, const char *name, uint64_t size);
void backup_listing_sort(struct backup_listing *listing);
const struct backup_item *backup_listing_find(const struct backup_listing *listing, const char *name);
void backup_listing_free(struct backup_listing *listing);

struct backup_target;

struct backup_target_ops {
    /* What is there under final names; the items are added. */
    int (*list)(struct backup_target *target, struct backup_listing *out);
    /* A small thing, of at most max bytes (ERR_IO above), appended to *out. put: whole and durable, or not at all. */
    int (*get)(struct backup_target *target, const char *name, size_t max, struct buffer *out);
    int (*put)(struct backup_target *target, const char *name, struct bytes content);
    int (*remove)(struct backup_target *target, const char *name); /* no error if it is not there */

    /* A large one: begin, write …, finish (all of it is durable, and can be read by open with NULL), commit (it has its
     * name). abort takes it back at any time between begin and commit. Commit over an existing one fails. */
    int (*begin)(struct backup_target *target, const char *name);
    int (*write)(struct backup_target *target, struct bytes part);
    int (*finish)(struct backup_target *target);
    int (*commit)(struct backup_target *target);
    void (*abort)(struct backup_target *target); /* no effect if nothing was begun */

    int (*open)(struct backup_target *target, const char *name, struct snapshot_source **out);
    void (*close)(struct backup_target *target, struct snapshot_source *source);

    /* Removes what writers that died have left; what one still writes stays. */
    int (*sweep)(struct backup_target *target);
    void (*free)(struct backup_target *target);
};

struct backup_target {
    const struct backup_target_ops *ops;
    char reason[512];
};

/* A directory that exists (it is never made: a file system that is not mounted must not look like an empty target). */
struct backup_target *backup_directory_new(const char *path);

#endif
