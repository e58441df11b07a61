#include "tests/support/watch_bed.h"
#include "base/check.h"
#include "base/error.h"
#include "base/pb.h"
#include <stdlib.h>

static struct bytes keep(struct bytes b)
{
    uint8_t *copy = malloc(b.len + 1);
    memcpy(copy, b.data, b.len);
    return bytes_of(copy, b.len);
}

static int64_t store_revision(void *arg)
{
    return ((struct watch_bed *)arg)->current;
}

static int64_t store_compacted(void *arg)
{
    return ((struct watch_bed *)arg)->compacted;
}

static enum watch_rows store_rows(void *arg, struct watch_position *from, int64_t to_main, size_t budget,
                                  watch_visit *visit, void *visit_arg)
{
    struct watch_bed *s = arg;
    CHECK(from->main >= s->compacted);
    CHECK(to_main <= s->current);
    if (s->moody && random_below(&s->random, 5) == 0) {
        return WATCH_ROWS_WAIT;
    }
    if (s->moody) {
        budget = 1 + random_below(&s->random, 4);
    }
    size_t i = 0;
    while (i < s->count &&
           (s->changes[i].rev < from->main || (s->changes[i].rev == from->main && s->changes[i].sub < from->sub))) {
        i++;
    }
    for (; i < s->count && s->changes[i].rev <= to_main; i++) {
        if (budget-- == 0) {
            return WATCH_ROWS_MORE;
        }
        const struct watch_change *c = &s->changes[i];
        *from = (struct watch_position){.main = c->rev, .sub = c->sub + 1};
        if (!visit(visit_arg, c->rev, c->sub, c->tombstone, c->row)) {
            return WATCH_ROWS_MORE;
        }
    }
    return WATCH_ROWS_END;
}

const struct watch_change *watch_bed_newest(const struct watch_bed *s, struct bytes key, int64_t rev)
{
    const struct watch_change *found = NULL;
    for (size_t i = 0; i < s->count && s->changes[i].rev <= rev; i++) {
        if (bytes_equal(s->changes[i].key, key)) {
            found = &s->changes[i];
        }
    }
    return found == NULL || found->tombstone ? NULL : found;
}

static int store_key_at(void *arg, struct bytes key, int64_t rev, struct buffer *out)
{
    struct watch_bed *s = arg;
    if (rev < s->compacted) {
        return ERR_COMPACTED;
    }
    const struct watch_change *c = watch_bed_newest(s, key, rev);
    if (c == NULL) {
        return ERR_ABSENT;
    }
    buffer_append(out, c->row.data, c->row.len);
    return 0;
}

static struct watch_change *add_change(struct watch_bed *s)
{
    if (s->count == s->capacity) {
        s->capacity = s->capacity * 2 + 64;
        s->changes = realloc(s->changes, s->capacity * sizeof *s->changes);
    }
    return &s->changes[s->count++];
}

static struct bytes make_row(struct bytes key, int64_t create, int64_t mod, int64_t version, struct bytes value)
{
    Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
    kv.key = (ProtobufCBinaryData){key.len, (uint8_t *)key.data};
    kv.create_revision = create;
    kv.mod_revision = mod;
    kv.version = version;
    kv.value = (ProtobufCBinaryData){value.len, (uint8_t *)value.data};
    size_t len = mvccpb__key_value__get_packed_size(&kv);
    uint8_t *row = malloc(len + 1);
    mvccpb__key_value__pack(&kv, row);
    return bytes_of(row, len);
}

void watch_bed_change(struct watch_bed *s, int64_t sub, struct bytes key, bool tombstone, struct bytes value)
{
    const struct watch_change *old = watch_bed_newest(s, key, s->current);
    Mvccpb__KeyValue *before = old == NULL ? NULL : mvccpb__key_value__unpack(NULL, old->row.len, old->row.data);
    struct bytes prev = old == NULL || random_below(&s->random, 2) == 0 ? (struct bytes){0} : old->row;
    struct watch_change *c = add_change(s);
    *c = (struct watch_change){.rev = s->current + 1, .sub = sub, .tombstone = tombstone, .key = keep(key)};
    c->created = before == NULL;
    if (tombstone) {
        c->row = make_row(key, 0, 0, 0, s->none);
    } else if (before == NULL) {
        c->row = make_row(key, c->rev, c->rev, 1, value);
    } else {
        c->row = make_row(key, before->create_revision, c->rev, before->version + 1, value);
    }
    if (before != NULL) {
        mvccpb__key_value__free_unpacked(before, NULL);
    }
    if (s->hub == NULL) {
        return;
    }
    if (tombstone) {
        watch_publish_delete(s->hub, key, prev);
    } else {
        watch_publish_put(s->hub, key, c->row, c->created, prev);
    }
}

void watch_bed_put(struct watch_bed *s, const char *key, const char *value)
{
    watch_publish_begin(s->hub, s->current + 1);
    watch_bed_change(s, 0, bytes_str(key), false, bytes_str(value));
    watch_publish_end(s->hub);
    s->current++;
}

void watch_bed_delete(struct watch_bed *s, const char *key)
{
    watch_publish_begin(s->hub, s->current + 1);
    watch_bed_change(s, 0, bytes_str(key), true, s->none);
    watch_publish_end(s->hub);
    s->current++;
}

void watch_bed_free(struct watch_bed *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free((void *)s->changes[i].key.data);
        free((void *)s->changes[i].row.data);
    }
    free(s->changes);
}

static void watch_bed_ready(struct watch_stream *s, void *arg)
{
    (void)s;
    (*(int *)arg)++;
}

struct watch_hub *watch_bed_hub(struct watch_bed *s, struct watch_config config)
{
    if (s->current == 0) {
        s->current = 1;
        s->compacted = -1;
    }
    random_seed(&s->random, 1);
    s->none = bytes_str("");
    config.cluster_id = 7;
    config.member_id = 9;
    config.source = (struct watch_source){store_revision, store_compacted, store_rows, store_key_at, s};
    config.ready = watch_bed_ready;
    s->hub = watch_hub_new(&config, 0);
    watch_set_term(s->hub, 3);
    return s->hub;
}

/* --- reading messages --------------------------------------------------------------------------------------------- */

void watch_bed_flatten(const struct watch_out *out, struct buffer *all)
{
    struct bytes rest = buffer_bytes(&out->bytes);
    size_t at = 0, before = all->len;
    for (size_t i = 0; i < out->cut_count; i++) {
        size_t own = out->cuts[i].at - at;
        if (own > 0) {
            buffer_append(all, rest.data, own);
            rest.data += own;
            rest.len -= own;
        }
        at = out->cuts[i].at;
        buffer_append(all, out->cuts[i].content.data, out->cuts[i].content.len);
    }
    buffer_append(all, rest.data, rest.len);
    CHECK(out->total == all->len - before);
}

Etcdserverpb__WatchResponse *watch_bed_message(struct buffer *all, struct arena *arena)
{
    if (all->len == 0) {
        return NULL;
    }
    CHECK(all->data[0] == 0);
    size_t len = get_be32(all->data + 1);
    CHECK(all->len >= 5 + len);
    Etcdserverpb__WatchResponse *r = (Etcdserverpb__WatchResponse *)pb_unpack(
        &etcdserverpb__watch_response__descriptor, bytes_of(all->data + 5, len), arena, NULL);
    CHECK(r != NULL);
    buffer_consume(all, 5 + len);
    return r;
}

void watch_bed_pull(struct watch_hub *h, struct watch_stream *s, struct buffer *all)
{
    struct watch_out out = {0};
    for (bool more = true; more;) {
        while (watch_step(h, 0, 100)) {
        }
        more = watch_pull(s, &out, SIZE_MAX) || watch_busy(h);
        watch_bed_flatten(&out, all);
        watch_out_reset(&out);
    }
    watch_out_free(&out);
}
