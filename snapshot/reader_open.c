/* What stands before the trees: meta pages, page size, checksum, freelist (bbolt.md "Pages"). */
#include "base/error.h"
#include "snapshot/checksum.h"
#include "snapshot/reader_state.h"
#include <inttypes.h>

#include "base/check.h"

/* --- meta pages --- */

static int meta_at(struct snapshot_reader *r, uint64_t offset, struct page_meta *meta, const char **wrong)
{
    struct bytes page;
    *wrong = "the file ends before its meta pages";
    if (offset > r->image_bytes || r->image_bytes - offset < PAGE_META_END) {
        return 0;
    }
    int error = reader_fetch(r, offset, PAGE_META_END, &page);
    if (error == 0) {
        *wrong = page_meta_get(page.data, meta);
    }
    return error;
}

static bool page_size_is_one(uint32_t bytes)
{
    return bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX && (bytes & (bytes - 1)) == 0;
}

/* The page size is what meta 0 says; when that is damaged, meta 1 is looked for where it may stand. */
static int find_page_size(struct snapshot_reader *r, uint32_t *page_bytes)
{
    struct page_meta meta;
    const char *wrong;
    int error = meta_at(r, 0, &meta, &wrong);
    *page_bytes = 0;
    for (uint64_t offset = PAGE_BYTES_MIN; error == 0 && wrong != NULL && offset <= PAGE_BYTES_MAX; offset *= 2) {
        const char *first = wrong;
        error = meta_at(r, offset, &meta, &wrong);
        if (error == 0 && wrong == NULL && meta.page_bytes != offset) {
            wrong = first;
        }
        wrong = wrong == NULL ? NULL : first;
    }
    if (error != 0) {
        return error;
    }
    if (wrong != NULL) {
        r->no_database = true;
        return reader_refuse(r, 0, "%s", wrong);
    }
    if (!page_size_is_one(meta.page_bytes)) {
        return reader_refuse(r, 0, "a page size of %" PRIu32 " bytes", meta.page_bytes);
    }
    *page_bytes = meta.page_bytes;
    return 0;
}

static int choose_meta(struct snapshot_reader *r, uint32_t page_bytes, uint64_t *offset)
{
    struct page_meta metas[2];
    const char *wrong[2];
    for (unsigned i = 0; i < 2; i++) {
        int error = meta_at(r, i * (uint64_t)page_bytes, &metas[i], &wrong[i]);
        if (error != 0) {
            return error;
        }
        if (wrong[i] == NULL && metas[i].page_bytes != page_bytes) {
            wrong[i] = "the meta pages name two page sizes";
        }
    }
    if (wrong[0] != NULL && wrong[1] != NULL) {
        return reader_refuse(r, 0, "%s", wrong[0]);
    }
    unsigned best = wrong[0] != NULL || (wrong[1] == NULL && metas[1].txid > metas[0].txid);
    r->meta = metas[best];
    *offset = best * (uint64_t)page_bytes;
    return 0;
}

static int check_meta(struct snapshot_reader *r, uint64_t offset)
{
    const struct page_meta *m = &r->meta;
    uint64_t pages = r->image_bytes / m->page_bytes;
    if (m->high_water < 3 || m->high_water > pages) {
        return reader_refuse(r, offset, "%" PRIu64 " pages are in use, the file has %" PRIu64 ": it was cut off",
                             m->high_water, pages);
    }
    if (m->root < 2 || m->root >= m->high_water) {
        return reader_refuse(r, offset, "the root is page %" PRIu64 " of %" PRIu64, m->root, m->high_water);
    }
    if (m->freelist != PAGE_NO_FREELIST && (m->freelist < 2 || m->freelist >= m->high_water)) {
        return reader_refuse(r, offset, "the freelist is page %" PRIu64 " of %" PRIu64, m->freelist, m->high_water);
    }
    return 0;
}

int reader_open(struct snapshot_reader *r)
{
    enum { SECTOR = 512 };
    uint32_t page_bytes;
    uint64_t offset = 0;
    r->has_checksum = r->source->size % SECTOR == 32;
    r->image_bytes = r->source->size - (r->has_checksum ? 32 : 0);
    int error = find_page_size(r, &page_bytes);
    error = error != 0 ? error : choose_meta(r, page_bytes, &offset);
    error = error != 0 ? error : check_meta(r, offset);
    if (error == 0) {
        r->reached = mem_zalloc(r->meta.high_water / 8 + 1);
    }
    return error;
}

/* --- checksum --- */

static int checksum_end(struct snapshot_reader *r)
{
    uint8_t is[EVP_MAX_MD_SIZE], *said;
    int error_number = 0;
    CHECK(EVP_DigestFinal_ex(r->digest, is, NULL) == 1);
    struct buffer trailer = {0};
    said = buffer_reserve(&trailer, 32);
    int error = r->source->read(r->source, r->image_bytes, said, 32, &error_number);
    if (error != 0) {
        snprintf(r->reason, sizeof r->reason, "offset %" PRIu64 ": %s", r->image_bytes, strerror(error_number));
    } else if (memcmp(is, said, 32) != 0) {
        char text[SNAPSHOT_CHECKSUM_TEXT];
        snapshot_checksum_text(said, is, text);
        error = reader_refuse(r, r->image_bytes, "%s", text);
    }
    buffer_free(&trailer);
    return error;
}

int reader_checksum_step(struct snapshot_reader *r)
{
    enum { SLICES = 4 };
    if (!r->verify || !r->has_checksum) {
        return SNAPSHOT_DONE;
    }
    if (r->digest == NULL) {
        r->digest = EVP_MD_CTX_new();
        CHECK(r->digest != NULL && EVP_DigestInit_ex(r->digest, EVP_sha256(), NULL) == 1);
    }
    for (int i = 0; i < SLICES && r->digested < r->image_bytes; i++) {
        uint64_t left = r->image_bytes - r->digested;
        size_t len = left < READER_WINDOW ? (size_t)left : READER_WINDOW;
        struct bytes piece;
        int error = reader_fetch(r, r->digested, len, &piece);
        if (error != 0) {
            return error;
        }
        CHECK(EVP_DigestUpdate(r->digest, piece.data, piece.len) == 1);
        r->digested += len;
    }
    return r->digested < r->image_bytes ? SNAPSHOT_MORE : checksum_end(r);
}

/* --- pages --- */

static bool bit(const uint8_t *bits, uint64_t i)
{
    return bits[i / 8] >> i % 8 & 1;
}

static void bit_set(uint8_t *bits, uint64_t i)
{
    bits[i / 8] |= (uint8_t)(1 << i % 8);
}

int reader_page_head(struct snapshot_reader *r, uint64_t id, struct page_head *head, size_t *len)
{
    uint64_t page_bytes = r->meta.page_bytes, high_water = r->meta.high_water;
    struct bytes bytes;
    CHECK(id < high_water);
    int error = reader_fetch(r, id * page_bytes, PAGE_HEAD, &bytes);
    if (error != 0) {
        return error;
    }
    *head = page_head_get(bytes.data);
    if (head->id != id) {
        return reader_refuse(r, id * page_bytes, "page %" PRIu64 " calls itself %" PRIu64, id, head->id);
    }
    if (head->overflow >= high_water - id) {
        return reader_refuse(r, id * page_bytes, "page %" PRIu64 " goes on for %" PRIu32 " pages, beyond the last one",
                             id, head->overflow);
    }
    for (uint64_t i = id; i <= id + head->overflow; i++) {
        if (bit(r->reached, i)) {
            return reader_refuse(r, i * page_bytes, "page %" PRIu64 " is used twice", i);
        }
        bit_set(r->reached, i);
    }
    *len = (size_t)((head->overflow + UINT64_C(1)) * page_bytes);
    return 0;
}

/* --- freelist --- */

static int freelist_ids(struct snapshot_reader *r, uint64_t offset, struct bytes ids)
{
    uint64_t before = 0;
    r->freed = mem_zalloc(r->meta.high_water / 8 + 1);
    for (size_t at = 0; at < ids.len; at += 8) {
        uint64_t id = get_le64(ids.data + at);
        if (id < 2 || id >= r->meta.high_water || id <= before) {
            return reader_refuse(r, offset + at, "page %" PRIu64 " cannot be free here", id);
        }
        bit_set(r->freed, id);
        before = id;
    }
    return 0;
}

int reader_freelist(struct snapshot_reader *r)
{
    if (r->meta.freelist == PAGE_NO_FREELIST) {
        return 0;
    }
    uint64_t offset = r->meta.freelist * r->meta.page_bytes;
    struct page_head head = {0};
    struct bytes page;
    size_t len = 0;
    int error = reader_page_head(r, r->meta.freelist, &head, &len);
    if (error != 0) {
        return error;
    }
    if (head.flags != PAGE_FREELIST) {
        return reader_refuse(r, offset, "a page of kind %#x where the freelist should be", head.flags);
    }
    error = reader_fetch(r, offset, len, &page);
    uint64_t count = head.count, at = PAGE_HEAD;
    if (error == 0 && head.count == PAGE_COUNT_LIST) {
        count = get_le64(page.data + at);
        at += 8;
    }
    if (error == 0 && count > (len - at) / 8) {
        error = reader_refuse(r, offset, "the freelist names %" PRIu64 " pages and has no room for them", count);
    }
    error = error != 0 ? error : freelist_ids(r, offset + at, bytes_of(page.data + at, (size_t)count * 8));
    return error;
}

/* Without a stored freelist, what no tree reaches is free. */
int reader_pages_accounted(struct snapshot_reader *r)
{
    for (uint64_t i = 2; r->freed != NULL && i < r->meta.high_water; i++) {
        bool reached = bit(r->reached, i);
        if (reached == bit(r->freed, i)) {
            return reader_refuse(r, i * r->meta.page_bytes, "page %" PRIu64 " is %s", i,
                                 reached ? "in use and in the freelist" : "not in use and not in the freelist");
        }
    }
    return 0;
}
