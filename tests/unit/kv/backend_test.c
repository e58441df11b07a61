/* What both implementations of kv/backend.h must do alike: each test runs on the store in memory and on LMDB. */
#include "base/error.h"
#include "base/random.h"
#include "kv/backend.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum store { MEMORY, LMDB };

struct fixture {
    enum store store;
    char folder[64];
    char path[80];
    struct backend *b;
};

static void open_store(struct fixture *f)
{
    char *reason = NULL;
    if (f->store == MEMORY) {
        if (f->b == NULL) {
            f->b = backend_open_memory();
        }
        return;
    }
    struct backend_lmdb_config config = {.path = f->path, .map_bytes = 256 << 20};
    int error = backend_open_lmdb(&config, &f->b, &reason);
    if (error != 0) {
        fail_msg("open: %s: %s", error_name(error), reason == NULL ? "" : reason);
    }
}

/* What a stop and a start leave. */
static void reopen(struct fixture *f)
{
    if (f->store == MEMORY) {
        f->b = backend_memory_crash(f->b, backend_memory_commits(f->b));
    } else {
        backend_close(f->b);
        open_store(f);
    }
}

static int setup(void **state, enum store store)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->store = store;
    snprintf(f->folder, sizeof f->folder, "/tmp/kedge-backend-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/db", f->folder);
    open_store(f);
    *state = f;
    return 0;
}

static int setup_memory(void **state)
{
    return setup(state, MEMORY);
}

static int setup_lmdb(void **state)
{
    return setup(state, LMDB);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    backend_close(f->b);
    snprintf(command, sizeof command, "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* --- a batch that owns its bytes --- */

struct builder {
    struct backend_batch batch;
    size_t capacity;
};

static void add(struct builder *b, int kind, enum backend_table table, struct bytes key, struct bytes value)
{
    if (b->batch.count == b->capacity) {
        b->capacity = b->capacity * 2 + 16;
        b->batch.ops = mem_realloc(b->batch.ops, b->capacity * sizeof *b->batch.ops);
    }
    uint8_t *copy = mem_alloc(key.len + value.len + 1);
    memcpy(copy, key.data, key.len);
    if (value.len > 0) {
        memcpy(copy + key.len, value.data, value.len);
    }
    b->batch.ops[b->batch.count++] = (struct backend_op){.kind = (uint8_t)kind,
                                                         .table = (uint8_t)table,
                                                         .key = bytes_of(copy, key.len),
                                                         .value = bytes_of(copy + key.len, value.len)};
    b->batch.bytes += key.len + value.len;
}

static void put(struct builder *b, enum backend_table table, const char *key, const char *value)
{
    add(b, BACKEND_PUT, table, bytes_str(key), bytes_str(value));
}

static void del(struct builder *b, enum backend_table table, const char *key)
{
    add(b, BACKEND_DELETE, table, bytes_str(key), (struct bytes){0});
}

static int commit(struct fixture *f, struct builder *b)
{
    int error = backend_commit(f->b, &b->batch);
    for (size_t i = 0; i < b->batch.count; i++) {
        free((void *)(uintptr_t)b->batch.ops[i].key.data);
    }
    free(b->batch.ops);
    *b = (struct builder){0};
    return error;
}

static struct bytes revision(uint8_t out[17], uint64_t main_rev, uint64_t sub)
{
    put_be64(out, main_rev);
    out[8] = '_';
    put_be64(out + 9, sub);
    return bytes_of(out, 17);
}

/* --- reading --- */

static void expect(struct backend_read *r, enum backend_table table, const char *key, const char *value)
{
    struct bytes got = {0};
    int error = backend_get(r, table, bytes_str(key), &got);
    if (value == NULL) {
        assert_int_equal(error, ERR_ABSENT);
        return;
    }
    assert_int_equal(error, 0);
    assert_int_equal(got.len, strlen(value));
    assert_memory_equal(got.data, value, got.len);
}

static void expect_now(struct fixture *f, enum backend_table table, const char *key, const char *value)
{
    struct backend_read *r;
    assert_int_equal(backend_read_begin(f->b, &r), 0);
    expect(r, table, key, value);
    backend_read_end(r);
}

struct seen {
    struct buffer text; /* "key=value " for each row */
    size_t stop_after;
    size_t rows;
};

static bool visit(void *arg, struct bytes key, struct bytes value)
{
    struct seen *s = arg;
    buffer_printf(&s->text, "%.*s=%.*s ", (int)key.len, key.data, (int)value.len, value.data);
    s->rows++;
    return s->rows != s->stop_after;
}

static void expect_scan(struct fixture *f, enum backend_table table, const char *from, size_t stop_after,
                        const char *expected)
{
    struct seen s = {.stop_after = stop_after};
    struct backend_read *r;
    assert_int_equal(backend_read_begin(f->b, &r), 0);
    assert_int_equal(backend_scan(r, table, bytes_str(from), visit, &s), 0);
    backend_read_end(r);
    buffer_append(&s.text, "", 1);
    assert_string_equal((const char *)s.text.data, expected);
    buffer_free(&s.text);
}

/* --- tests --- */

static void test_a_batch_is_seen_whole_after_its_commit_and_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    put(&b, BACKEND_LEASE, "one", "1");
    put(&b, BACKEND_LEASE, "two", "");
    put(&b, BACKEND_AUTH, "one", "other table");
    assert_int_equal(commit(f, &b), 0);
    for (int round = 0; round < 2; round++) {
        expect_now(f, BACKEND_LEASE, "one", "1");
        expect_now(f, BACKEND_LEASE, "two", "");
        expect_now(f, BACKEND_LEASE, "three", NULL);
        expect_now(f, BACKEND_AUTH, "one", "other table");
        expect_now(f, BACKEND_AUTH, "two", NULL);
        reopen(f);
    }
}

static void test_operations_of_a_batch_take_effect_in_order(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    put(&b, BACKEND_KEY, "a", "1");
    del(&b, BACKEND_KEY, "a");
    put(&b, BACKEND_KEY, "b", "1");
    put(&b, BACKEND_KEY, "b", "a longer value than before");
    put(&b, BACKEND_KEY, "c", "1");
    del(&b, BACKEND_KEY, "c");
    put(&b, BACKEND_KEY, "c", "2");
    del(&b, BACKEND_KEY, "never was there");
    assert_int_equal(commit(f, &b), 0);
    expect_scan(f, BACKEND_KEY, "", 0, "b=a longer value than before c=2 ");
}

static void test_an_empty_table_takes_rows_again_after_all_were_deleted_in_the_same_batch(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    put(&b, BACKEND_KEY, "a", "1");
    put(&b, BACKEND_KEY, "b", "2");
    assert_int_equal(commit(f, &b), 0);
    put(&b, BACKEND_KEY, "c", "3");
    del(&b, BACKEND_KEY, "c");
    del(&b, BACKEND_KEY, "a");
    del(&b, BACKEND_KEY, "b");
    put(&b, BACKEND_KEY, "d", "4");
    put(&b, BACKEND_KEY, "e", "5");
    assert_int_equal(commit(f, &b), 0);
    expect_scan(f, BACKEND_KEY, "", 0, "d=4 e=5 ");
}

static void test_a_batch_stores_its_log_position_and_index_0_leaves_it_alone(void **state)
{
    struct fixture *f = *state;
    struct builder b = {.batch = {.index = 7, .term = 3}};
    assert_int_equal(commit(f, &b), 0);
    put(&b, BACKEND_KEY, "a", "1");
    assert_int_equal(commit(f, &b), 0);
    struct backend_read *r;
    struct bytes value;
    assert_int_equal(backend_read_begin(f->b, &r), 0);
    assert_int_equal(backend_get(r, BACKEND_META, bytes_str("consistent_index"), &value), 0);
    assert_int_equal(value.len, 8);
    assert_int_equal(get_be64(value.data), 7);
    assert_int_equal(backend_get(r, BACKEND_META, bytes_str("term"), &value), 0);
    assert_int_equal(get_be64(value.data), 3);
    backend_read_end(r);
}

static void test_a_read_keeps_seeing_the_commit_it_began_with(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    struct backend_read *before, *after;
    put(&b, BACKEND_KEY, "a", "1");
    put(&b, BACKEND_KEY, "b", "1");
    assert_int_equal(commit(f, &b), 0);
    assert_int_equal(backend_read_begin(f->b, &before), 0);
    put(&b, BACKEND_KEY, "a", "2");
    del(&b, BACKEND_KEY, "b");
    put(&b, BACKEND_KEY, "c", "2");
    assert_int_equal(commit(f, &b), 0);
    assert_int_equal(backend_read_begin(f->b, &after), 0);
    expect(before, BACKEND_KEY, "a", "1");
    expect(before, BACKEND_KEY, "b", "1");
    expect(before, BACKEND_KEY, "c", NULL);
    expect(after, BACKEND_KEY, "a", "2");
    expect(after, BACKEND_KEY, "b", NULL);
    expect(after, BACKEND_KEY, "c", "2");
    assert_int_equal(backend_count(before, BACKEND_KEY), 2);
    assert_int_equal(backend_count(after, BACKEND_KEY), 2);
    backend_read_end(before);
    backend_read_end(after);
}

static void test_a_scan_begins_at_the_first_key_not_below_and_stops_when_told(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    put(&b, BACKEND_CLUSTER, "b", "2");
    put(&b, BACKEND_CLUSTER, "d", "4");
    put(&b, BACKEND_CLUSTER, "a", "1");
    put(&b, BACKEND_CLUSTER, "c", "3");
    put(&b, BACKEND_CLUSTER, "bb", "");
    assert_int_equal(commit(f, &b), 0);
    expect_scan(f, BACKEND_CLUSTER, "", 0, "a=1 b=2 bb= c=3 d=4 ");
    expect_scan(f, BACKEND_CLUSTER, "", 2, "a=1 b=2 ");
    expect_scan(f, BACKEND_CLUSTER, "b", 0, "b=2 bb= c=3 d=4 ");
    expect_scan(f, BACKEND_CLUSTER, "b0", 1, "bb= ");
    expect_scan(f, BACKEND_CLUSTER, "e", 0, "");
    expect_scan(f, BACKEND_ALARM, "", 0, "");
}

static void test_keys_of_511_bytes_and_values_of_a_megabyte_come_back(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    uint8_t key[BACKEND_KEY_MAX];
    size_t len = 3u << 19;
    uint8_t *value = mem_alloc(len);
    memset(key, 0, sizeof key);
    for (size_t i = 0; i < len; i++) {
        value[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    add(&b, BACKEND_PUT, BACKEND_KEY, bytes_of(key, sizeof key), bytes_of(value, len));
    add(&b, BACKEND_PUT, BACKEND_KEY, bytes_of(key, 1), bytes_of(value, 1));
    assert_int_equal(commit(f, &b), 0);
    reopen(f);
    struct backend_read *r;
    struct bytes got;
    assert_int_equal(backend_read_begin(f->b, &r), 0);
    assert_int_equal(backend_get(r, BACKEND_KEY, bytes_of(key, sizeof key), &got), 0);
    assert_true(bytes_equal(got, bytes_of(value, len)));
    assert_int_equal(backend_get(r, BACKEND_KEY, bytes_of(key, 1), &got), 0);
    assert_int_equal(got.len, 1);
    assert_int_equal(backend_get(r, BACKEND_KEY, bytes_of(key, 2), &got), ERR_ABSENT);
    backend_read_end(r);
    free(value);
}

enum { NAMES = 24 };

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct listed {
    char **names;
    size_t at, end;
};

static bool next_name(void *arg, struct bytes key, struct bytes value)
{
    struct listed *l = arg;
    assert_true(l->at < l->end);
    assert_int_equal(key.len, strlen(l->names[l->at]));
    assert_memory_equal(key.data, l->names[l->at], key.len);
    assert_int_equal(value.len, 3);
    l->at++;
    return true;
}

/* As long as bbolt allows, and in the order of all of their bytes, whatever part of them LMDB can take as a key. */
static void test_names_of_users_may_be_longer_than_a_key(void **state)
{
    struct fixture *f = *state;
    static const size_t lengths[] = {1, 478, 479, 480, 481, 509, 510, 511, 512, 513, 600, 32768};
    char *names[NAMES];
    struct builder b = {0};
    for (size_t i = 0; i < NAMES; i++) {
        size_t len = lengths[i / 2];
        names[i] = mem_zalloc(len + 1);
        memset(names[i], 'n', len);
        names[i][len - 1] = (char)(i % 2 == 0 ? 'a' : 'z');
    }
    for (size_t i = 0; i < NAMES; i++) { /* not in their order */
        put(&b, BACKEND_AUTH_USERS, names[i * 7 % NAMES], "old");
        put(&b, BACKEND_AUTH_USERS, names[i * 7 % NAMES], "new");
    }
    assert_int_equal(commit(f, &b), 0);
    reopen(f);
    qsort(names, NAMES, sizeof names[0], compare_names);
    struct backend_read *r;
    assert_int_equal(backend_read_begin(f->b, &r), 0);
    assert_int_equal(backend_count(r, BACKEND_AUTH_USERS), NAMES);
    for (size_t i = 0; i < NAMES; i++) {
        struct listed rest = {names, i, NAMES};
        expect(r, BACKEND_AUTH_USERS, names[i], "new");
        assert_int_equal(backend_scan(r, BACKEND_AUTH_USERS, bytes_str(names[i]), next_name, &rest), 0);
        assert_int_equal(rest.at, NAMES);
    }
    expect(r, BACKEND_AUTH_ROLES, names[NAMES - 1], NULL);
    backend_read_end(r);
    for (size_t i = 0; i < NAMES; i++) {
        del(&b, BACKEND_AUTH_USERS, names[i]);
    }
    assert_int_equal(commit(f, &b), 0);
    expect_scan(f, BACKEND_AUTH_USERS, "", 0, "");
    for (size_t i = 0; i < NAMES; i++) {
        free(names[i]);
    }
}

static void test_a_third_view_is_refused_until_one_ends(void **state)
{
    struct fixture *f = *state;
    struct backend_read *one, *two, *three;
    assert_int_equal(backend_view_open(f->b, &one), 0);
    assert_int_equal(backend_view_open(f->b, &two), 0);
    assert_int_equal(backend_view_open(f->b, &three), ERR_AGAIN);
    backend_view_close(one);
    assert_int_equal(backend_view_open(f->b, &three), 0);
    backend_view_close(two);
    backend_view_close(three);
}

static void test_sizes_grow_with_rows_and_size_in_use_falls_when_they_are_deleted(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    uint8_t key[17];
    char value[300] = {0};
    struct backend_stats empty = backend_stats(f->b);
    for (uint64_t i = 0; i < 5000; i++) {
        add(&b, BACKEND_PUT, BACKEND_KEY, revision(key, i, 0), bytes_of(value, sizeof value));
    }
    assert_int_equal(commit(f, &b), 0);
    struct backend_stats full = backend_stats(f->b);
    assert_true(full.size_bytes >= empty.size_bytes + 5000 * sizeof value);
    assert_true(full.size_in_use_bytes <= full.size_bytes);
    for (uint64_t i = 0; i < 5000; i++) {
        add(&b, BACKEND_DELETE, BACKEND_KEY, revision(key, i, 0), (struct bytes){0});
    }
    assert_int_equal(commit(f, &b), 0);
    struct backend_stats after = backend_stats(f->b);
    assert_true(after.size_bytes >= full.size_bytes);
    assert_true(after.size_in_use_bytes < full.size_in_use_bytes / 4);
}

/* --- against a model, and with a crash at the end of each life --- */

enum { MODEL_KEYS = 300 };

struct model {
    int value[MODEL_KEYS]; /* 0 = absent */
};

static void model_batch(struct random *random, struct model *m, struct builder *b)
{
    char key[16], value[80];
    for (uint64_t n = random_below(random, 60); n > 0; n--) {
        int k = (int)random_below(random, MODEL_KEYS);
        snprintf(key, sizeof key, "%04d", k);
        if (random_below(random, 3) == 0) {
            m->value[k] = 0;
            del(b, BACKEND_KEY, key);
        } else {
            m->value[k] = 1 + (int)random_below(random, 1000000);
            int digits = snprintf(value, 20, "%d", m->value[k]);
            memset(value + digits, ' ', 50);
            value[digits + (int)random_below(random, 40)] = 0;
            put(b, BACKEND_KEY, key, value);
        }
    }
}

struct model_scan {
    const struct model *m;
    int next;
};

static bool model_visit(void *arg, struct bytes key, struct bytes value)
{
    struct model_scan *s = arg;
    char text[80];
    snprintf(text, sizeof text, "%.*s", (int)key.len, key.data);
    while (s->next < MODEL_KEYS && s->m->value[s->next] == 0) {
        s->next++;
    }
    assert_int_equal(atoi(text), s->next);
    snprintf(text, sizeof text, "%.*s", (int)value.len, value.data);
    assert_int_equal(atoi(text), s->m->value[s->next]);
    s->next++;
    return true;
}

static void model_check(struct fixture *f, const struct model *m)
{
    struct backend_read *r;
    struct model_scan s = {.m = m};
    uint64_t rows = 0;
    for (int i = 0; i < MODEL_KEYS; i++) {
        rows += m->value[i] != 0;
    }
    assert_int_equal(backend_read_begin(f->b, &r), 0);
    assert_int_equal(backend_count(r, BACKEND_KEY), rows);
    assert_int_equal(backend_scan(r, BACKEND_KEY, (struct bytes){0}, model_visit, &s), 0);
    for (; s.next < MODEL_KEYS; s.next++) {
        assert_int_equal(m->value[s.next], 0);
    }
    backend_read_end(r);
}

static void test_random_batches_leave_what_an_array_says(void **state)
{
    struct fixture *f = *state;
    struct random random;
    struct model m = {{0}};
    random_seed(&random, 20);
    for (int round = 0; round < 150; round++) {
        struct builder b = {.batch = {.index = (uint64_t)round + 1, .term = 1}};
        model_batch(&random, &m, &b);
        assert_int_equal(commit(f, &b), 0);
        if (round % 10 == 0) {
            model_check(f, &m);
        }
        if (round % 50 == 49) {
            reopen(f);
            model_check(f, &m);
        }
    }
}

/* --- concurrency --- */

struct reader {
    struct fixture *f;
    atomic_bool *stop;
    uint64_t reads;
};

/* Each commit sets all of a hundred rows to the same number: a read that sees two numbers saw half of a batch. */
static void *read_concurrently(void *arg)
{
    struct reader *me = arg;
    uint64_t before = 0;
    while (!atomic_load(me->stop)) {
        struct backend_read *r;
        struct bytes first = {0}, value;
        if (backend_read_begin(me->f->b, &r) != 0) {
            return "read_begin";
        }
        for (int i = 0; i < 100; i++) {
            char key[16];
            snprintf(key, sizeof key, "%03d", i);
            if (backend_get(r, BACKEND_KEY, bytes_str(key), &value) != 0 || value.len < 8) {
                return "get";
            }
            if (i == 0) {
                first = value;
            } else if (memcmp(first.data, value.data, 8) != 0) {
                return "half a batch was seen";
            }
        }
        if (get_be64(first.data) < before) {
            return "time went back";
        }
        before = get_be64(first.data);
        backend_read_end(r);
        me->reads++;
    }
    return NULL;
}

static void commit_generation(struct fixture *f, uint64_t number)
{
    struct builder b = {0};
    uint8_t value[200] = {0};
    put_be64(value, number);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "%03d", i);
        add(&b, BACKEND_PUT, BACKEND_KEY, bytes_str(key), bytes_of(value, 8 + (number * 7 + (uint64_t)i) % 190));
    }
    assert_int_equal(commit(f, &b), 0);
}

static void test_readers_on_other_threads_see_whole_batches_while_commits_go_on(void **state)
{
    enum { READERS = 3 };
    struct fixture *f = *state;
    atomic_bool stop = false;
    pthread_t threads[READERS];
    struct reader readers[READERS];
    commit_generation(f, 1);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.f = f, .stop = &stop};
        assert_int_equal(pthread_create(&threads[i], NULL, read_concurrently, &readers[i]), 0);
    }
    for (uint64_t n = 2; n < 150; n++) {
        commit_generation(f, n);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        if (complaint != NULL) {
            fail_msg("%s", (const char *)complaint);
        }
    }
}

/* --- only in memory --- */

static void test_a_crash_keeps_a_prefix_of_the_batches(void **state)
{
    struct fixture *f = *state;
    struct random random;
    struct model after[31] = {0};
    random_seed(&random, 5);
    for (int life = 0; life < 20; life++) {
        for (int i = 1; i <= 30; i++) {
            struct builder b = {0};
            after[i] = after[i - 1];
            model_batch(&random, &after[i], &b);
            assert_int_equal(commit(f, &b), 0);
        }
        assert_int_equal(backend_memory_commits(f->b), 30);
        size_t kept = (size_t)random_below(&random, 31);
        f->b = backend_memory_crash(f->b, kept);
        assert_int_equal(backend_memory_commits(f->b), 0);
        model_check(f, &after[kept]);
        after[0] = after[kept];
    }
}

static void test_a_commit_told_to_fail_changes_nothing_and_the_next_one_succeeds(void **state)
{
    struct fixture *f = *state;
    struct builder b = {0};
    backend_memory_fail(f->b, ERR_DISK_FULL);
    put(&b, BACKEND_KEY, "a", "1");
    assert_int_equal(commit(f, &b), ERR_DISK_FULL);
    expect_now(f, BACKEND_KEY, "a", NULL);
    put(&b, BACKEND_KEY, "a", "2");
    assert_int_equal(commit(f, &b), 0);
    expect_now(f, BACKEND_KEY, "a", "2");
    assert_int_equal(backend_memory_commits(f->b), 1);
}

#define BOTH(test)                                                                                                     \
    {.name = #test " (memory)", .test_func = (test), .setup_func = setup_memory, .teardown_func = teardown},           \
    {                                                                                                                  \
        .name = #test " (lmdb)", .test_func = (test), .setup_func = setup_lmdb, .teardown_func = teardown              \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_a_batch_is_seen_whole_after_its_commit_and_after_a_restart),
        BOTH(test_operations_of_a_batch_take_effect_in_order),
        BOTH(test_an_empty_table_takes_rows_again_after_all_were_deleted_in_the_same_batch),
        BOTH(test_a_batch_stores_its_log_position_and_index_0_leaves_it_alone),
        BOTH(test_a_read_keeps_seeing_the_commit_it_began_with),
        BOTH(test_a_scan_begins_at_the_first_key_not_below_and_stops_when_told),
        BOTH(test_keys_of_511_bytes_and_values_of_a_megabyte_come_back),
        BOTH(test_names_of_users_may_be_longer_than_a_key),
        BOTH(test_a_third_view_is_refused_until_one_ends),
        BOTH(test_sizes_grow_with_rows_and_size_in_use_falls_when_they_are_deleted),
        BOTH(test_random_batches_leave_what_an_array_says),
        BOTH(test_readers_on_other_threads_see_whole_batches_while_commits_go_on),
        cmocka_unit_test_setup_teardown(test_a_crash_keeps_a_prefix_of_the_batches, setup_memory, teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_told_to_fail_changes_nothing_and_the_next_one_succeeds,
                                        setup_memory, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
