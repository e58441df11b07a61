/* What the files of the reader share. Private to snapshot/reader*.c. */
#ifndef SNAPSHOT_READER_STATE_H
#define SNAPSHOT_READER_STATE_H

#include "snapshot/reader.h"
#include <openssl/evp.h>

enum {
    READER_DEPTH = 64, /* levels of branches: no file of any size needs more than a third of it */
    READER_WINDOW = 1 << 20,
};

/* A branch on the way from the root to the leaf that is being read, with a copy of its page. */
struct reader_branch {
    uint64_t offset;
    struct buffer page;
    unsigned count, next; /* next: the child to go to */
    size_t data_end;      /* of the elements looked at so far: they don't overlap */
};

/* The leaf that is being read: a page, or an inline bucket. */
struct reader_leaf {
    uint64_t offset; /* of its first byte in the file */
    struct bytes page;
    unsigned count, next;
    size_t data_end;
};

/* The way through one tree. */
struct reader_tree {
    struct reader_branch branches[READER_DEPTH];
    unsigned depth;
    struct reader_leaf leaf;
    bool keeps;              /* its leaf is needed while other pages are read: */
    struct buffer leaf_page; /* a copy */
    struct buffer last;      /* the key before */
    bool has_last;
};

enum reader_phase {
    READER_OPEN,
    READER_CHECKSUM,
    READER_FREELIST,
    READER_ROOT,
    READER_BUCKET,
    READER_END,
    READER_OVER
};

struct snapshot_reader {
    struct snapshot_source *source;
    bool verify, has_checksum, no_database;
    enum reader_phase phase;
    uint64_t image_bytes; /* the file without the checksum */
    struct page_meta meta;
    uint8_t *reached, *freed; /* a bit for each page */
    EVP_MD_CTX *digest;
    uint64_t digested, progress;

    uint64_t window_offset;
    struct buffer window;

    struct reader_tree root, bucket;
    char reason[700];
};

/* ERR_CORRUPT_DATA, with the reason. */
int reader_refuse(struct snapshot_reader *r, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* len bytes at offset, which lie inside of the image: in the window, valid until the next call. 0 or ERR_IO. */
int reader_fetch(struct snapshot_reader *r, uint64_t offset, size_t len, struct bytes *out);

/* --- reader_open.c: before the trees --- */
int reader_open(struct snapshot_reader *r);
int reader_checksum_step(struct snapshot_reader *r); /* SNAPSHOT_MORE, SNAPSHOT_DONE or an error */
int reader_freelist(struct snapshot_reader *r);
int reader_pages_accounted(struct snapshot_reader *r); /* at the end: each page is reached or free, and once */
/* Takes the pages of a page, and checks its head: it says who it is, lies below the high water mark, was not met. */
int reader_page_head(struct snapshot_reader *r, uint64_t id, struct page_head *head, size_t *len);

/* --- reader_tree.c --- */
int reader_tree_open(struct snapshot_reader *r, struct reader_tree *tree, uint64_t root);
/* image: of the leaf, at this offset in the file */
int reader_tree_open_inline(struct snapshot_reader *r, struct reader_tree *tree, struct bytes image, uint64_t offset);
/* The next row: 1; 0 at the end; or an error. *offset: of the value. */
int reader_tree_next(struct snapshot_reader *r, struct reader_tree *tree, struct bytes *key, struct bytes *value,
                     bool *is_bucket, uint64_t *offset);
void reader_tree_close(struct reader_tree *tree);

#endif
