/* Rows of the table `lease`: 8-byte big endian id -> leasepb.Lease {1 ID, 2 TTL, 3 RemainingTTL}. Three integers:
 * written and read here by hand, so that a start with many leases unpacks nothing. */
#include "kv/lease_internal.h"

static size_t put_field(uint8_t *p, uint8_t field, int64_t value)
{
    if (value == 0) {
        return 0;
    }
    p[0] = (uint8_t)(field << 3);
    return 1 + varint_put(p + 1, (uint64_t)value);
}

void lease_row_key(int64_t id, uint8_t key[LEASE_ROW_KEY_BYTES])
{
    put_be64(key, (uint64_t)id);
}

bool lease_row(const struct lease_table *t, int64_t id, struct lease_row *out)
{
    const struct lease *l = lease_find(t, id);
    if (l == NULL) {
        return false;
    }
    lease_row_key(id, out->key);
    size_t n = put_field(out->value, 1, l->id);
    n += put_field(out->value + n, 2, l->ttl_s);
    n += put_field(out->value + n, 3, l->remaining_ttl_s);
    out->value_len = n;
    return true;
}

/* Unknown fields would be lost when the row is written again, so they are refused like any other damage. */
int lease_row_decode(struct bytes key, struct bytes value, int64_t *id, int64_t *ttl_s, int64_t *remaining_ttl_s)
{
    int64_t fields[4] = {0};
    while (value.len > 0) {
        uint64_t tag, number;
        size_t n = varint_get(value, &tag);
        if (n == 0 || (tag & 7) != 0 || tag >> 3 < 1 || tag >> 3 > 3) {
            return ERR_CORRUPT_DATA;
        }
        value = bytes_of(value.data + n, value.len - n);
        n = varint_get(value, &number);
        if (n == 0) {
            return ERR_CORRUPT_DATA;
        }
        value = bytes_of(value.data + n, value.len - n);
        fields[tag >> 3] = (int64_t)number;
    }
    if (key.len != LEASE_ROW_KEY_BYTES || (int64_t)get_be64(key.data) != fields[1] || fields[1] == 0) {
        return ERR_CORRUPT_DATA;
    }
    if (fields[2] > LEASE_TTL_MAX_S || fields[3] > LEASE_TTL_MAX_S) {
        return ERR_CORRUPT_DATA;
    }
    *id = fields[1];
    *ttl_s = fields[2];
    *remaining_ttl_s = fields[3];
    return 0;
}
