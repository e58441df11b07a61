/* bbolt's pages (bbolt.md "Pages"): bytes to values and back, with no file in it. Numbers in the file are little-endian
 * whatever machine this is. Nothing here believes an offset: that is the reader's work (snapshot/reader.h). */
#ifndef SNAPSHOT_PAGE_H
#define SNAPSHOT_PAGE_H

#include "base/bytes.h"

enum {
    PAGE_BYTES = 4096,     /* of files that we write */
    PAGE_BYTES_MIN = 1024, /* of files that we read: powers of two between these */
    PAGE_BYTES_MAX = 1 << 24,
    PAGE_HEAD = 16,     /* id, flags, count, overflow */
    PAGE_ELEMENT = 16,  /* of a leaf and of a branch */
    PAGE_META_END = 80, /* head and meta */
    PAGE_BUCKET = 16,   /* value of a bucket: root page, sequence */
    PAGE_KEY_MAX = 32768,
    PAGE_COUNT_LIST = 0xffff, /* a freelist's count that means: see the first number of the list */
};

enum page_flags { PAGE_BRANCH = 0x01, PAGE_LEAF = 0x02, PAGE_META = 0x04, PAGE_FREELIST = 0x10 };

#define PAGE_NO_FREELIST UINT64_MAX
#define PAGE_ELEMENT_BUCKET 1u /* flags of a leaf element */

struct page_head {
    uint64_t id;
    uint16_t flags, count;
    uint32_t overflow; /* pages behind this one that belong to it */
};

struct page_meta {
    uint32_t page_bytes;
    uint64_t root, sequence; /* of the bucket of buckets */
    uint64_t freelist;       /* page, or PAGE_NO_FREELIST */
    uint64_t high_water;     /* the first page never used */
    uint64_t txid;
};

struct page_leaf_element {
    uint32_t flags;
    uint32_t pos; /* of the key, from the element's own beginning; the value follows the key */
    uint32_t key_len, value_len;
};

struct page_branch_element {
    uint32_t pos, key_len;
    uint64_t child;
};

void page_head_put(uint8_t *out, struct page_head head); /* PAGE_HEAD bytes */
struct page_head page_head_get(const uint8_t *in);
void page_leaf_put(uint8_t *out, struct page_leaf_element e); /* PAGE_ELEMENT bytes */
struct page_leaf_element page_leaf_get(const uint8_t *in);
void page_branch_put(uint8_t *out, struct page_branch_element e); /* PAGE_ELEMENT bytes */
struct page_branch_element page_branch_get(const uint8_t *in);
void page_bucket_put(uint8_t *out, uint64_t root); /* PAGE_BUCKET bytes, sequence 0 */

/* Head and meta of page `id`, PAGE_META_END bytes. */
void page_meta_put(uint8_t *out, uint64_t id, const struct page_meta *meta);
/* PAGE_META_END bytes in. NULL, or what is wrong with it: magic, version, checksum. */
const char *page_meta_get(const uint8_t *in, struct page_meta *meta);

#endif
