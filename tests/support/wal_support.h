/* Small things that several tests of raft and the WAL need. */
#ifndef TESTS_SUPPORT_WAL_SUPPORT_H
#define TESTS_SUPPORT_WAL_SUPPORT_H

#include "raft/wal/wal.h"

#define WAL_DIR "data/member/wal"
#define WAL_FIRST_SEGMENT WAL_DIR "/0000000000000000-0000000000000000.wal"

/* An entry with a text for data (NULL: none). The reference is the caller's. */
struct raft_entry wal_test_entry(uint64_t index, uint64_t term, const char *text);

/* Saves one entry whose data is a text. What wal_save returns. */
int wal_test_save(struct wal *w, uint64_t index, uint64_t term, const char *text);

/* All entries of a log as "index/term=text index/term=text …", heap. Data longer than 40 bytes as its length. */
char *wal_test_entries(struct wal *w, uint64_t from);

#endif
