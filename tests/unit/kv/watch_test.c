#include "base/arena.h"
#include "base/error.h"
#include "base/pb.h"
#include "base/random.h"
#include "kv/rpc.pb-c.h"
#include "kv/watch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef Etcdserverpb__WatchResponse Response;

/* --- a dumb store: all changes that ever were, in an array -------------------------------------------------------- */

struct change {
    int64_t rev, sub;
    bool tombstone, created;
    struct bytes key, row; /* heap */
};

struct store {
    struct change *changes;
    size_t count, capacity;
    int64_t current, compacted;
    struct random random;
    bool moody; /* rows may wait and stop early */
    struct watch_hub *hub;
    struct bytes none;
};

static struct bytes keep(struct bytes b)
{
    uint8_t *copy = malloc(b.len + 1);
    memcpy(copy, b.data, b.len);
    return bytes_of(copy, b.len);
}

static int64_t store_revision(void *arg)
{
    return ((struct store *)arg)->current;
}

static int64_t store_compacted(void *arg)
{
    return ((struct store *)arg)->compacted;
}

static enum watch_rows store_rows(void *arg, struct watch_position *from, int64_t to_main, size_t budget,
                                  watch_visit *visit, void *visit_arg)
{
    struct store *s = arg;
    assert_true(from->main >= s->compacted);
    assert_true(to_main <= s->current);
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
        const struct change *c = &s->changes[i];
        *from = (struct watch_position){.main = c->rev, .sub = c->sub + 1};
        if (!visit(visit_arg, c->rev, c->sub, c->tombstone, c->row)) {
            return WATCH_ROWS_MORE;
        }
    }
    return WATCH_ROWS_END;
}

static const struct change *newest(const struct store *s, struct bytes key, int64_t rev)
{
    const struct change *found = NULL;
    for (size_t i = 0; i < s->count && s->changes[i].rev <= rev; i++) {
        if (bytes_equal(s->changes[i].key, key)) {
            found = &s->changes[i];
        }
    }
    return found == NULL || found->tombstone ? NULL : found;
}

static int store_key_at(void *arg, struct bytes key, int64_t rev, struct buffer *out)
{
    struct store *s = arg;
    if (rev < s->compacted) {
        return ERR_COMPACTED;
    }
    const struct change *c = newest(s, key, rev);
    if (c == NULL) {
        return ERR_ABSENT;
    }
    buffer_append(out, c->row.data, c->row.len);
    return 0;
}

static struct change *add_change(struct store *s)
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

/* One change of the transaction under way (revision current + 1), published if there is a hub. */
static void change(struct store *s, int64_t sub, struct bytes key, bool tombstone, struct bytes value)
{
    const struct change *old = newest(s, key, s->current);
    Mvccpb__KeyValue *before = old == NULL ? NULL : mvccpb__key_value__unpack(NULL, old->row.len, old->row.data);
    struct bytes prev = old == NULL || random_below(&s->random, 2) == 0 ? (struct bytes){0} : old->row;
    struct change *c = add_change(s);
    *c = (struct change){.rev = s->current + 1, .sub = sub, .tombstone = tombstone, .key = keep(key)};
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

static void put(struct store *s, const char *key, const char *value)
{
    watch_publish_begin(s->hub, s->current + 1);
    change(s, 0, bytes_str(key), false, bytes_str(value));
    watch_publish_end(s->hub);
    s->current++;
}

static void del(struct store *s, const char *key)
{
    watch_publish_begin(s->hub, s->current + 1);
    change(s, 0, bytes_str(key), true, s->none);
    watch_publish_end(s->hub);
    s->current++;
}

static void store_free(struct store *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free((void *)s->changes[i].key.data);
        free((void *)s->changes[i].row.data);
    }
    free(s->changes);
}

static void note_ready(struct watch_stream *s, void *arg)
{
    (void)s;
    (*(int *)arg)++;
}

static struct watch_hub *hub_with(struct store *s, struct watch_config config)
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
    config.ready = note_ready;
    s->hub = watch_hub_new(&config, 0);
    watch_set_term(s->hub, 3);
    return s->hub;
}

/* --- reading messages --------------------------------------------------------------------------------------------- */

/* The output as one run of bytes. */
static void flatten(const struct watch_out *out, struct buffer *all)
{
    size_t at = 0, before = all->len;
    for (size_t i = 0; i < out->cut_count; i++) {
        buffer_append(all, out->bytes.data + at, out->cuts[i].at - at);
        at = out->cuts[i].at;
        buffer_append(all, out->cuts[i].content.data, out->cuts[i].content.len);
    }
    buffer_append(all, out->bytes.data + at, out->bytes.len - at);
    assert_int_equal(out->total, all->len - before);
}

static Response *next_message(struct buffer *all, struct arena *arena)
{
    if (all->len == 0) {
        return NULL;
    }
    assert_int_equal(all->data[0], 0);
    size_t len = get_be32(all->data + 1);
    assert_true(all->len >= 5 + len);
    Response *r =
        (Response *)pb_unpack(&etcdserverpb__watch_response__descriptor, bytes_of(all->data + 5, len), arena, NULL);
    assert_non_null(r);
    buffer_consume(all, 5 + len);
    return r;
}

/* Runs the hub dry and pulls everything into all. */
static void pull_all(struct watch_hub *h, struct watch_stream *s, struct buffer *all)
{
    struct watch_out out = {0};
    for (bool more = true; more;) {
        while (watch_step(h, 0, 100)) {
        }
        more = watch_pull(s, &out, SIZE_MAX) || watch_busy(h);
        flatten(&out, all);
        watch_out_reset(&out);
    }
    watch_out_free(&out);
}

static void show(const Response *r, struct buffer *text)
{
    buffer_printf(text, "#%lld rev=%lld%s%s%s", (long long)r->watch_id, (long long)r->header->revision,
                  r->created ? " created" : "", r->canceled ? " canceled" : "", r->fragment ? " fragment" : "");
    if (r->compact_revision != 0) {
        buffer_printf(text, " compact=%lld", (long long)r->compact_revision);
    }
    if (r->cancel_reason != NULL && r->cancel_reason[0] != 0) {
        buffer_printf(text, " (%s)", r->cancel_reason);
    }
    for (size_t i = 0; i < r->n_events; i++) {
        const Mvccpb__Event *e = r->events[i];
        buffer_printf(text, " %s %.*s@%lld", e->type == MVCCPB__EVENT__EVENT_TYPE__DELETE ? "DEL" : "PUT",
                      (int)e->kv->key.len, (const char *)e->kv->key.data, (long long)e->kv->mod_revision);
        if (e->kv->value.len > 0 && e->kv->value.len < 20) {
            buffer_printf(text, "=%.*s", (int)e->kv->value.len, (const char *)e->kv->value.data);
        }
        if (e->prev_kv != NULL) {
            buffer_printf(text, "<%.*s", (int)e->prev_kv->value.len, (const char *)e->prev_kv->value.data);
        }
    }
    buffer_append(text, "\n", 1);
}

/* All that the stream has to say, as text. */
static void expect(struct watch_hub *h, struct watch_stream *s, const char *expected)
{
    struct buffer all = {0}, text = {0};
    struct arena arena = {0};
    const Response *r;
    pull_all(h, s, &all);
    while ((r = next_message(&all, &arena)) != NULL) {
        assert_int_equal(r->header->cluster_id, 7);
        assert_int_equal(r->header->member_id, 9);
        assert_int_equal(r->header->raft_term, 3);
        show(r, &text);
    }
    buffer_append(&text, "", 1);
    assert_string_equal((const char *)text.data, expected);
    buffer_free(&all);
    buffer_free(&text);
    arena_free(&arena);
}

static void create(struct watch_stream *s, const char *key, const char *end, int64_t start)
{
    watch_create(s,
                 &(struct watch_request){.key = bytes_str(key), .range_end = bytes_str(end), .start_revision = start});
}

/* --- behaviour ---------------------------------------------------------------------------------------------------- */

static void test_created_then_events_of_the_key(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "", 0);
    assert_int_equal(ready, 1);
    put(&store, "a", "1");
    put(&store, "b", "1");
    del(&store, "a");
    expect(h, s, "#0 rev=1 created\n#0 rev=2 PUT a@2=1\n#0 rev=4 DEL a@4\n");
    assert_int_equal(ready, 1);
    put(&store, "a", "2");
    while (watch_step(h, 0, 1)) {
    }
    assert_int_equal(ready, 2);
    expect(h, s, "#0 rev=5 PUT a@5=2\n");
    watch_stream_close(s);
    watch_hub_free(h);
    store_free(&store);
}

static void test_ranges_and_prefixes_and_from_key(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "b", "d", 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("c"), .range_end = bytes_of("", 1)});
    watch_create(s, &(struct watch_request){.range_end = bytes_of("", 1)});
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#2 rev=1 created\n");
    put(&store, "a", "x");
    expect(h, s, "#2 rev=2 PUT a@2=x\n");
    put(&store, "b", "x");
    expect(h, s, "#2 rev=3 PUT b@3=x\n#0 rev=3 PUT b@3=x\n");
    put(&store, "d", "x");
    expect(h, s, "#2 rev=4 PUT d@4=x\n#1 rev=4 PUT d@4=x\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_refusals_have_etcds_texts(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "b", "b", 0);
    create(s, "a", "", -1);
    watch_refuse(s, "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .watch_id = 5});
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .watch_id = 5});
    watch_cancel(s, 77);
    watch_cancel(s, 5);
    expect(h, s,
           "#-1 rev=1 created canceled (mvcc: watcher range is empty)\n"
           "#-1 rev=1 created canceled (etcdserver: mvcc: required revision has been compacted)\n"
           "#-1 rev=1 created canceled (rpc error: code = PermissionDenied desc = etcdserver: permission denied)\n"
           "#5 rev=1 created\n"
           "#-1 rev=1 created canceled (mvcc: duplicate watch ID provided on the WatchStream)\n"
           "#5 rev=1 canceled\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_chosen_ids_are_the_next_free_ones(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .watch_id = 1});
    create(s, "a", "", 0);
    create(s, "a", "", 0);
    watch_cancel(s, 0);
    create(s, "a", "", 0);
    expect(h, s, "#1 rev=1 created\n#0 rev=1 created\n#2 rev=1 created\n#0 rev=1 canceled\n#3 rev=1 created\n");
    put(&store, "a", "x");
    expect(h, s, "#1 rev=2 PUT a@2=x\n#2 rev=2 PUT a@2=x\n#3 rev=2 PUT a@2=x\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_history_comes_before_news(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    put(&store, "a", "1");
    put(&store, "a", "2");
    put(&store, "b", "1");
    put(&store, "a", "3");
    create(s, "a", "", 3);
    expect(h, s, "#0 rev=5 created\n#0 rev=5 PUT a@3=2 PUT a@5=3\n");
    put(&store, "a", "4");
    expect(h, s, "#0 rev=6 PUT a@6=4\n");
    create(s, "a", "", 6); /* in the ring now */
    expect(h, s, "#1 rev=6 created\n#1 rev=6 PUT a@6=4\n");
    create(s, "a", "", 8); /* the future */
    put(&store, "a", "5");
    put(&store, "a", "6");
    expect(h, s,
           "#2 rev=6 created\n#0 rev=7 PUT a@7=5\n#1 rev=7 PUT a@7=5\n"
           "#0 rev=8 PUT a@8=6\n#2 rev=8 PUT a@8=6\n#1 rev=8 PUT a@8=6\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_a_start_below_the_compacted_revision_is_cancelled(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    for (int i = 0; i < 5; i++) {
        put(&store, "a", "x");
    }
    store.compacted = 4;
    create(s, "a", "", 3);
    create(s, "a", "", 4);
    expect(h, s,
           "#0 rev=6 created\n#0 rev=0 canceled compact=4\n#1 rev=6 created\n"
           "#1 rev=6 PUT a@4=x PUT a@5=x PUT a@6=x\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_prev_kv_and_filters(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .prev_kv = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .no_put = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .no_delete = true});
    put(&store, "a", "1");
    put(&store, "a", "2");
    del(&store, "a");
    expect(h, s,
           "#0 rev=1 created\n#1 rev=1 created\n#2 rev=1 created\n"
           "#0 rev=2 PUT a@2=1\n#2 rev=2 PUT a@2=1\n"
           "#0 rev=3 PUT a@3=2<1\n#2 rev=3 PUT a@3=2\n"
           "#0 rev=4 DEL a@4<2\n#1 rev=4 DEL a@4\n");
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .prev_kv = true, .start_revision = 2});
    expect(h, s, "#3 rev=4 created\n#3 rev=4 PUT a@2=1 PUT a@3=2<1 DEL a@4<2\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_one_response_for_all_events_of_a_transaction(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "c", 0);
    create(s, "b", "", 0);
    watch_publish_begin(h, 2);
    change(&store, 0, bytes_str("a"), false, bytes_str("1"));
    change(&store, 1, bytes_str("z"), false, bytes_str("1"));
    change(&store, 2, bytes_str("b"), false, bytes_str("1"));
    watch_publish_end(h);
    store.current++;
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#0 rev=2 PUT a@2=1 PUT b@2=1\n#1 rev=2 PUT b@2=1\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_big_responses_are_fragmented_between_events(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){.max_request_bytes = 1});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("k"), .range_end = bytes_str("l"), .fragment = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("k"), .range_end = bytes_str("l")});
    struct bytes value = bytes_of(calloc(1, 200000), 200000);
    watch_publish_begin(h, 2);
    for (int i = 0; i < 5; i++) {
        char key[3] = {'k', (char)('0' + i), 0};
        change(&store, i, bytes_str(key), false, value);
    }
    watch_publish_end(h);
    store.current++;
    expect(h, s,
           "#0 rev=1 created\n#1 rev=1 created\n"
           "#0 rev=2 fragment PUT k0@2 PUT k1@2\n#0 rev=2 fragment PUT k2@2 PUT k3@2\n#0 rev=2 PUT k4@2\n"
           "#1 rev=2 PUT k0@2 PUT k1@2 PUT k2@2 PUT k3@2 PUT k4@2\n");
    free((void *)value.data);
    watch_hub_free(h);
    store_free(&store);
}

static void test_progress_request_needs_every_watcher_synced(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    put(&store, "a", "1");
    watch_progress(s); /* no watchers: nothing */
    create(s, "a", "", 0);
    watch_progress(s);
    put(&store, "a", "2");
    watch_progress(s);
    expect(h, s, "#0 rev=2 created\n#-1 rev=2\n#0 rev=3 PUT a@3=2\n#-1 rev=3\n");
    create(s, "a", "", 1);
    watch_progress(s); /* still catching up */
    expect(h, s, "#1 rev=3 created\n#1 rev=3 PUT a@2=1 PUT a@3=2\n");
    watch_progress(s);
    create(s, "a", "", 9);
    watch_progress(s); /* one starts in the future */
    expect(h, s, "#-1 rev=3\n#2 rev=3 created\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_periodic_progress_only_without_events(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){.progress_interval_ms = 1000});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .progress_notify = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("b")});
    put(&store, "b", "1");
    uint64_t first = watch_deadline(h);
    assert_true(first >= 1000 && first <= 1100);
    watch_step(h, first - 1, 100);
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#1 rev=2 PUT b@2=1\n");
    watch_step(h, first, 100);
    expect(h, s, "#0 rev=2\n");
    put(&store, "a", "1");
    expect(h, s, "#0 rev=3 PUT a@3=1\n");
    watch_step(h, first * 2, 100);
    expect(h, s, "");
    watch_step(h, first * 3, 100);
    expect(h, s, "#0 rev=3\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_slow_streams_lag_and_rejoin_without_loss(void **state)
{
    (void)state;
    struct store store = {0};
    int ready[2] = {0};
    struct watch_hub *h = hub_with(&store, (struct watch_config){.stream_credit_bytes = 2000, .ring_bytes = 3000});
    struct watch_stream *fast = watch_stream_open(h, &ready[0], 0), *slow = watch_stream_open(h, &ready[1], 0);
    struct buffer all = {0}, expected = {0}, text = {0};
    struct arena arena = {0};
    create(fast, "a", "", 0);
    create(slow, "a", "", 0);
    buffer_printf(&expected, "#0 created");
    for (int i = 0; i < 200; i++) {
        put(&store, "a", "x");
        buffer_printf(&expected, " %d", i + 2);
        struct buffer news = {0};
        pull_all(h, fast, &news);
        assert_true(news.len > 0);
        buffer_free(&news);
    }
    assert_int_equal(watch_stats(h).slow_watchers, 1);
    assert_true(watch_stats(h).held_bytes < 3000 + 2 * 2000 + 1000);
    pull_all(h, slow, &all);
    assert_int_equal(watch_stats(h).slow_watchers, 0);
    const Response *r;
    while ((r = next_message(&all, &arena)) != NULL) {
        if (r->created) {
            buffer_printf(&text, "#%lld created", (long long)r->watch_id);
        }
        for (size_t i = 0; i < r->n_events; i++) {
            buffer_printf(&text, " %lld", (long long)r->events[i]->kv->mod_revision);
        }
    }
    buffer_append(&text, "", 1);
    buffer_append(&expected, "", 1);
    assert_string_equal((const char *)text.data, (const char *)expected.data);
    buffer_free(&all);
    buffer_free(&text);
    buffer_free(&expected);
    arena_free(&arena);
    watch_hub_free(h);
    store_free(&store);
}

static void test_a_laggard_below_the_compacted_revision_is_cancelled(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){.stream_credit_bytes = 1, .ring_bytes = 1});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "", 0);
    for (int i = 0; i < 10; i++) {
        put(&store, "a", "x");
        while (watch_step(h, 0, 100)) {
        }
    }
    store.compacted = 9;
    expect(h, s, "#0 rev=1 created\n#0 rev=2 PUT a@2=x\n#0 rev=0 canceled compact=9\n");
    assert_int_equal(watch_stats(h).watchers, 0);
    watch_hub_free(h);
    store_free(&store);
}

static void test_a_watcher_of_the_future_is_not_cancelled_with_its_lagging_neighbour(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){.stream_credit_bytes = 1, .ring_bytes = 1});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "", 0);
    create(s, "a", "", 11);
    for (int i = 0; i < 9; i++) {
        put(&store, "a", "x");
        while (watch_step(h, 0, 100)) {
        }
    }
    store.compacted = 9;
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#0 rev=2 PUT a@2=x\n#0 rev=0 canceled compact=9\n");
    put(&store, "a", "y");
    expect(h, s, "#1 rev=11 PUT a@11=y\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_memory_of_stalled_streams_is_bounded_together(void **state)
{
    (void)state;
    enum { STREAMS = 50 };
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h =
        hub_with(&store, (struct watch_config){.stream_credit_bytes = 8000, .ring_bytes = 1, .held_bytes = 20000});
    struct watch_stream *streams[STREAMS];
    struct bytes value = bytes_of(calloc(1, 1000), 1000);
    for (int i = 0; i < STREAMS; i++) {
        char key[3] = {'k', (char)('0' + i), 0};
        streams[i] = watch_stream_open(h, &ready, 0);
        create(streams[i], key, "", 0);
        for (int j = 0; j < 6; j++) {
            watch_publish_begin(h, store.current + 1);
            change(&store, 0, bytes_str(key), false, value);
            watch_publish_end(h);
            store.current++;
        }
        while (watch_step(h, (uint64_t)i * 2000, 100)) {
        }
        assert_true(watch_stats(h).held_bytes < 20000 + 8 * 1500);
    }
    for (int i = 0; i < STREAMS; i++) {
        struct buffer all = {0};
        struct arena arena = {0};
        pull_all(h, streams[i], &all);
        size_t events = 0;
        for (const Response *r; (r = next_message(&all, &arena)) != NULL; events += r->n_events) {
        }
        assert_int_equal(events, 6);
        buffer_free(&all);
        arena_free(&arena);
    }
    free((void *)value.data);
    watch_hub_free(h);
    store_free(&store);
}

static void test_closed_streams_free_everything_in_slices(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0), *other = watch_stream_open(h, &ready, 0);
    for (int i = 0; i < 500; i++) {
        create(s, i % 2 ? "a" : "b", "", 0);
    }
    create(other, "a", "", 0);
    put(&store, "a", "1");
    watch_step(h, 0, 5);
    watch_stream_close(s);
    size_t steps = 0;
    while (watch_step(h, 0, 50)) {
        steps++;
    }
    assert_true(steps >= 9);
    assert_int_equal(watch_stats(h).watchers, 1);
    expect(h, other, "#0 rev=1 created\n#0 rev=2 PUT a@2=1\n");
    watch_hub_free(h);
    store_free(&store);
}

static void test_a_watcher_created_while_a_revision_is_published_sees_it(void **state)
{
    (void)state;
    struct store store = {0};
    int ready = 0;
    struct watch_hub *h = hub_with(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_publish_begin(h, 2); /* nobody watches: nothing is kept */
    change(&store, 0, bytes_str("a"), false, bytes_str("1"));
    create(s, "a", "", 0);
    watch_step(h, 0, 100);
    watch_publish_end(h);
    store.current++;
    expect(h, s, "#0 rev=1 created\n#0 rev=2 PUT a@2=1\n");
    put(&store, "a", "2");
    expect(h, s, "#0 rev=3 PUT a@3=2\n");
    watch_hub_free(h);
    store_free(&store);
}

/* --- random histories against a dumb model ------------------------------------------------------------------------ */

/* The model: a watcher must see exactly the changes at or above its start that match, one after the other. */
struct model {
    bool used, created, canceled, given_up;
    bool ended;  /* cancelled by compaction: the id stays taken until the client cancels it too */
    bool buried; /* … which it has: one more "canceled" comes */
    struct bytes key, end;
    char key_text[4], end_text[4];
    bool unbounded, prev_kv, no_put, no_delete, fragment, progress;
    int64_t start;
    size_t next; /* the next change to look at */
    bool in_fragment;
    int64_t last_told;
};

enum { STREAMS = 6, WATCHES = 40 };

struct world {
    struct store store;
    struct watch_hub *hub;
    struct random random;
    struct watch_stream *streams[STREAMS];
    int ready[STREAMS];
    bool wants_pull[STREAMS];
    struct model models[STREAMS][WATCHES];
    uint64_t now_ms;
    size_t events, cancels, progresses, compact_cancels;
};

static bool matches(const struct model *m, const struct change *c)
{
    if (c->tombstone ? m->no_delete : m->no_put) {
        return false;
    }
    if (m->unbounded) {
        return bytes_compare(c->key, m->key) >= 0;
    }
    if (m->end.len == 0) {
        return bytes_equal(c->key, m->key);
    }
    return bytes_compare(c->key, m->key) >= 0 && bytes_compare(c->key, m->end) < 0;
}

/* Moves next onto the first change that the watcher has still to see; NULL = none. */
static const struct change *due(const struct store *s, struct model *m)
{
    for (; m->next < s->count; m->next++) {
        const struct change *c = &s->changes[m->next];
        if (c->rev >= m->start && c->rev <= s->current && matches(m, c)) {
            return c;
        }
    }
    return NULL;
}

static void check_event(struct world *w, struct model *m, const Mvccpb__Event *e)
{
    const struct change *c = due(&w->store, m);
    assert_non_null(c);
    assert_int_equal(e->kv->mod_revision, c->rev);
    assert_true(bytes_equal(bytes_of(e->kv->key.data, e->kv->key.len), c->key));
    assert_int_equal(e->type, c->tombstone ? MVCCPB__EVENT__EVENT_TYPE__DELETE : MVCCPB__EVENT__EVENT_TYPE__PUT);
    if (!c->tombstone) {
        uint8_t row[256];
        assert_int_equal(mvccpb__key_value__pack(e->kv, row), c->row.len);
        assert_memory_equal(row, c->row.data, c->row.len);
    }
    const struct change *old = newest(&w->store, c->key, c->rev - 1);
    if (m->prev_kv && old != NULL && e->prev_kv != NULL) {
        uint8_t row[256];
        assert_int_equal(mvccpb__key_value__pack(e->prev_kv, row), old->row.len);
        assert_memory_equal(row, old->row.data, old->row.len);
    } else {
        assert_null(e->prev_kv);
        assert_true(!m->prev_kv || old == NULL || c->rev - 1 < w->store.compacted);
    }
    m->next++;
    m->last_told = c->rev;
    w->events++;
}

static void check_progress(struct world *w, int64_t rev, struct model *m)
{
    const struct change *c = due(&w->store, m);
    if (m->used && m->created && !m->canceled && !m->given_up) {
        assert_true(c == NULL || c->rev > rev);
    }
}

static void check_response(struct world *w, int stream, const Response *r)
{
    if (r->watch_id == -1) {
        w->progresses++;
        for (int i = 0; i < WATCHES; i++) {
            check_progress(w, r->header->revision, &w->models[stream][i]);
        }
        return;
    }
    struct model *m = &w->models[stream][r->watch_id];
    if (m->buried) {
        assert_true(r->canceled && r->compact_revision == 0);
        m->buried = false;
        return;
    }
    assert_true(m->used && !m->canceled);
    if (r->created) {
        assert_false(m->created);
        m->created = true;
        return;
    }
    assert_true(m->created);
    if (r->canceled) {
        m->canceled = true;
        if (r->compact_revision != 0) {
            assert_int_equal(r->header->revision, 0);
            assert_true(r->compact_revision <= w->store.compacted);
            assert_true(r->compact_revision > m->start && r->compact_revision > m->last_told);
            w->compact_cancels++;
            m->ended = !m->given_up;
            m->buried = m->given_up; /* cancelled at its creation, and by the client before it knew */
        }
        return;
    }
    if (r->n_events == 0) {
        w->progresses++;
        assert_true(m->progress);
        check_progress(w, r->header->revision, m);
        return;
    }
    assert_true(r->header->revision >= r->events[r->n_events - 1]->kv->mod_revision);
    assert_true(m->in_fragment || r->events[0]->kv->mod_revision > m->last_told);
    for (size_t i = 0; i < r->n_events; i++) {
        check_event(w, m, r->events[i]);
    }
    m->in_fragment = r->fragment;
    assert_true(m->fragment || !r->fragment);
    if (!r->fragment) { /* ends between two revisions */
        const struct change *c = due(&w->store, m);
        assert_true(c == NULL || c->rev > m->last_told);
    }
}

static void pull_some(struct world *w, int stream, size_t max_bytes)
{
    struct watch_out out = {0};
    struct buffer all = {0};
    struct arena arena = {0};
    if (w->ready[stream] > 0) {
        w->ready[stream] = 0;
        w->wants_pull[stream] = true;
    }
    if (w->wants_pull[stream]) {
        w->wants_pull[stream] = watch_pull(w->streams[stream], &out, max_bytes);
        assert_true(!w->wants_pull[stream] || w->ready[stream] == 0);
        flatten(&out, &all);
        for (const Response *r; (r = next_message(&all, &arena)) != NULL;) {
            check_response(w, stream, r);
        }
    }
    buffer_free(&all);
    arena_free(&arena);
    watch_out_free(&out);
}

static void random_key(struct world *w, char text[4])
{
    text[0] = (char)('a' + random_below(&w->random, 3));
    text[1] = (char)('a' + random_below(&w->random, 3));
    text[random_below(&w->random, 4) == 0 ? 1 : 2] = 0;
}

static void random_create(struct world *w, int stream)
{
    int id = (int)random_below(&w->random, WATCHES);
    struct model *m = &w->models[stream][id];
    if (id == 0 || (m->used && !m->canceled)) {
        return; /* 0 would be chosen by the hub */
    }
    if (m->ended) {
        watch_cancel(w->streams[stream], id);
    }
    *m = (struct model){.used = true, .buried = m->ended || m->buried};
    random_key(w, m->key_text);
    m->key = bytes_str(m->key_text);
    uint64_t kind = random_below(&w->random, 4);
    if (kind == 0) {
        random_key(w, m->end_text);
        m->end = bytes_str(m->end_text);
        if (bytes_compare(m->key, m->end) >= 0) {
            m->used = false;
            return;
        }
    }
    m->unbounded = kind == 1;
    m->prev_kv = random_below(&w->random, 2);
    m->no_put = random_below(&w->random, 10) == 0;
    m->no_delete = random_below(&w->random, 10) == 0;
    m->fragment = random_below(&w->random, 2);
    m->progress = random_below(&w->random, 3) == 0;
    struct watch_request request = {
        .key = m->key,
        .range_end = m->unbounded ? bytes_of("", 1) : m->end,
        .watch_id = id,
        .prev_kv = m->prev_kv,
        .no_put = m->no_put,
        .no_delete = m->no_delete,
        .fragment = m->fragment,
        .progress_notify = m->progress,
    };
    int64_t now = w->store.current;
    uint64_t when = random_below(&w->random, 4);
    request.start_revision = when == 0   ? 0
                             : when == 1 ? now + 1 + (int64_t)random_below(&w->random, 3)
                                         : 1 + (int64_t)random_below(&w->random, (uint64_t)now);
    m->start = request.start_revision == 0 ? now + 1 : request.start_revision;
    watch_create(w->streams[stream], &request);
}

static void random_change(struct world *w, int64_t sub)
{
    char key[4], value[8];
    random_key(w, key);
    snprintf(value, sizeof value, "%d", (int)random_below(&w->random, 1000));
    bool tombstone = newest(&w->store, bytes_str(key), w->store.current) != NULL && random_below(&w->random, 4) == 0;
    for (size_t i = w->store.count; i > 0 && w->store.changes[i - 1].rev > w->store.current; i--) {
        if (bytes_equal(w->store.changes[i - 1].key, bytes_str(key))) {
            return; /* once in a transaction */
        }
    }
    change(&w->store, sub, bytes_str(key), tombstone, bytes_str(value));
}

static void random_step(struct world *w)
{
    w->now_ms += random_below(&w->random, 50);
    watch_step(w->hub, w->now_ms, 1 + random_below(&w->random, 30));
    if (random_below(&w->random, 2) == 0) {
        watch_source_ready(w->hub);
    }
}

static void random_txn(struct world *w)
{
    struct store *s = &w->store;
    watch_publish_begin(w->hub, s->current + 1);
    size_t before = s->count;
    uint64_t changes = random_below(&w->random, 3) == 0 ? 1 + random_below(&w->random, 8) : 1;
    for (uint64_t i = 0; i < changes || s->count == before; i++) {
        random_change(w, (int64_t)i);
        uint64_t meanwhile = random_below(&w->random, 10);
        if (meanwhile == 0) {
            random_step(w);
        } else if (meanwhile == 1) {
            random_create(w, (int)random_below(&w->random, STREAMS));
        }
    }
    watch_publish_end(w->hub);
    s->current++;
}

/* A snapshot arrives: revisions that were never published here. */
static void random_restore(struct world *w)
{
    struct store *s = &w->store;
    s->hub = NULL;
    for (uint64_t n = random_below(&w->random, 4); n > 0; n--) {
        random_change(w, 0);
        s->current++;
    }
    s->hub = w->hub;
    watch_restore(w->hub);
}

static void random_action(struct world *w)
{
    int stream = (int)random_below(&w->random, STREAMS);
    uint64_t what = random_below(&w->random, 1000);
    if (what < 300) {
        random_txn(w);
    } else if (what < 550) {
        random_step(w);
    } else if (what < 750) {
        pull_some(w, stream, random_below(&w->random, 3000));
    } else if (what < 890) {
        random_create(w, stream);
    } else if (what < 950) {
        int id = 1 + (int)random_below(&w->random, WATCHES - 1);
        struct model *m = &w->models[stream][id];
        watch_cancel(w->streams[stream], m->used && !m->canceled ? id : 9999);
        m->given_up = true;
    } else if (what < 985) {
        watch_progress(w->streams[stream]);
    } else if (what < 993) {
        int64_t room = w->store.current - w->store.compacted;
        w->store.compacted += room > 0 ? (int64_t)random_below(&w->random, (uint64_t)room + 1) : 0;
    } else if (what < 996) {
        random_restore(w);
    } else if (what < 998) {
        watch_stream_close(w->streams[stream]);
        w->streams[stream] = watch_stream_open(w->hub, &w->ready[stream], w->now_ms);
        w->ready[stream] = 0;
        w->wants_pull[stream] = false;
        memset(w->models[stream], 0, sizeof w->models[stream]);
    }
}

static void drain(struct world *w)
{
    for (bool more = true; more;) {
        watch_step(w->hub, w->now_ms, 50);
        watch_source_ready(w->hub);
        more = false;
        for (int i = 0; i < STREAMS; i++) {
            pull_some(w, i, 100000);
            more = more || w->ready[i] > 0 || w->wants_pull[i];
        }
        more = more || watch_busy(w->hub);
    }
    assert_int_equal(watch_stats(w->hub).slow_watchers, 0);
    assert_int_equal(watch_stats(w->hub).pending_events, 0);
    for (int i = 0; i < STREAMS; i++) {
        for (int j = 0; j < WATCHES; j++) {
            struct model *m = &w->models[i][j];
            assert_true(!m->used || m->canceled || due(&w->store, m) == NULL);
        }
    }
}

static void run_world(uint64_t seed, int steps, struct world *totals)
{
    struct world *w = calloc(1, sizeof *w);
    random_seed(&w->random, seed);
    struct watch_config config = {
        .stream_credit_bytes = 500 + random_below(&w->random, 6000),
        .ring_bytes = 1 + random_below(&w->random, 6000),
        .held_bytes = 5000 + random_below(&w->random, 10000),
        .progress_interval_ms = 300,
        .seed = seed,
    };
    w->hub = hub_with(&w->store, config);
    w->store.moody = random_below(&w->random, 2) == 0;
    for (int i = 0; i < STREAMS; i++) {
        w->streams[i] = watch_stream_open(w->hub, &w->ready[i], 0);
    }
    for (int i = 0; i < steps; i++) {
        random_action(w);
        if (i % 500 == 499) {
            drain(w);
        }
    }
    drain(w);
    totals->events += w->events;
    totals->progresses += w->progresses;
    totals->compact_cancels += w->compact_cancels;
    watch_hub_free(w->hub);
    store_free(&w->store);
    free(w);
}

static void test_random_histories_match_the_model(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    uint64_t first = seed == NULL ? 1 : strtoull(seed, NULL, 10), count = seed == NULL ? 60 : 1;
    struct world totals = {0};
    for (uint64_t i = first; i < first + count; i++) {
        if (getenv("KEDGE_TEST_VERBOSE") != NULL) {
            print_message("seed %llu\n", (unsigned long long)i);
        }
        run_world(i, 2000, &totals);
    }
    print_message("%zu events, %zu progress responses, %zu cancelled by compaction\n", totals.events, totals.progresses,
                  totals.compact_cancels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_created_then_events_of_the_key),
        cmocka_unit_test(test_ranges_and_prefixes_and_from_key),
        cmocka_unit_test(test_refusals_have_etcds_texts),
        cmocka_unit_test(test_chosen_ids_are_the_next_free_ones),
        cmocka_unit_test(test_history_comes_before_news),
        cmocka_unit_test(test_a_start_below_the_compacted_revision_is_cancelled),
        cmocka_unit_test(test_prev_kv_and_filters),
        cmocka_unit_test(test_one_response_for_all_events_of_a_transaction),
        cmocka_unit_test(test_big_responses_are_fragmented_between_events),
        cmocka_unit_test(test_progress_request_needs_every_watcher_synced),
        cmocka_unit_test(test_periodic_progress_only_without_events),
        cmocka_unit_test(test_slow_streams_lag_and_rejoin_without_loss),
        cmocka_unit_test(test_a_laggard_below_the_compacted_revision_is_cancelled),
        cmocka_unit_test(test_a_watcher_of_the_future_is_not_cancelled_with_its_lagging_neighbour),
        cmocka_unit_test(test_memory_of_stalled_streams_is_bounded_together),
        cmocka_unit_test(test_closed_streams_free_everything_in_slices),
        cmocka_unit_test(test_a_watcher_created_while_a_revision_is_published_sees_it),
        cmocka_unit_test(test_random_histories_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
