#include "snapshot/backup_zstd.h"

#include "base/check.h"
#include "base/error.h"
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#define LEVEL 3
#define FRAME_MAX ((uint32_t)8 << 20) /* of a frame that is read: what others may have chosen */
#define TABLE_MAGIC 0x184D2A5Eu
#define FOOTER_MAGIC 0x8F92EAB1u
#define ENTRY 8
#define FOOTER 9
#define HEAD 8

static uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void append_le32(struct buffer *out, uint32_t v)
{
    const uint8_t bytes[] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    buffer_append(out, bytes, sizeof bytes);
}

/* --- packing --- */

struct backup_packer {
    ZSTD_CCtx *context;
    struct buffer waiting; /* less than a frame */
    struct buffer table;
    uint32_t frames;
};

struct backup_packer *backup_packer_new(void)
{
    struct backup_packer *packer = mem_zalloc(sizeof *packer);
    packer->context = ZSTD_createCCtx();
    CHECK(packer->context != NULL);
    CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(packer->context, ZSTD_c_compressionLevel, LEVEL)));
    CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(packer->context, ZSTD_c_checksumFlag, 1)));
    return packer;
}

void backup_packer_free(struct backup_packer *packer)
{
    if (packer != NULL) {
        ZSTD_freeCCtx(packer->context);
        buffer_free(&packer->waiting);
        buffer_free(&packer->table);
        free(packer);
    }
}

static void pack(struct backup_packer *packer, struct buffer *out)
{
    size_t room = ZSTD_compressBound(packer->waiting.len);
    size_t len =
        ZSTD_compress2(packer->context, buffer_reserve(out, room), room, packer->waiting.data, packer->waiting.len);
    CHECK(!ZSTD_isError(len), "%s", ZSTD_getErrorName(len));
    out->len += len;
    append_le32(&packer->table, (uint32_t)len);
    append_le32(&packer->table, (uint32_t)packer->waiting.len);
    packer->frames++;
    packer->waiting.len = 0;
}

void backup_packer_add(struct backup_packer *packer, struct bytes part, struct buffer *out)
{
    while (part.len > 0) {
        size_t room = BACKUP_ZSTD_FRAME - packer->waiting.len, n = part.len < room ? part.len : room;
        buffer_append(&packer->waiting, part.data, n);
        part = bytes_skip(part, n);
        if (packer->waiting.len == BACKUP_ZSTD_FRAME) {
            pack(packer, out);
        }
    }
}

void backup_packer_end(struct backup_packer *packer, struct buffer *out)
{
    if (packer->waiting.len > 0) {
        pack(packer, out);
    }
    append_le32(out, TABLE_MAGIC);
    append_le32(out, (uint32_t)packer->table.len + FOOTER);
    buffer_append(out, packer->table.data, packer->table.len);
    append_le32(out, packer->frames);
    buffer_append(out, "", 1);
    append_le32(out, FOOTER_MAGIC);
}

/* --- unpacking --- */

#define CACHED 4 /* rows come from one end to the other, their branch pages from a little before */

struct cached {
    uint8_t *data; /* NULL = nothing yet */
    uint32_t frame;
    uint64_t used;
};

struct backup_unpacker {
    struct snapshot_source source;
    struct snapshot_source *packed;
    ZSTD_DCtx *context;
    uint64_t *from, *at; /* of each frame, and the end: offset packed and unpacked */
    uint32_t frames, longest;
    struct cached cached[CACHED];
    uint64_t uses;
    struct buffer in;
    const char *damage;
};

static int unpack(struct backup_unpacker *u, uint32_t frame, uint8_t *to, int *error_number)
{
    size_t len = (size_t)(u->from[frame + 1] - u->from[frame]), wanted = (size_t)(u->at[frame + 1] - u->at[frame]);
    u->in.len = 0;
    int error = u->packed->read(u->packed, u->from[frame], buffer_reserve(&u->in, len + 1), len, error_number);
    if (error != 0) {
        return error;
    }
    if (ZSTD_decompressDCtx(u->context, to, wanted, u->in.data, len) != wanted) {
        u->damage = "a compressed frame is damaged";
        *error_number = EBADMSG;
        return ERR_IO;
    }
    return 0;
}

/* The frame's bytes; the one that was not used for the longest gives its place. */
static int frame_of(struct backup_unpacker *u, uint32_t frame, const uint8_t **out, int *error_number)
{
    struct cached *oldest = &u->cached[0];
    for (size_t i = 0; i < CACHED; i++) {
        struct cached *c = &u->cached[i];
        if (c->used > 0 && c->frame == frame) {
            c->used = ++u->uses;
            *out = c->data;
            return 0;
        }
        oldest = c->used < oldest->used ? c : oldest;
    }
    if (oldest->data == NULL) {
        oldest->data = mem_alloc(u->longest + 1);
    }
    oldest->used = 0;
    int error = unpack(u, frame, oldest->data, error_number);
    if (error == 0) {
        oldest->frame = frame;
        oldest->used = ++u->uses;
        *out = oldest->data;
    }
    return error;
}

static uint32_t frame_at(const struct backup_unpacker *u, uint64_t offset)
{
    uint32_t low = 0, high = u->frames;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (u->at[middle] <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static int read_unpacked(struct snapshot_source *source, uint64_t offset, uint8_t *to, size_t len, int *error_number)
{
    struct backup_unpacker *u = (struct backup_unpacker *)source;
    CHECK(offset <= source->size && len <= source->size - offset);
    while (len > 0) {
        uint32_t frame = frame_at(u, offset);
        const uint8_t *data;
        int error = frame_of(u, frame, &data, error_number);
        if (error != 0) {
            return error;
        }
        size_t skip = (size_t)(offset - u->at[frame]), there = (size_t)(u->at[frame + 1] - offset);
        size_t n = len < there ? len : there;
        memcpy(to, data + skip, n);
        to += n;
        offset += n;
        len -= n;
    }
    return 0;
}

/* Sums the entries up; they must fill the file exactly, up to the table. */
static const char *take_table(struct backup_unpacker *u, const uint8_t *table, uint64_t table_at)
{
    u->from = mem_alloc(((size_t)u->frames + 1) * sizeof *u->from);
    u->at = mem_alloc(((size_t)u->frames + 1) * sizeof *u->at);
    uint64_t from = 0, at = 0;
    for (uint32_t i = 0; i < u->frames; i++) {
        uint32_t packed = get_le32(table + (size_t)i * ENTRY), unpacked = get_le32(table + (size_t)i * ENTRY + 4);
        u->from[i] = from;
        u->at[i] = at;
        from += packed;
        at += unpacked;
        if (unpacked == 0 || unpacked > FRAME_MAX || packed > 2 * FRAME_MAX) {
            return "the table of compressed frames has a frame of an impossible length";
        }
        u->longest = unpacked > u->longest ? unpacked : u->longest;
    }
    u->from[u->frames] = from;
    u->at[u->frames] = at;
    u->source.size = at;
    return from == table_at ? NULL : "the table of compressed frames does not match the file";
}

static const char *read_table(struct backup_unpacker *u)
{
    static const char none[] = "it has no table of compressed frames: unpack it with zstd -d";
    struct snapshot_source *in = u->packed;
    uint8_t footer[FOOTER], head[HEAD];
    int number;
    if (in->size < HEAD + FOOTER || in->read(in, in->size - FOOTER, footer, FOOTER, &number) != 0 ||
        get_le32(footer + 5) != FOOTER_MAGIC || footer[4] != 0) {
        return none;
    }
    u->frames = get_le32(footer);
    uint64_t rest = (uint64_t)u->frames * ENTRY + FOOTER;
    if (u->frames > BACKUP_ZSTD_TABLE_MAX / ENTRY || rest + HEAD > in->size) {
        return "the table of compressed frames is longer than the file";
    }
    uint64_t table_at = in->size - rest - HEAD;
    if (in->read(in, table_at, head, HEAD, &number) != 0 || get_le32(head) != TABLE_MAGIC ||
        get_le32(head + 4) != rest) {
        return none;
    }
    uint8_t *table = mem_alloc((size_t)rest);
    const char *reason = in->read(in, table_at + HEAD, table, (size_t)rest, &number) != 0
                             ? "the table of compressed frames cannot be read"
                             : take_table(u, table, table_at);
    free(table);
    return reason;
}

struct backup_unpacker *backup_unpacker_new(struct snapshot_source *packed, const char **reason)
{
    struct backup_unpacker *u = mem_zalloc(sizeof *u);
    u->packed = packed;
    u->source.read = read_unpacked;
    u->context = ZSTD_createDCtx();
    CHECK(u->context != NULL);
    *reason = read_table(u);
    if (*reason == NULL) {
        return u;
    }
    backup_unpacker_free(u);
    return NULL;
}

struct snapshot_source *backup_unpacker_source(struct backup_unpacker *u)
{
    return &u->source;
}

const char *backup_unpacker_damage(const struct backup_unpacker *u)
{
    return u->damage;
}

void backup_unpacker_free(struct backup_unpacker *u)
{
    if (u == NULL) {
        return;
    }
    for (size_t i = 0; i < CACHED; i++) {
        free(u->cached[i].data);
    }
    ZSTD_freeDCtx(u->context);
    buffer_free(&u->in);
    free(u->from);
    free(u->at);
    free(u);
}
