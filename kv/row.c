#include "kv/row.h"
#include "base/check.h"
#include "base/error.h"

/* Field tags of mvccpb.KeyValue. */
enum {
    TAG_KEY = 1 << 3 | 2,
    TAG_CREATE_REVISION = 2 << 3,
    TAG_MOD_REVISION = 3 << 3,
    TAG_VERSION = 4 << 3,
    TAG_VALUE = 5 << 3 | 2,
    TAG_LEASE = 6 << 3,
};

size_t row_revision_put(uint8_t *out, struct revision revision, bool tombstone)
{
    put_be64(out, (uint64_t)revision.main);
    out[8] = '_';
    put_be64(out + 9, (uint64_t)revision.sub);
    if (!tombstone) {
        return 17;
    }
    out[17] = 't';
    return 18;
}

int row_revision_get(struct bytes in, struct revision *revision, bool *tombstone)
{
    bool marked = in.len == 18 && in.data[17] == 't';
    if ((in.len != 17 && !marked) || in.data[8] != '_') {
        return ERR_CORRUPT_DATA;
    }
    revision->main = (int64_t)get_be64(in.data);
    revision->sub = (int64_t)get_be64(in.data + 9);
    *tombstone = marked;
    return revision->main < 0 || revision->sub < 0 ? ERR_CORRUPT_DATA : 0;
}

static size_t bytes_field_size(struct bytes b)
{
    return b.len == 0 ? 0 : 1 + varint_size(b.len) + b.len;
}

static size_t number_field_size(int64_t v)
{
    return v == 0 ? 0 : 1 + varint_size((uint64_t)v);
}

size_t row_size(const struct row_fields *fields)
{
    return bytes_field_size(fields->key) + number_field_size(fields->create_revision) +
           number_field_size(fields->mod_revision) + number_field_size(fields->version) +
           bytes_field_size(fields->value) + number_field_size(fields->lease);
}

static uint8_t *bytes_field_put(uint8_t *p, uint8_t tag, struct bytes b)
{
    if (b.len != 0) {
        *p++ = tag;
        p += varint_put(p, b.len);
        memcpy(p, b.data, b.len);
        p += b.len;
    }
    return p;
}

static uint8_t *number_field_put(uint8_t *p, uint8_t tag, int64_t v)
{
    if (v != 0) {
        *p++ = tag;
        p += varint_put(p, (uint64_t)v);
    }
    return p;
}

size_t row_encode(uint8_t *out, const struct row_fields *fields)
{
    uint8_t *p = bytes_field_put(out, TAG_KEY, fields->key);
    p = number_field_put(p, TAG_CREATE_REVISION, fields->create_revision);
    p = number_field_put(p, TAG_MOD_REVISION, fields->mod_revision);
    p = number_field_put(p, TAG_VERSION, fields->version);
    p = bytes_field_put(p, TAG_VALUE, fields->value);
    p = number_field_put(p, TAG_LEASE, fields->lease);
    return (size_t)(p - out);
}

/* Takes one varint off the front; false when there is none. */
static bool take_varint(struct bytes *in, uint64_t *v)
{
    size_t n = varint_get(*in, v);
    in->data += n;
    in->len -= n;
    return n != 0;
}

static bool take_bytes(struct bytes *in, struct bytes *out)
{
    uint64_t len;
    if (!take_varint(in, &len) || len > in->len) {
        return false;
    }
    *out = bytes_of(in->data, (size_t)len);
    in->data += len;
    in->len -= (size_t)len;
    return true;
}

static bool skip_field(struct bytes *in, unsigned wire_type)
{
    uint64_t number;
    struct bytes ignored;
    size_t fixed = wire_type == 1 ? 8 : 4;
    switch (wire_type) {
    case 0:
        return take_varint(in, &number);
    case 2:
        return take_bytes(in, &ignored);
    case 1:
    case 5:
        if (in->len < fixed) {
            return false;
        }
        in->data += fixed;
        in->len -= fixed;
        return true;
    default:
        return false;
    }
}

static bool take_field(struct bytes *in, uint64_t tag, struct row_fields *fields)
{
    uint64_t number = 0;
    int64_t *slot = NULL;
    switch (tag) {
    case TAG_KEY:
        return take_bytes(in, &fields->key);
    case TAG_VALUE:
        return take_bytes(in, &fields->value);
    case TAG_CREATE_REVISION:
        slot = &fields->create_revision;
        break;
    case TAG_MOD_REVISION:
        slot = &fields->mod_revision;
        break;
    case TAG_VERSION:
        slot = &fields->version;
        break;
    case TAG_LEASE:
        slot = &fields->lease;
        break;
    default:
        return tag >> 3 != 0 && skip_field(in, (unsigned)(tag & 7));
    }
    if (!take_varint(in, &number)) {
        return false;
    }
    *slot = (int64_t)number;
    return true;
}

int row_decode(struct bytes in, struct row_fields *fields)
{
    *fields = (struct row_fields){0};
    while (in.len > 0) {
        uint64_t tag;
        if (!take_varint(&in, &tag) || !take_field(&in, tag, fields)) {
            return ERR_CORRUPT_DATA;
        }
    }
    return 0;
}

struct row *row_new(struct arena *arena, struct revision revision, bool tombstone, const struct row_fields *fields)
{
    struct row_fields bare = {.key = fields->key};
    if (tombstone) {
        fields = &bare;
    }
    size_t size = row_size(fields);
    CHECK(size <= UINT32_MAX, "row of %zu bytes", size);
    struct row *row = arena_alloc(arena, sizeof *row + size);
    row->len = (uint32_t)size;
    row->key_len = (uint32_t)fields->key.len;
    row->key_offset = fields->key.len == 0 ? 0 : (uint32_t)(1 + varint_size(fields->key.len));
    row->revision = revision;
    row->revision_len = (uint8_t)row_revision_put(row->revision_bytes, revision, tombstone);
    row_encode(row->data, fields);
    return row;
}
