#include "cmd/kedge/convert_source.h"

#include "base/error.h"
#include "snapshot/input.h"
#include <stdio.h>

/* --- is it etcd's? --- */

/* As LMDB, bbolt has a magic number behind the head of the first page. */
enum { MAGIC_AT = 16, MAGIC_BYTES = 4 };
static const uint8_t bbolt_magic[MAGIC_BYTES] = {0xed, 0xda, 0x0c, 0xed};

static bool has_meta(struct snapshot_source *source, uint64_t offset)
{
    uint8_t page[PAGE_META_END];
    struct page_meta meta;
    int failed;
    return source->size >= offset + sizeof page && source->read(source, offset, page, sizeof page, &failed) == 0 &&
           page_meta_get(page, &meta) == NULL;
}

static bool is_bbolt(struct snapshot_source *source)
{
    uint8_t head[MAGIC_AT + MAGIC_BYTES];
    int failed;
    if (source->size < sizeof head || source->read(source, 0, head, sizeof head, &failed) != 0) {
        return false;
    }
    bool found = memcmp(head + MAGIC_AT, bbolt_magic, MAGIC_BYTES) == 0;
    if (!found && snapshot_input_is_lmdb(source)) {
        return false;
    }
    /* The first meta page may be the one that is damaged: the other stands where the second page begins. */
    for (uint64_t offset = PAGE_BYTES_MIN; !found && offset <= PAGE_BYTES_MAX; offset *= 2) {
        found = has_meta(source, offset);
    }
    return found;
}

bool convert_source_is_etcd(const char *path)
{
    struct snapshot_file file;
    if (snapshot_file_open(&file, path) != 0) {
        return false;
    }
    bool is = is_bbolt(&file.source);
    snapshot_file_close(&file);
    return is;
}

/* --- what is in it --- */

struct look {
    struct snapshot_visitor visitor; /* first */
    struct convert_source *out;
    char bucket[16];
    bool has_keys, has_position;
};

static int look_bucket(struct snapshot_visitor *visitor, struct bytes name)
{
    struct look *look = (struct look *)visitor;
    snprintf(look->bucket, sizeof look->bucket, "%.*s", (int)name.len, (const char *)name.data);
    return 0;
}

static bool is(const struct look *look, const char *bucket, struct bytes key, const char *name)
{
    return strcmp(look->bucket, bucket) == 0 && bytes_equal(key, bytes_str(name));
}

/* Buckets come in the order of their names: auth and cluster before the keys, the position behind them. */
static int look_row(struct snapshot_visitor *visitor, struct bytes key, struct bytes value)
{
    struct look *look = (struct look *)visitor;
    if (is(look, "auth", key, "authEnabled")) {
        look->out->auth_enabled = value.len == 1 && value.data[0] == 1;
    } else if (is(look, "cluster", key, "clusterVersion")) {
        snprintf(look->out->cluster_version, sizeof look->out->cluster_version, "%.*s", (int)value.len,
                 (const char *)value.data);
    } else if (is(look, "meta", key, "consistent_index")) {
        look->has_position = true;
    }
    look->has_keys |= strcmp(look->bucket, "key") == 0;
    return look->has_keys ? ERR_STOPPED : 0;
}

int convert_source_read(const char *path, struct convert_source *out, char **reason)
{
    enum { STEP_ROWS = 10000 };
    struct snapshot_file file;
    struct look look = {.visitor = {.bucket = look_bucket, .row = look_row}, .out = out};
    *out = (struct convert_source){0};
    int failed = -snapshot_file_open(&file, path), progress;
    if (failed != 0) {
        *reason = mem_strdup(strerror(failed));
        return ERR_IO;
    }
    struct snapshot_reader *reader = snapshot_reader_new(&file.source, false);
    while ((progress = snapshot_reader_step(reader, &look.visitor, STEP_ROWS)) == SNAPSHOT_MORE) {
    }
    if (progress != SNAPSHOT_DONE && !look.has_keys) {
        *reason = mem_printf("etcd's database is damaged: %s", snapshot_reader_reason(reader));
    } else {
        progress = 0;
        out->is_fresh = !look.has_keys && !look.has_position;
    }
    snapshot_reader_free(reader);
    snapshot_file_close(&file);
    return progress;
}
