#include "snapshot/page.h"

#define MAGIC 0xed0cdaedu
#define VERSION 2u

/* Where things are in a page. */
enum {
    HEAD_ID = 0,
    HEAD_FLAGS = 8,
    HEAD_COUNT = 10,
    HEAD_OVERFLOW = 12,
    META_MAGIC = 16,
    META_VERSION = 20,
    META_PAGE_BYTES = 24,
    META_FLAGS = 28,
    META_ROOT = 32,
    META_SEQUENCE = 40,
    META_FREELIST = 48,
    META_HIGH_WATER = 56,
    META_TXID = 64,
    META_CHECKSUM = 72,
};

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static void put32(uint8_t *p, uint32_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(p, &v, 4);
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

void page_head_put(uint8_t *out, struct page_head head)
{
    put_le64(out + HEAD_ID, head.id);
    put16(out + HEAD_FLAGS, head.flags);
    put16(out + HEAD_COUNT, head.count);
    put32(out + HEAD_OVERFLOW, head.overflow);
}

struct page_head page_head_get(const uint8_t *in)
{
    return (struct page_head){.id = get_le64(in + HEAD_ID),
                              .flags = get16(in + HEAD_FLAGS),
                              .count = get16(in + HEAD_COUNT),
                              .overflow = get32(in + HEAD_OVERFLOW)};
}

void page_leaf_put(uint8_t *out, struct page_leaf_element e)
{
    put32(out, e.flags);
    put32(out + 4, e.pos);
    put32(out + 8, e.key_len);
    put32(out + 12, e.value_len);
}

struct page_leaf_element page_leaf_get(const uint8_t *in)
{
    return (struct page_leaf_element){
        .flags = get32(in), .pos = get32(in + 4), .key_len = get32(in + 8), .value_len = get32(in + 12)};
}

void page_branch_put(uint8_t *out, struct page_branch_element e)
{
    put32(out, e.pos);
    put32(out + 4, e.key_len);
    put_le64(out + 8, e.child);
}

struct page_branch_element page_branch_get(const uint8_t *in)
{
    return (struct page_branch_element){.pos = get32(in), .key_len = get32(in + 4), .child = get_le64(in + 8)};
}

void page_bucket_put(uint8_t *out, uint64_t root)
{
    put_le64(out, root);
    put_le64(out + 8, 0);
}

/* FNV-1a over the meta before its checksum. */
static uint64_t meta_checksum(const uint8_t *page)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (unsigned i = META_MAGIC; i < META_CHECKSUM; i++) {
        h = (h ^ page[i]) * UINT64_C(0x100000001b3);
    }
    return h;
}

void page_meta_put(uint8_t *out, uint64_t id, const struct page_meta *meta)
{
    page_head_put(out, (struct page_head){.id = id, .flags = PAGE_META});
    put32(out + META_MAGIC, MAGIC);
    put32(out + META_VERSION, VERSION);
    put32(out + META_PAGE_BYTES, meta->page_bytes);
    put32(out + META_FLAGS, 0);
    put_le64(out + META_ROOT, meta->root);
    put_le64(out + META_SEQUENCE, meta->sequence);
    put_le64(out + META_FREELIST, meta->freelist);
    put_le64(out + META_HIGH_WATER, meta->high_water);
    put_le64(out + META_TXID, meta->txid);
    put_le64(out + META_CHECKSUM, meta_checksum(out));
}

const char *page_meta_get(const uint8_t *in, struct page_meta *meta)
{
    if (get32(in + META_MAGIC) != MAGIC) {
        return "not a bbolt meta page";
    }
    if (get32(in + META_VERSION) != VERSION) {
        return "unknown version of the format";
    }
    if (get_le64(in + META_CHECKSUM) != meta_checksum(in)) {
        return "a meta page's checksum is wrong";
    }
    *meta = (struct page_meta){.page_bytes = get32(in + META_PAGE_BYTES),
                               .root = get_le64(in + META_ROOT),
                               .sequence = get_le64(in + META_SEQUENCE),
                               .freelist = get_le64(in + META_FREELIST),
                               .high_water = get_le64(in + META_HIGH_WATER),
                               .txid = get_le64(in + META_TXID)};
    return NULL;
}
