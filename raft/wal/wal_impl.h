/* Inside the WAL: what its files share. Not for users of wal.h. */
#ifndef RAFT_WAL_WAL_IMPL_H
#define RAFT_WAL_WAL_IMPL_H

#include "raft/terms.h"
#include "raft/wal/wal.h"
#include "raft/wal/wal_record.h"
#include <pthread.h>

/* --- wal_names.c: the directory --- */

/* A segment as its name has it (wal.md "Segments"). */
struct wal_name {
    uint64_t sequence;
    uint64_t index; /* the first raft index that it can hold */
};

#define WAL_NAME_BYTES 38 /* with the final NUL */

void wal_name_format(char out[WAL_NAME_BYTES], struct wal_name name);
bool wal_name_parse(const char *text, struct wal_name *out);

/* The segments in a directory, ascending by sequence; foreign names are ignored. Heap array. 0 or negative errno. */
int wal_names_list(const struct wal_fs *fs, const char *dir, struct wal_name **out, size_t *count);

/* base/error.h's error for what a wal_fs function returned. */
int wal_error(int negative_errno);

/* Puts a formatted reason into *reason if that isn't NULL (freeing what was there), and returns error. */
int wal_fail(char **reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* --- wal_scan.c: the records of one segment, one after the other --- */

struct wal_scan {
    struct wal_file *file;
    uint64_t size;        /* of the file */
    uint64_t offset;      /* of the next frame */
    uint32_t crc;         /* running, over everything before offset */
    struct buffer window; /* bytes of the file from window_offset on */
    uint64_t window_offset;
    const char *fault; /* why, when the result is TORN or CORRUPT */
    int error;         /* negative errno when the result is FAILED */
};

enum wal_scan_result {
    WAL_SCAN_RECORD,  /* *record is the next one; its data is valid until the next call */
    WAL_SCAN_END,     /* a clean end at offset */
    WAL_SCAN_TORN,    /* at offset begins what a crash may leave of a write that was under way */
    WAL_SCAN_CORRUPT, /* at offset begins damage that no crash explains */
    WAL_SCAN_FAILED,
};

int wal_scan_open(struct wal_scan *s, struct wal_file *file, uint64_t offset, uint32_t crc); /* 0, negative errno */
enum wal_scan_result wal_scan_next(struct wal_scan *s, struct wal_record *record);
void wal_scan_close(struct wal_scan *s); /* leaves the file open */

/* --- wal_catalog.c: where each entry stands, and its term --- */

/* A place to begin reading at. From one mark to the next the entries' indexes ascend by one without replacement. */
struct wal_mark {
    uint64_t index;
    struct wal_name segment;
    uint64_t offset; /* of the entry's frame */
    uint32_t crc;    /* running, before that frame */
};

struct wal_catalog {
    struct wal_mark *marks;
    size_t mark_count, mark_capacity;
    struct terms terms;
    uint64_t first, last; /* entries that are there: first..last; none if last < first */
    bool interrupted;     /* others stand between the last one and the next */
};

void wal_catalog_init(struct wal_catalog *c, uint64_t next_index); /* empty; wal_catalog_free to reuse */
void wal_catalog_free(struct wal_catalog *c);
/* An entry was written or met at a place. What it replaces goes; after a gap all before the gap goes. */
void wal_catalog_add(struct wal_catalog *c, uint64_t index, uint64_t term, const struct wal_mark *at);
/* An entry was met that doesn't count. */
void wal_catalog_pass_over(struct wal_catalog *c);
/* Segments with a sequence below this one are gone. */
void wal_catalog_release(struct wal_catalog *c, uint64_t sequence);
uint64_t wal_catalog_term(const struct wal_catalog *c, uint64_t index);
/* The mark to begin at for index, and how far it leads (*until is the last index of its stretch). False if not there.
 */
bool wal_catalog_find(const struct wal_catalog *c, uint64_t index, struct wal_mark *mark, uint64_t *until);

/* --- the log itself --- */

struct wal_segment {
    struct wal_name name;
    struct wal_file *file; /* open and locked; NULL once released or if it was never needed */
};

/* A piece of what is waiting to be written: bytes of `staged`, or of an entry's own data. */
struct wal_part {
    const uint8_t *data; /* NULL: staged */
    size_t staged_at;
    size_t len;
};

struct wal {
    const struct wal_fs *fs;
    char *dir;
    uint64_t segment_bytes, reserve_bytes;
    bool no_sync;

    struct buffer metadata; /* the record's data, written the same into each segment */
    struct raft_hard_state state;
    bool state_waits;          /* not yet written */
    uint64_t last_index;       /* of the last entry or snapshot record */
    struct raft_position base; /* the checkpoint that the log was opened at */

    struct wal_segment *segments; /* on disk, ascending; the last one is written to */
    size_t segment_count;
    uint64_t offset;    /* where what waits will be written */
    uint64_t allocated; /* bytes of the last segment that have their space */
    uint32_t crc;       /* running, what waits included */

    struct buffer staged;
    struct wal_part *parts;
    size_t part_count, part_capacity;
    uint64_t waiting_bytes;
    struct iovec *iov;
    size_t iov_capacity;

    struct wal_file *next; /* the next segment, prepared; NULL if there is none yet */
    uint64_t prepared;     /* how many there were: names alternate */

    bool dead;
    char *reason;

    pthread_mutex_t lock; /* for the rest, which other threads look at */
    struct wal_catalog catalog;
    struct wal_space space;
    bool disk_full;
};

struct wal *wal_new(const struct wal_config *config);
char *wal_path(const struct wal *w, struct wal_name name); /* heap */
struct wal_segment *wal_tail(struct wal *w);
unsigned wal_segment_flags(const struct wal *w); /* of wal_fs.open, for one that is written to */
void wal_add_segment(struct wal *w, struct wal_name name, struct wal_file *file);

/* Appends the three records that begin a segment (and the state, if it isn't empty) to what waits. */
void wal_begin_segment(struct wal *w, uint32_t previous_crc, bool first);
void wal_add_record(struct wal *w, enum wal_record_type type, struct bytes data);
void wal_add_entry(struct wal *w, const struct raft_entry *e);
void wal_add_snapshot(struct wal *w, struct raft_position at, const struct raft_conf_state *conf);
void wal_add_state(struct wal *w);
int wal_write_waiting(struct wal *w, struct wal_file *file); /* negative errno */
int wal_create_next(struct wal *w, struct wal_file **out);   /* error of base/error.h */
void wal_update_space(struct wal *w);

/* --- wal_repair.c: a segment's end before it is written on. 0 or negative errno --- */

/* *end = behind the last byte at or after offset that isn't zero; offset if there is none. */
int wal_repair_find_stale(struct wal_file *file, uint64_t offset, uint64_t *end);
int wal_repair_keep_copy(struct wal_file *file, const char *path, const char *dir); /* as PATH.broken, durable */
int wal_repair_clear(struct wal_file *file, uint64_t offset, uint64_t size);        /* offset..size reads as zeroes */

/* --- wal_decode.c: what the records hold. Strict, because a record's type isn't under its checksum: what has other
 * fields than its type has isn't what it says. ERR_MALFORMED. --- */
int wal_decode_metadata(struct bytes data, struct wal_metadata *out);
int wal_decode_entry(struct bytes data, struct raft_entry *entry, struct bytes *content);
int wal_decode_state(struct bytes data, struct raft_hard_state *out);
/* *conf is the caller's to free; *has_conf tells whether the field was there. */
int wal_decode_snapshot(struct bytes data, struct raft_position *at, struct raft_conf_state *conf, bool *has_conf);

#endif
