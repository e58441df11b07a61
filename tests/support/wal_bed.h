/* A log of small segments on a disk in memory, for tests of the WAL. What goes wrong fails the test. */
#ifndef TESTS_SUPPORT_WAL_BED_H
#define TESTS_SUPPORT_WAL_BED_H

#include "tests/support/memory_fs.h"
#include "tests/support/wal_support.h"

enum { WAL_BED_SEGMENT = 4096 };

extern const struct wal_metadata wal_bed_ids;

struct wal_bed {
    struct memory_fs *m;
    struct wal_config config; /* may be changed before the log is created or opened */
    struct wal *w;            /* NULL: none is open */
    struct wal_contents c;    /* what the last opening found */
    char *reason;
};

/* For cmocka: *state becomes the bed. There is no log yet. */
int wal_bed_open(void **state);
int wal_bed_close(void **state);

/* A new log without entries. */
void wal_bed_create(struct wal_bed *f);
/* Closes the log that is open and opens it again; what wal_open returns. */
int wal_bed_reopen(struct wal_bed *f);
/* Its process is gone: it is closed without a word to the disk. */
void wal_bed_abandon(struct wal_bed *f);

void wal_bed_save_state(struct wal_bed *f, uint64_t term, uint64_t vote, uint64_t commit);
/* Entries of 1,000 bytes and term 1, each committed and synced. */
void wal_bed_fill(struct wal_bed *f, uint64_t from, uint64_t to);

/* As wal_test_entries writes them. */
void wal_bed_expect_entries(struct wal_bed *f, uint64_t from, const char *want);
/* The files of the log's folder. */
void wal_bed_expect_names(struct wal_bed *f, const char *want);

#endif
