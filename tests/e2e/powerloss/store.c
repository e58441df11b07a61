/* Power loss under the store: `store work FOLDER SEED` commits seeded batches to FOLDER/db and acknowledges each
 * (recorded by record.so); `canary` in place of `work` does so
 * without syncing, which the replay must notice. `store replay TRACE FOLDER SEED` opens what each cut of the trace
 * leaves. It must open, pass the page walk, and hold exactly the rows after some batch that is not older than the last
 * acknowledged one. The rows after each batch come from the store in memory doing the same work. */
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "kv/backend.h"
#include "tests/e2e/powerloss/cuts.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCHES = 60, ROWS_MOST = 60, VALUE_MOST = 12000 };

struct work {
    struct random random;
    uint64_t next, oldest; /* rows that may be there: oldest … next - 1 */
};

struct space {
    uint8_t keys[ROWS_MOST * 2][17], values[ROWS_MOST][VALUE_MOST];
    struct backend_op ops[ROWS_MOST * 2];
};

static struct bytes revision(uint8_t out[17], uint64_t number)
{
    put_be64(out, number);
    out[8] = '_';
    put_be64(out + 9, 0);
    return bytes_of(out, 17);
}

/* Mostly new rows at the end; sometimes big ones; deletes anywhere, as compaction does; now and then many. */
static struct backend_batch batch_of(struct work *w, struct space *s, uint64_t number)
{
    struct backend_batch batch = {.ops = s->ops, .index = number, .term = 1};
    for (uint64_t n = random_below(&w->random, ROWS_MOST); n > 0; n--) {
        size_t at = batch.count++;
        size_t len = random_below(&w->random, random_below(&w->random, 10) == 0 ? VALUE_MOST : 400);
        memset(s->values[at], (int)random_below(&w->random, 256), len);
        s->ops[at] = (struct backend_op){.kind = BACKEND_PUT,
                                         .table = BACKEND_KEY,
                                         .key = revision(s->keys[at], w->next++),
                                         .value = bytes_of(s->values[at], len)};
    }
    uint64_t deletes = random_below(&w->random, number % 5 == 0 ? ROWS_MOST : 10);
    for (uint64_t n = deletes; n > 0 && w->next > w->oldest; n--) {
        size_t at = batch.count++;
        uint64_t row = w->oldest + random_below(&w->random, w->next - w->oldest);
        s->ops[at] =
            (struct backend_op){.kind = BACKEND_DELETE, .table = BACKEND_KEY, .key = revision(s->keys[at], row)};
    }
    if (number % 7 == 0) {
        w->oldest += (w->next - w->oldest) / 4;
    }
    return batch;
}

/* Does batch `number`, and sometimes a slice of repacking, which changes no row. */
static void work_step(struct work *w, struct backend *b, uint64_t number, struct buffer *cursor)
{
    static struct space s;
    struct backend_batch batch = batch_of(w, &s, number);
    CHECK(backend_commit(b, &batch) == 0);
    if (number % 4 == 0) {
        CHECK(backend_repack(b, 8192, cursor) == 0);
    }
}

static int work(const char *folder, uint64_t seed, bool canary)
{
    struct work w = {.next = 1, .oldest = 1};
    struct buffer cursor = {0};
    struct backend *b;
    char *path = mem_printf("%s/db", folder), *acked_path = mem_printf("%s/acked", folder), *reason = NULL;
    struct backend_lmdb_config config = {.path = path, .map_bytes = 64 << 20, .unsafe_no_sync = canary};
    int acked = open(acked_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(acked >= 0 && backend_open_lmdb(&config, &b, &reason) == 0, "%s", reason);
    random_seed(&w.random, seed);
    for (uint64_t n = 1; n <= BATCHES; n++) {
        work_step(&w, b, n, &cursor);
        CHECK(write(acked, &n, sizeof n) == sizeof n);
        if (n % 20 == 0) { /* a stop and a start between */
            backend_close(b);
            CHECK(backend_open_lmdb(&config, &b, &reason) == 0, "%s", reason);
        }
    }
    backend_close(b);
    close(acked);
    buffer_free(&cursor);
    free(path);
    free(acked_path);
    return 0;
}

/* --- replay --- */

struct expected {
    uint64_t sums[BATCHES + 1];
};

/* The sum leaves out table `kedge`, which the store on disk has a row of its own in; and `meta`, whose position says
 * which batch it is: both are compared apart. */
static bool sum_visit(void *arg, struct bytes key, struct bytes value)
{
    uint64_t *sum = arg;
    for (size_t i = 0; i < key.len; i++) {
        *sum = (*sum ^ key.data[i]) * 0x100000001b3u;
    }
    for (size_t i = 0; i < value.len; i++) {
        *sum = (*sum ^ value.data[i]) * 0x100000001b3u;
    }
    *sum = (*sum ^ value.len) * 0x9e3779b97f4a7c15u;
    return true;
}

static int sum_of(struct backend *b, uint64_t *sum, uint64_t *number)
{
    struct backend_read *r;
    struct bytes index;
    *sum = 1;
    *number = 0;
    CHECK(backend_read_begin(b, &r) == 0);
    int error = backend_scan(r, BACKEND_KEY, (struct bytes){0}, sum_visit, sum);
    if (backend_get(r, BACKEND_META, bytes_str("consistent_index"), &index) == 0 && index.len == 8) {
        *number = get_be64(index.data);
    }
    backend_read_end(r);
    return error;
}

static int check_cut(void *arg, const char *folder, const struct cut *cut)
{
    struct expected *e = arg;
    struct backend *b;
    char *reason = NULL, *path = mem_printf("%s/db", folder);
    struct backend_lmdb_config config = {.path = path, .map_bytes = 64 << 20, .unsafe_no_sync = true};
    uint64_t sum = 0, number = 0;
    int error = backend_open_lmdb(&config, &b, &reason);
    if (error == 0) {
        error = sum_of(b, &sum, &number);
        backend_close(b);
    }
    bool fine = error == 0 && number <= BATCHES && number >= cut->acked && sum == e->sums[number];
    if (!fine) {
        printf("cut %llu after %zu events (%s): %s %s; batch %llu, %llu acknowledged, rows %s. Files: %s\n",
               (unsigned long long)cut->number, cut->event, cut->kind, error_name(error), reason == NULL ? "" : reason,
               (unsigned long long)number, (unsigned long long)cut->acked,
               number <= BATCHES && sum == e->sums[number] ? "as they should be" : "differ", folder);
    }
    free(reason);
    free(path);
    return fine ? 0 : 1;
}

static int replay(const char *trace, const char *folder, uint64_t seed)
{
    struct expected e;
    struct work w = {.next = 1, .oldest = 1};
    struct buffer cursor = {0};
    struct backend *b = backend_open_memory();
    uint64_t cuts, number;
    random_seed(&w.random, seed);
    CHECK(sum_of(b, &e.sums[0], &number) == 0);
    for (uint64_t n = 1; n <= BATCHES; n++) {
        work_step(&w, b, n, &cursor);
        CHECK(sum_of(b, &e.sums[n], &number) == 0 && number == n);
    }
    backend_close(b);
    struct cuts_options options = {.seed = seed, .random_choices = 6};
    int rc = cuts_each(trace, folder, options, check_cut, &e, &cuts);
    printf("power loss under the store, seed %llu: %llu cuts, %s\n", (unsigned long long)seed, (unsigned long long)cuts,
           rc == 0 ? "each one opens with all that was acknowledged" : "FAILED");
    return rc;
}

int main(int argc, char **argv)
{
    log_configure(LOG_FATAL, LOG_CONSOLE);
    if (argc == 4 && (strcmp(argv[1], "work") == 0 || strcmp(argv[1], "canary") == 0)) {
        return work(argv[2], strtoull(argv[3], NULL, 10), argv[1][0] == 'c');
    }
    if (argc == 5 && strcmp(argv[1], "replay") == 0) {
        return replay(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    }
    fprintf(stderr, "usage: store work|canary FOLDER SEED | store replay TRACE FOLDER SEED\n");
    return 2;
}
