/* A member that was away so long that the log does not reach back any more gets an image, and goes on with it in one
 * turn: its readers and watchers notice nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pb.h"
#include "kv/watch.h"
#include "tests/support/cluster_bed.h"
#include <stdio.h>
#include <stdlib.h>

struct away {
    struct cluster_bed c;
    size_t leader, late;
    unsigned next; /* puts so far */
};

static void put_some(struct away *a, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct bed_request put = {0};
        char key[20], value[20];
        snprintf(key, sizeof key, "k%u", a->next % 20);
        snprintf(value, sizeof value, "v%u", a->next++);
        assert_int_equal(core_bed_put(&a->c.beds[a->leader], &put, key, value, 0), 0);
        for (unsigned ms = 0; put.ended == 0 && ms < 100; ms++) {
            cluster_bed_advance(&a->c, 10);
        }
        assert_int_equal(put.ended, 1);
        assert_int_equal(put.error, 0);
    }
}

/* Three members, of which one is away while the others write and forget their log. */
static void away_open(struct away *a)
{
    *a = (struct away){.c = {.images_arrive = true}};
    for (size_t i = 0; i < 3; i++) {
        a->c.beds[i].config.snapshot_count = 10;
        a->c.beds[i].forgets_log = true;
    }
    cluster_bed_open(&a->c, 3);
    a->leader = cluster_bed_ready(&a->c);
    a->late = (a->leader + 1) % 3;
    put_some(a, 20);
}

static struct core_bed *late(struct away *a)
{
    return &a->c.beds[a->late];
}

static void leave(struct away *a)
{
    cluster_bed_isolate(&a->c, a->late, true);
    put_some(a, 60);
}

static void come_back(struct away *a)
{
    cluster_bed_isolate(&a->c, a->late, false);
    cluster_bed_advance(&a->c, 5000);
}

static void assert_same(struct away *a)
{
    struct core_bed *leader = &a->c.beds[a->leader];
    assert_int_equal(kv_applied_index(late(a)->kv), kv_applied_index(leader->kv));
    assert_int_equal(kv_revision(late(a)->kv), kv_revision(leader->kv));
    for (unsigned i = 0; i < 20; i++) {
        char key[20];
        snprintf(key, sizeof key, "k%u", i);
        assert_string_equal(core_bed_value(late(a), key), core_bed_value(leader, key));
    }
}

/* PR13933: what is applied is what the image has, and is not overwritten by what was here before. */
static void test_a_member_that_was_away_gets_an_image_and_goes_on(void **state)
{
    (void)state;
    struct away a;
    away_open(&a);
    leave(&a);
    come_back(&a);
    assert_true(a.c.images >= 1);
    assert_int_equal(late(&a)->installed, 1);
    assert_int_equal(late(&a)->retired, 1);
    assert_int_equal(core_stats(late(&a)->core).images_installed_total, 1);
    assert_same(&a);
    put_some(&a, 15); /* and by the log from there on */
    cluster_bed_advance(&a.c, 500);
    assert_int_equal(late(&a)->installed, 1);
    assert_same(&a);
    /* and again */
    leave(&a);
    come_back(&a);
    assert_int_equal(late(&a)->installed, 2);
    assert_same(&a);
    cluster_bed_close(&a.c);
}

static void test_an_open_range_goes_on_in_the_old_generation(void **state)
{
    (void)state;
    struct away a;
    struct bed_range range;
    away_open(&a);
    cluster_bed_isolate(&a.c, a.late, true);
    assert_int_equal(core_bed_range(late(&a), &range, "k", "l", true), 0);
    put_some(&a, 60);
    assert_int_equal(range.ended, 1);
    assert_int_equal(range.error, 0);
    come_back(&a);
    assert_int_equal(late(&a)->installed, 1);
    assert_int_equal(late(&a)->retired, 0);
    assert_same(&a);
    uint64_t length = range.range.range.kvs_bytes;
    uint8_t *bytes = malloc(length);
    size_t got = 0, n;
    int progress;
    do {
        progress = kv_range_read(&range.range.range, bytes + got, 50, &n);
        got += n;
    } while (progress == KV_MORE);
    assert_int_equal(progress, KV_DONE);
    assert_int_equal(got, length);
    assert_non_null(memmem(bytes, length, "v19", 3)); /* as it was when it was opened */
    assert_null(memmem(bytes, length, "v79", 3));
    free(bytes);
    kv_range_end(&range.range.range);
    cluster_bed_advance(&a.c, 500);
    assert_int_equal(late(&a)->retired, 1);
    cluster_bed_close(&a.c);
}

/* Reads all that a watch stream has and checks that revisions follow each other. */
static void pull_events(struct watch_stream *stream, int64_t *last)
{
    struct watch_out out = {0};
    while (watch_pull(stream, &out, 1 << 20)) {
    }
    assert_int_equal(out.cut_count, 0);
    for (size_t at = 0; at < out.bytes.len;) {
        struct arena arena = {0};
        size_t len = get_be32(out.bytes.data + at + 1);
        Etcdserverpb__WatchResponse *response = (Etcdserverpb__WatchResponse *)pb_unpack(
            &etcdserverpb__watch_response__descriptor, bytes_of(out.bytes.data + at + 5, len), &arena, NULL);
        assert_non_null(response);
        assert_false(response->canceled);
        for (size_t i = 0; i < response->n_events; i++) {
            assert_int_equal(response->events[i]->kv->mod_revision, *last + 1);
            *last = response->events[i]->kv->mod_revision;
        }
        at += 5 + len;
        arena_free(&arena);
    }
    watch_out_free(&out);
}

static void test_a_watcher_sees_each_revision_once_across_an_image(void **state)
{
    (void)state;
    struct away a;
    away_open(&a);
    int64_t last = kv_revision(late(&a)->kv);
    struct watch_stream *stream = watch_stream_open(late(&a)->hub, NULL, a.c.now_ms);
    const struct watch_request request = {.key = bytes_str("k"), .range_end = bytes_str("l")};
    watch_create(stream, &request);
    put_some(&a, 5);
    cluster_bed_advance(&a.c, 500);
    pull_events(stream, &last);
    leave(&a);
    come_back(&a);
    assert_int_equal(late(&a)->installed, 1);
    put_some(&a, 5);
    cluster_bed_advance(&a.c, 500);
    pull_events(stream, &last);
    assert_int_equal(last, kv_revision(a.c.beds[a.leader].kv));
    watch_stream_close(stream);
    cluster_bed_close(&a.c);
}

static void flip(struct buffer *image)
{
    image->data[image->len - 4096 + 8] ^= 0xff; /* the root's kind of page */
}

static void test_a_damaged_image_is_refused_and_the_member_serves_what_it_had(void **state)
{
    (void)state;
    struct away a;
    away_open(&a);
    leave(&a);
    a.c.damage = flip;
    int64_t revision = kv_revision(late(&a)->kv);
    come_back(&a);
    assert_true(late(&a)->refused > 0);
    assert_int_equal(late(&a)->installed, 0);
    assert_int_equal(kv_revision(late(&a)->kv), revision);
    a.c.damage = NULL;
    cluster_bed_advance(&a.c, 5000);
    assert_int_equal(late(&a)->installed, 1);
    assert_same(&a);
    cluster_bed_close(&a.c);
}

static void test_a_stop_while_an_image_is_built_ends_in_order(void **state)
{
    (void)state;
    struct away a;
    away_open(&a);
    leave(&a);
    late(&a)->work_held = true;
    come_back(&a);
    assert_int_equal(late(&a)->installed, 0);
    cluster_bed_close(&a.c); /* stops, and lets go */
}

static void test_nothing_is_applied_or_stored_while_the_store_is_replaced(void **state)
{
    (void)state;
    struct away a;
    away_open(&a);
    leave(&a);
    late(&a)->store_held = true;
    come_back(&a);
    assert_int_equal(late(&a)->installed, 1);
    size_t commits = late(&a)->commits;
    put_some(&a, 5);
    cluster_bed_advance(&a.c, 1000);
    assert_int_equal(core_stats(late(&a)->core).images_installed_total, 0);
    assert_int_equal(late(&a)->commits, commits);
    late(&a)->store_held = false;
    cluster_bed_advance(&a.c, 1000);
    assert_int_equal(core_stats(late(&a)->core).images_installed_total, 1);
    assert_same(&a);
    cluster_bed_close(&a.c);
}

static void ignore(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)request;
    (void)error;
    (void)response;
}

/* The v2 JSON that travels with an image is of the members as they are when it is sent. An etcd 3.6 goes by it: it
 * ends, at each start again, when the log then adds a member that is in it. (cluster_bed compares them.) */
static void test_an_image_is_of_the_members_as_they_are(void **state)
{
    (void)state;
    struct away a;
    struct core_request add = {.done = ignore};
    char *urls[] = {"http://new:2380"};
    uint64_t id;
    away_open(&a);
    leave(&a);
    struct core_bed *leader = &a.c.beds[a.leader];
    leader->store_held = true;
    cluster_bed_isolate(&a.c, a.late, false);
    cluster_bed_advance(&a.c, 1500); /* a view is wanted, and opens late */
    assert_int_equal(a.c.images, 0);
    assert_int_equal(core_member_add(leader->core, &add, urls, 1, true, &id), 0);
    cluster_bed_advance(&a.c, 500);
    assert_non_null(kv_member(leader->kv, id));
    leader->store_held = false;
    cluster_bed_advance(&a.c, 5000);
    assert_true(a.c.images >= 1);
    assert_non_null(kv_member(late(&a)->kv, id));
    assert_same(&a);
    cluster_bed_close(&a.c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_member_that_was_away_gets_an_image_and_goes_on),
        cmocka_unit_test(test_an_open_range_goes_on_in_the_old_generation),
        cmocka_unit_test(test_a_watcher_sees_each_revision_once_across_an_image),
        cmocka_unit_test(test_a_damaged_image_is_refused_and_the_member_serves_what_it_had),
        cmocka_unit_test(test_a_stop_while_an_image_is_built_ends_in_order),
        cmocka_unit_test(test_nothing_is_applied_or_stored_while_the_store_is_replaced),
        cmocka_unit_test(test_an_image_is_of_the_members_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
