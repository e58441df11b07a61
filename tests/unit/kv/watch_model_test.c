/* Random histories against a dumb model: slow readers, compactions, cancellations, replaced stores. */
#include "tests/support/watch_bed.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef Etcdserverpb__WatchResponse Response;

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
    struct watch_bed store;
    struct watch_hub *hub;
    struct random random;
    struct watch_stream *streams[STREAMS];
    int ready[STREAMS];
    bool wants_pull[STREAMS];
    struct model models[STREAMS][WATCHES];
    uint64_t now_ms;
    size_t events, cancels, progresses, compact_cancels;
};

static bool matches(const struct model *m, const struct watch_change *c)
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
static const struct watch_change *due(const struct watch_bed *s, struct model *m)
{
    for (; m->next < s->count; m->next++) {
        const struct watch_change *c = &s->changes[m->next];
        if (c->rev >= m->start && c->rev <= s->current && matches(m, c)) {
            return c;
        }
    }
    return NULL;
}

static void check_event(struct world *w, struct model *m, const Mvccpb__Event *e)
{
    const struct watch_change *c = due(&w->store, m);
    assert_non_null(c);
    assert_int_equal(e->kv->mod_revision, c->rev);
    assert_true(bytes_equal(bytes_of(e->kv->key.data, e->kv->key.len), c->key));
    assert_int_equal(e->type, c->tombstone ? MVCCPB__EVENT__EVENT_TYPE__DELETE : MVCCPB__EVENT__EVENT_TYPE__PUT);
    if (!c->tombstone) {
        uint8_t row[256];
        assert_int_equal(mvccpb__key_value__pack(e->kv, row), c->row.len);
        assert_memory_equal(row, c->row.data, c->row.len);
    }
    const struct watch_change *old = watch_bed_newest(&w->store, c->key, c->rev - 1);
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
    const struct watch_change *c = due(&w->store, m);
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
        const struct watch_change *c = due(&w->store, m);
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
        watch_bed_flatten(&out, &all);
        for (const Response *r; (r = watch_bed_message(&all, &arena)) != NULL;) {
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
    bool tombstone =
        watch_bed_newest(&w->store, bytes_str(key), w->store.current) != NULL && random_below(&w->random, 4) == 0;
    for (size_t i = w->store.count; i > 0 && w->store.changes[i - 1].rev > w->store.current; i--) {
        if (bytes_equal(w->store.changes[i - 1].key, bytes_str(key))) {
            return; /* once in a transaction */
        }
    }
    watch_bed_change(&w->store, sub, bytes_str(key), tombstone, bytes_str(value));
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
    struct watch_bed *s = &w->store;
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
    struct watch_bed *s = &w->store;
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
    w->hub = watch_bed_hub(&w->store, config);
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
    watch_bed_free(&w->store);
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
        cmocka_unit_test(test_random_histories_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
