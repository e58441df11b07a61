/* Any bytes as rows of the store: a revision key, a KeyValue, and whole tables that a state machine is opened on. Input
 * for the tables: table, key length, key, value length, value, one after the other. */
#include "base/check.h"
#include "kv/kv.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_row(struct bytes in)
{
    struct row_fields fields, again;
    struct revision revision;
    bool tombstone;
    uint8_t key[ROW_REVISION_MAX];
    if (row_revision_get(in, &revision, &tombstone) == 0) {
        size_t len = row_revision_put(key, revision, tombstone);
        CHECK(bytes_equal(in, bytes_of(key, len)));
    }
    if (row_decode(in, &fields) != 0) {
        return;
    }
    struct buffer out = {0};
    size_t size = row_size(&fields);
    out.len = row_encode(buffer_reserve(&out, size), &fields);
    CHECK(out.len == size && size <= in.len && row_decode(buffer_bytes(&out), &again) == 0);
    CHECK(bytes_equal(fields.key, again.key) && bytes_equal(fields.value, again.value) &&
          fields.version == again.version && fields.lease == again.lease);
    buffer_free(&out);
}

static bool take(struct bytes *in, struct bytes *out)
{
    size_t len = in->len == 0 ? 0 : in->data[0];
    if (in->len == 0 || len > in->len - 1) {
        return false;
    }
    *out = bytes_of(in->data + 1, len);
    *in = bytes_of(in->data + 1 + len, in->len - 1 - len);
    return true;
}

static void open_tables(struct bytes in)
{
    struct backend *backend = backend_open_memory();
    struct kv_config config = {0};
    struct kv *kv;
    char *reason = NULL;
    while (in.len > 0) {
        struct backend_op op = {.kind = BACKEND_PUT, .table = (uint8_t)(in.data[0] % BACKEND_KEDGE)};
        in = bytes_of(in.data + 1, in.len - 1);
        if (!take(&in, &op.key) || !take(&in, &op.value)) {
            break;
        }
        struct backend_batch batch = {.ops = &op, .count = 1};
        CHECK(op.key.len == 0 || backend_commit(backend, &batch) == 0);
    }
    int error = kv_open(&config, backend, &kv, &reason);
    if (error == 0) {
        while (kv_compact_state(kv) == KV_COMPACT_RUN) {
            kv_compact_step(kv, 10);
        }
        kv_close(kv);
    } else {
        CHECK(reason != NULL);
        free(reason);
    }
    backend_close(backend);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode_row(bytes_of(data, size));
    open_tables(bytes_of(data, size));
    return 0;
}
