#include "tests/support/watch_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef Etcdserverpb__WatchResponse Response;

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
    watch_bed_pull(h, s, &all);
    while ((r = watch_bed_message(&all, &arena)) != NULL) {
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
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "", 0);
    assert_int_equal(ready, 1);
    watch_bed_put(&store, "a", "1");
    watch_bed_put(&store, "b", "1");
    watch_bed_delete(&store, "a");
    expect(h, s, "#0 rev=1 created\n#0 rev=2 PUT a@2=1\n#0 rev=4 DEL a@4\n");
    assert_int_equal(ready, 1);
    watch_bed_put(&store, "a", "2");
    while (watch_step(h, 0, 1)) {
    }
    assert_int_equal(ready, 2);
    expect(h, s, "#0 rev=5 PUT a@5=2\n");
    watch_stream_close(s);
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_ranges_and_prefixes_and_from_key(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "b", "d", 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("c"), .range_end = bytes_of("", 1)});
    watch_create(s, &(struct watch_request){.range_end = bytes_of("", 1)});
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#2 rev=1 created\n");
    watch_bed_put(&store, "a", "x");
    expect(h, s, "#2 rev=2 PUT a@2=x\n");
    watch_bed_put(&store, "b", "x");
    expect(h, s, "#2 rev=3 PUT b@3=x\n#0 rev=3 PUT b@3=x\n");
    watch_bed_put(&store, "d", "x");
    expect(h, s, "#2 rev=4 PUT d@4=x\n#1 rev=4 PUT d@4=x\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_refusals_have_etcds_texts(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
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
    watch_bed_free(&store);
}

static void test_chosen_ids_are_the_next_free_ones(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .watch_id = 1});
    create(s, "a", "", 0);
    create(s, "a", "", 0);
    watch_cancel(s, 0);
    create(s, "a", "", 0);
    expect(h, s, "#1 rev=1 created\n#0 rev=1 created\n#2 rev=1 created\n#0 rev=1 canceled\n#3 rev=1 created\n");
    watch_bed_put(&store, "a", "x");
    expect(h, s, "#1 rev=2 PUT a@2=x\n#2 rev=2 PUT a@2=x\n#3 rev=2 PUT a@2=x\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_history_comes_before_news(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_bed_put(&store, "a", "1");
    watch_bed_put(&store, "a", "2");
    watch_bed_put(&store, "b", "1");
    watch_bed_put(&store, "a", "3");
    create(s, "a", "", 3);
    expect(h, s, "#0 rev=5 created\n#0 rev=5 PUT a@3=2 PUT a@5=3\n");
    watch_bed_put(&store, "a", "4");
    expect(h, s, "#0 rev=6 PUT a@6=4\n");
    create(s, "a", "", 6); /* in the ring now */
    expect(h, s, "#1 rev=6 created\n#1 rev=6 PUT a@6=4\n");
    create(s, "a", "", 8); /* the future */
    watch_bed_put(&store, "a", "5");
    watch_bed_put(&store, "a", "6");
    expect(h, s,
           "#2 rev=6 created\n#0 rev=7 PUT a@7=5\n#1 rev=7 PUT a@7=5\n"
           "#0 rev=8 PUT a@8=6\n#2 rev=8 PUT a@8=6\n#1 rev=8 PUT a@8=6\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_a_start_below_the_compacted_revision_is_cancelled(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    for (int i = 0; i < 5; i++) {
        watch_bed_put(&store, "a", "x");
    }
    store.compacted = 4;
    create(s, "a", "", 3);
    create(s, "a", "", 4);
    expect(h, s,
           "#0 rev=6 created\n#0 rev=0 canceled compact=4\n#1 rev=6 created\n"
           "#1 rev=6 PUT a@4=x PUT a@5=x PUT a@6=x\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_prev_kv_and_filters(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .prev_kv = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .no_put = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .no_delete = true});
    watch_bed_put(&store, "a", "1");
    watch_bed_put(&store, "a", "2");
    watch_bed_delete(&store, "a");
    expect(h, s,
           "#0 rev=1 created\n#1 rev=1 created\n#2 rev=1 created\n"
           "#0 rev=2 PUT a@2=1\n#2 rev=2 PUT a@2=1\n"
           "#0 rev=3 PUT a@3=2<1\n#2 rev=3 PUT a@3=2\n"
           "#0 rev=4 DEL a@4<2\n#1 rev=4 DEL a@4\n");
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .prev_kv = true, .start_revision = 2});
    expect(h, s, "#3 rev=4 created\n#3 rev=4 PUT a@2=1 PUT a@3=2<1 DEL a@4<2\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_one_response_for_all_events_of_a_transaction(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "c", 0);
    create(s, "b", "", 0);
    watch_publish_begin(h, 2);
    watch_bed_change(&store, 0, bytes_str("a"), false, bytes_str("1"));
    watch_bed_change(&store, 1, bytes_str("z"), false, bytes_str("1"));
    watch_bed_change(&store, 2, bytes_str("b"), false, bytes_str("1"));
    watch_publish_end(h);
    store.current++;
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#0 rev=2 PUT a@2=1 PUT b@2=1\n#1 rev=2 PUT b@2=1\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_big_responses_are_fragmented_between_events(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.max_request_bytes = 1});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("k"), .range_end = bytes_str("l"), .fragment = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("k"), .range_end = bytes_str("l")});
    struct bytes value = bytes_of(calloc(1, 200000), 200000);
    watch_publish_begin(h, 2);
    for (int i = 0; i < 5; i++) {
        char key[3] = {'k', (char)('0' + i), 0};
        watch_bed_change(&store, i, bytes_str(key), false, value);
    }
    watch_publish_end(h);
    store.current++;
    expect(h, s,
           "#0 rev=1 created\n#1 rev=1 created\n"
           "#0 rev=2 fragment PUT k0@2 PUT k1@2\n#0 rev=2 fragment PUT k2@2 PUT k3@2\n#0 rev=2 PUT k4@2\n"
           "#1 rev=2 PUT k0@2 PUT k1@2 PUT k2@2 PUT k3@2 PUT k4@2\n");
    free((void *)value.data);
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_progress_request_needs_every_watcher_synced(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_bed_put(&store, "a", "1");
    watch_progress(s); /* no watchers: nothing */
    create(s, "a", "", 0);
    watch_progress(s);
    watch_bed_put(&store, "a", "2");
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
    watch_bed_free(&store);
}

/* A client may give a watcher the id under which progress of the whole stream is told; it is no such thing. */
static void test_progress_of_the_watcher_with_id_minus_one_is_for_that_watcher(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.progress_interval_ms = 1000});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_bed_put(&store, "a", "1");
    watch_create(s, &(struct watch_request){.key = bytes_str("z"), .watch_id = -1, .progress_notify = true});
    expect(h, s, "#-1 rev=2 created\n");
    watch_step(h, 1200, SIZE_MAX);
    expect(h, s, "#-1 rev=2\n");
    create(s, "a", "", 1);
    expect(h, s, "#0 rev=2 created\n#0 rev=2 PUT a@2=1\n");
    watch_stream_close(s);
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_periodic_progress_only_without_events(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.progress_interval_ms = 1000});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .progress_notify = true});
    watch_create(s, &(struct watch_request){.key = bytes_str("b")});
    watch_bed_put(&store, "b", "1");
    uint64_t first = watch_deadline(h);
    assert_true(first >= 1000 && first <= 1100);
    watch_step(h, first - 1, 100);
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#1 rev=2 PUT b@2=1\n");
    watch_step(h, first, 100);
    expect(h, s, "#0 rev=2\n");
    watch_bed_put(&store, "a", "1");
    expect(h, s, "#0 rev=3 PUT a@3=1\n");
    watch_step(h, first * 2, 100);
    expect(h, s, "");
    watch_step(h, first * 3, 100);
    expect(h, s, "#0 rev=3\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

/* Asked for at each entry that is applied. */
static void test_the_backlog_is_what_was_published_and_not_fanned_out(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.ring_bytes = 100});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_bed_put(&store, "a", "nobody watches");
    assert_int_equal(watch_backlog_bytes(h), 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("a"), .prev_kv = true});
    size_t before = 0;
    for (int i = 0; i < 100; i++) {
        watch_bed_put(&store, "a", "value");
        assert_true(watch_backlog_bytes(h) > before);
        before = watch_backlog_bytes(h);
    }
    while (watch_step(h, 0, 10)) {
        assert_true(watch_backlog_bytes(h) <= before);
        before = watch_backlog_bytes(h);
    }
    assert_int_equal(watch_backlog_bytes(h), 0);
    watch_bed_put(&store, "a", "value");
    watch_stream_close(s);
    watch_step(h, 0, 1);
    watch_restore(h);
    assert_int_equal(watch_backlog_bytes(h), 0);
    watch_bed_put(&store, "a", "nobody watches");
    assert_int_equal(watch_backlog_bytes(h), 0);
    watch_hub_free(h);
    watch_bed_free(&store);
}

/* However few watchers there are: the pairs from before are read from the store. */
static void test_a_step_that_looks_previous_pairs_up_is_short_in_bytes_too(void **state)
{
    (void)state;
    enum { COUNT = 40, LARGE = 100 << 10 };
    struct watch_bed store = {0};
    int ready = 0;
    char *value = calloc(1, LARGE + 1), key[] = "ka";
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    memset(value, 'x', LARGE);
    for (int i = 0; i < COUNT; i++) {
        key[1] = (char)('A' + i);
        watch_bed_put(&store, key, value);
    }
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_create(s, &(struct watch_request){.key = bytes_str("k"), .range_end = bytes_str("l"), .prev_kv = true});
    watch_publish_begin(h, store.current + 1);
    for (int i = 0; i < COUNT; i++) {
        key[1] = (char)('A' + i);
        watch_bed_change(&store, i, bytes_str(key), false, bytes_str("small"));
    }
    watch_publish_end(h);
    store.current++;
    unsigned steps = 1;
    while (watch_step(h, 0, 2000)) {
        steps++;
    }
    assert_in_range(steps, 4, COUNT); /* half of the pairs are given with the event */
    watch_hub_free(h);
    watch_bed_free(&store);
    free(value);
}

static void test_slow_streams_lag_and_rejoin_without_loss(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready[2] = {0};
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.stream_credit_bytes = 2000, .ring_bytes = 3000});
    struct watch_stream *fast = watch_stream_open(h, &ready[0], 0), *slow = watch_stream_open(h, &ready[1], 0);
    struct buffer all = {0}, expected = {0}, text = {0};
    struct arena arena = {0};
    create(fast, "a", "", 0);
    create(slow, "a", "", 0);
    buffer_printf(&expected, "#0 created");
    for (int i = 0; i < 200; i++) {
        watch_bed_put(&store, "a", "x");
        buffer_printf(&expected, " %d", i + 2);
        struct buffer news = {0};
        watch_bed_pull(h, fast, &news);
        assert_true(news.len > 0);
        buffer_free(&news);
    }
    assert_int_equal(watch_stats(h).slow_watchers, 1);
    assert_true(watch_stats(h).held_bytes < 3000 + 2 * 2000 + 1000);
    watch_bed_pull(h, slow, &all);
    assert_int_equal(watch_stats(h).slow_watchers, 0);
    const Response *r;
    while ((r = watch_bed_message(&all, &arena)) != NULL) {
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
    watch_bed_free(&store);
}

static void test_a_laggard_below_the_compacted_revision_is_cancelled(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.stream_credit_bytes = 1, .ring_bytes = 1});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "", 0);
    for (int i = 0; i < 10; i++) {
        watch_bed_put(&store, "a", "x");
        while (watch_step(h, 0, 100)) {
        }
    }
    store.compacted = 9;
    expect(h, s, "#0 rev=1 created\n#0 rev=2 PUT a@2=x\n#0 rev=0 canceled compact=9\n");
    assert_int_equal(watch_stats(h).watchers, 0);
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_a_watcher_of_the_future_is_not_cancelled_with_its_lagging_neighbour(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){.stream_credit_bytes = 1, .ring_bytes = 1});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    create(s, "a", "", 0);
    create(s, "a", "", 11);
    for (int i = 0; i < 9; i++) {
        watch_bed_put(&store, "a", "x");
        while (watch_step(h, 0, 100)) {
        }
    }
    store.compacted = 9;
    expect(h, s, "#0 rev=1 created\n#1 rev=1 created\n#0 rev=2 PUT a@2=x\n#0 rev=0 canceled compact=9\n");
    watch_bed_put(&store, "a", "y");
    expect(h, s, "#1 rev=11 PUT a@11=y\n");
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_memory_of_stalled_streams_is_bounded_together(void **state)
{
    (void)state;
    enum { STREAMS = 50 };
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h =
        watch_bed_hub(&store, (struct watch_config){.stream_credit_bytes = 8000, .ring_bytes = 1, .held_bytes = 20000});
    struct watch_stream *streams[STREAMS];
    struct bytes value = bytes_of(calloc(1, 1000), 1000);
    for (int i = 0; i < STREAMS; i++) {
        char key[3] = {'k', (char)('0' + i), 0};
        streams[i] = watch_stream_open(h, &ready, 0);
        create(streams[i], key, "", 0);
        for (int j = 0; j < 6; j++) {
            watch_publish_begin(h, store.current + 1);
            watch_bed_change(&store, 0, bytes_str(key), false, value);
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
        watch_bed_pull(h, streams[i], &all);
        size_t events = 0;
        for (const Response *r; (r = watch_bed_message(&all, &arena)) != NULL; events += r->n_events) {
        }
        assert_int_equal(events, 6);
        buffer_free(&all);
        arena_free(&arena);
    }
    free((void *)value.data);
    watch_hub_free(h);
    watch_bed_free(&store);
}

static void test_closed_streams_free_everything_in_slices(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0), *other = watch_stream_open(h, &ready, 0);
    for (int i = 0; i < 500; i++) {
        create(s, i % 2 ? "a" : "b", "", 0);
    }
    create(other, "a", "", 0);
    watch_bed_put(&store, "a", "1");
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
    watch_bed_free(&store);
}

static void test_a_watcher_created_while_a_revision_is_published_sees_it(void **state)
{
    (void)state;
    struct watch_bed store = {0};
    int ready = 0;
    struct watch_hub *h = watch_bed_hub(&store, (struct watch_config){0});
    struct watch_stream *s = watch_stream_open(h, &ready, 0);
    watch_publish_begin(h, 2); /* nobody watches: nothing is kept */
    watch_bed_change(&store, 0, bytes_str("a"), false, bytes_str("1"));
    create(s, "a", "", 0);
    watch_step(h, 0, 100);
    watch_publish_end(h);
    store.current++;
    expect(h, s, "#0 rev=1 created\n#0 rev=2 PUT a@2=1\n");
    watch_bed_put(&store, "a", "2");
    expect(h, s, "#0 rev=3 PUT a@3=2\n");
    watch_hub_free(h);
    watch_bed_free(&store);
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
        cmocka_unit_test(test_progress_of_the_watcher_with_id_minus_one_is_for_that_watcher),
        cmocka_unit_test(test_periodic_progress_only_without_events),
        cmocka_unit_test(test_the_backlog_is_what_was_published_and_not_fanned_out),
        cmocka_unit_test(test_a_step_that_looks_previous_pairs_up_is_short_in_bytes_too),
        cmocka_unit_test(test_slow_streams_lag_and_rejoin_without_loss),
        cmocka_unit_test(test_a_laggard_below_the_compacted_revision_is_cancelled),
        cmocka_unit_test(test_a_watcher_of_the_future_is_not_cancelled_with_its_lagging_neighbour),
        cmocka_unit_test(test_memory_of_stalled_streams_is_bounded_together),
        cmocka_unit_test(test_closed_streams_free_everything_in_slices),
        cmocka_unit_test(test_a_watcher_created_while_a_revision_is_published_sees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
