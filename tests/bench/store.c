/* What the store costs, without a server: `store [FOLDER [ROWS [VALUE_BYTES]]]`. Prints CPU and time of commits, gets,
 * the scan that a start makes, the page walk, deletes as a compaction makes them, repacking. */
#include "base/check.h"
#include "base/error.h"
#include "base/random.h"
#include "kv/backend.h"
#include "kv/lmdb_check.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 10000 };

struct bench {
    char *path;
    uint64_t rows;
    size_t value_bytes;
    struct backend *b;
    struct backend_op ops[BATCH];
    uint8_t keys[BATCH][17];
    uint8_t *value;
    double wall, cpu; /* when the measured thing began */
};

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void begin(struct bench *x)
{
    x->wall = seconds(CLOCK_MONOTONIC);
    x->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void end(struct bench *x, const char *what, uint64_t count)
{
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - x->cpu, wall = seconds(CLOCK_MONOTONIC) - x->wall;
    printf("%-34s %8.3f us CPU each, %8.3f s CPU, %8.3f s in all\n", what, cpu / (double)count * 1e6, cpu, wall);
}

static struct bytes revision(uint8_t out[17], uint64_t number)
{
    put_be64(out, number);
    out[8] = '_';
    put_be64(out + 9, 0);
    return bytes_of(out, 17);
}

static void open_store(struct bench *x)
{
    struct backend_lmdb_config config = {.path = x->path, .quota_bytes = (uint64_t)8 << 30};
    char *reason = NULL;
    int error = backend_open_lmdb(&config, &x->b, &reason);
    CHECK(error == 0, "%s", reason == NULL ? error_text(error) : reason);
}

static void commit(struct bench *x, size_t count, uint64_t index)
{
    struct backend_batch batch = {.ops = x->ops, .count = count, .index = index, .term = 1};
    CHECK(backend_commit(x->b, &batch) == 0);
}

static void put_all(struct bench *x)
{
    begin(x);
    for (uint64_t row = 0; row < x->rows;) {
        size_t n = 0;
        for (; n < BATCH && row < x->rows; n++, row++) {
            x->ops[n] = (struct backend_op){.kind = BACKEND_PUT,
                                            .table = BACKEND_KEY,
                                            .key = revision(x->keys[n], row),
                                            .value = bytes_of(x->value, x->value_bytes)};
        }
        commit(x, n, row);
    }
    end(x, "commit, 10,000 rows a batch", x->rows);
}

static void commit_small(struct bench *x)
{
    enum { COMMITS = 200, ROWS = 10 };
    begin(x);
    for (uint64_t i = 0; i < COMMITS; i++) {
        for (size_t n = 0; n < ROWS; n++) {
            x->ops[n] = (struct backend_op){.kind = BACKEND_PUT,
                                            .table = BACKEND_KEY,
                                            .key = revision(x->keys[n], x->rows + i * ROWS + n),
                                            .value = bytes_of(x->value, x->value_bytes)};
        }
        commit(x, ROWS, x->rows + i);
    }
    end(x, "a commit of 10 rows", COMMITS);
}

static void get_some(struct bench *x, bool ascending)
{
    enum { GETS = 200000 };
    struct random random;
    random_seed(&random, 1);
    begin(x);
    for (uint64_t i = 0; i < GETS; i++) {
        struct backend_read *r;
        struct bytes value;
        uint8_t key[17];
        uint64_t row = ascending ? i % x->rows : random_below(&random, x->rows);
        CHECK(backend_read_begin(x->b, &r) == 0);
        CHECK(backend_get(r, BACKEND_KEY, revision(key, row), &value) == 0);
        backend_read_end(r);
    }
    end(x, ascending ? "get, ascending, own transaction" : "get, random, own transaction", GETS);
}

static bool visit(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    *(uint64_t *)arg += value.len;
    return true;
}

static void scan(struct bench *x)
{
    struct backend_read *r;
    uint64_t bytes = 0;
    begin(x);
    CHECK(backend_read_begin(x->b, &r) == 0);
    CHECK(backend_scan(r, BACKEND_KEY, (struct bytes){0}, visit, &bytes) == 0);
    backend_read_end(r);
    end(x, "scan", x->rows);
}

static void walk(struct bench *x)
{
    struct lmdb_check check;
    begin(x);
    CHECK(backend_check_file(x->path, &check) == 0, "%s", check.reason);
    end(x, "page walk", x->rows);
}

static void delete_most(struct bench *x)
{
    uint64_t deleted = 0;
    begin(x);
    for (uint64_t row = 0; row < x->rows;) {
        size_t n = 0;
        for (; n < BATCH && row < x->rows; row++) {
            if (row % 4 != 3) {
                x->ops[n] =
                    (struct backend_op){.kind = BACKEND_DELETE, .table = BACKEND_KEY, .key = revision(x->keys[n], row)};
                n++;
            }
        }
        deleted += n;
        commit(x, n, x->rows + row);
    }
    end(x, "delete three of four", deleted);
}

static void repack(struct bench *x)
{
    struct buffer cursor = {0};
    begin(x);
    do {
        CHECK(backend_repack(x->b, 1 << 20, &cursor) == 0);
    } while (cursor.len > 0);
    end(x, "repack, a row that is left", x->rows / 4);
    buffer_free(&cursor);
}

static void sizes(struct bench *x, const char *when)
{
    struct backend_stats s = backend_stats(x->b);
    printf("%-34s %8.1f MB, in use %.1f MB\n", when, (double)s.size_bytes / 1e6, (double)s.size_in_use_bytes / 1e6);
}

int main(int argc, char **argv)
{
    struct bench *x = mem_zalloc(sizeof *x);
    x->path = mem_printf("%s/kedge-bench-store-%d", argc > 1 ? argv[1] : "/tmp", (int)getpid());
    x->rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    x->value_bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 283;
    x->value = mem_zalloc(x->value_bytes + 1);
    CHECK(x->rows > 0);
    open_store(x);
    put_all(x);
    sizes(x, "sizes");
    commit_small(x);
    get_some(x, false);
    get_some(x, true);
    scan(x);
    backend_close(x->b);
    walk(x);
    begin(x);
    open_store(x);
    end(x, "open", 1);
    delete_most(x);
    sizes(x, "sizes");
    repack(x);
    sizes(x, "sizes");
    backend_close(x->b);
    char *lock = mem_printf("%s-lock", x->path);
    unlink(x->path);
    unlink(lock);
    free(lock);
    free(x->path);
    free(x->value);
    free(x);
    return 0;
}
