#include "tests/support/image_support.h"

#include "base/check.h"
#include "base/error.h"
#include "snapshot/export.h"
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

void image_unpack(const char *path, struct buffer *out)
{
    gzFile file = gzopen(path, "rb");
    CHECK(file != NULL, "%s", path);
    int n;
    do {
        uint8_t *to = buffer_reserve(out, 1 << 16);
        n = gzread(file, to, 1 << 16);
        CHECK(n >= 0, "%s", path);
        out->len += (size_t)n;
    } while (n > 0);
    gzclose(file);
}

void image_export(struct backend *backend, bool checksum, size_t slice, struct buffer *out)
{
    struct backend_read *view;
    CHECK(backend_view_open(backend, &view) == 0);
    struct snapshot_export *e = snapshot_export_new(view, checksum);
    int progress;
    while ((progress = snapshot_export_plan(e, 1 + slice / 64)) == SNAPSHOT_MORE) {
    }
    CHECK(progress == SNAPSHOT_DONE);
    size_t before = out->len, len;
    do {
        uint8_t *to = buffer_reserve(out, slice);
        progress = snapshot_export_read(e, to, slice, &len);
        CHECK(progress >= 0 && (len == slice || progress == SNAPSHOT_DONE));
        out->len += len;
    } while (progress == SNAPSHOT_MORE);
    CHECK(out->len - before == snapshot_export_bytes(e));
    if (checksum) {
        snapshot_export_checksum(e, buffer_reserve(out, SNAPSHOT_CHECKSUM));
        out->len += SNAPSHOT_CHECKSUM;
    }
    snapshot_export_free(e);
    backend_view_close(view);
}

struct collector {
    struct snapshot_visitor visitor;
    struct buffer *rows;
};

static int collect_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct buffer *rows = ((struct collector *)visitor)->rows;
    if (rows != NULL) {
        buffer_append(rows, name.data, name.len);
        buffer_append(rows, "\n", 1);
    }
    return 0;
}

static int collect_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct buffer *rows = ((struct collector *)visitor)->rows;
    if (rows != NULL) {
        const uint64_t lengths[2] = {key.len, value.len};
        buffer_append(rows, lengths, sizeof lengths);
        buffer_append(rows, key.data, key.len);
        if (value.len > 0) {
            buffer_append(rows, value.data, value.len);
        }
    }
    return 0;
}

static int read_with(struct bytes image, bool verify, struct snapshot_visitor *visitor, struct snapshot_reader **out)
{
    static struct snapshot_memory memory;
    snapshot_memory_init(&memory, image);
    struct snapshot_reader *r = snapshot_reader_new(&memory.source, verify);
    int result;
    while ((result = snapshot_reader_step(r, visitor, 7)) == SNAPSHOT_MORE) {
    }
    *out = r;
    return result;
}

static const char *keep_reason(const struct snapshot_reader *r)
{
    static char reason[256];
    snprintf(reason, sizeof reason, "%s", snapshot_reader_reason(r));
    return reason;
}

int image_read(struct bytes image, bool verify, struct buffer *rows, const char **reason)
{
    struct collector c = {.visitor = {.bucket = collect_bucket, .row = collect_row}, .rows = rows};
    struct snapshot_reader *r;
    int result = read_with(image, verify, &c.visitor, &r);
    *reason = keep_reason(r);
    snapshot_reader_free(r);
    return result;
}

int image_status(struct bytes image, struct snapshot_status *status, const char **reason)
{
    struct snapshot_status_visitor v;
    struct snapshot_reader *r;
    snapshot_status_begin(&v);
    int result = read_with(image, true, &v.visitor, &r);
    *reason = v.reason != NULL ? v.reason : keep_reason(r);
    if (result == 0) {
        snapshot_status_end(&v, snapshot_reader_bytes(r));
        *status = v.status;
    }
    snapshot_status_free(&v);
    snapshot_reader_free(r);
    return result;
}
