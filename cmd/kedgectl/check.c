/* check perf and check datascale: etcdctl's loads, limits and texts. */
#include "base/gotext.h"
#include "base/net/http1_client.h"
#include "base/net/loop.h"
#include "base/url.h"
#include "cmd/kedgectl/load.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/verbs.h"
#include <signal.h>
#include <stdlib.h>

#define CLEANUP_MS 30000 /* deletion, compaction, defragmentation: each */
#define FETCH_MS 30000
#define PAGE_MOST ((size_t)16 << 20) /* of /metrics; what comes behind it isn't looked at */
#define MB (1024.0 * 1024.0)

/* What the four names of a load stand for. */
struct model {
    const char *name, *long_name;
    unsigned rate, perf_clients; /* check perf: puts a second for PERF_SECONDS */
    unsigned keys, data_clients; /* check datascale */
};

static const struct model models[] = {
    {"s", "small", 150, 50, 10000, 50},
    {"m", "medium", 1000, 200, 100000, 200},
    {"l", "large", 8000, 500, 1000000, 500},
    {"xl", "xLarge", 15000, 1000, 3000000, 1000},
};

enum {
    PERF_SECONDS = 60,
    PERF_KEY_BYTES = 256,
    PERF_VALUE_BYTES = 1024,
    DATA_KEY_BYTES = 512,
    DATA_VALUE_BYTES = 512,
};

/* What a check is asked to be. */
static const struct model *find_model(const struct cli_call *call)
{
    const char *name = cli_string(call, "load");
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        if (strcmp(name, models[i].name) == 0 || strcmp(name, models[i].long_name) == 0) {
            return &models[i];
        }
    }
    cli_fail(CLI_BAD_FEATURE, "unknown load option %s", name);
    return NULL;
}

/* --- before and after --------------------------------------------------------------------------------------------- */

static void range_of_prefix(struct session *s, ProtobufCBinaryData *key, ProtobufCBinaryData *end)
{
    static const ProtobufCBinaryData zero = {.len = 1, .data = (uint8_t *)(uintptr_t) "\0"};
    const char *prefix = cli_string(s->call, "prefix");
    *key = *prefix == '\0' ? zero : session_bytes(prefix);
    *end = *prefix == '\0' ? zero : ops_prefix_end(&s->call->arena, *key);
}

/* A load of its own keys only: those that stood there before would be deleted with them. */
static int expect_no_keys(struct session *s, const char *quote)
{
    struct cli_call *call = s->call;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__RangeResponse *response;
    struct session_call what = {KV_RANGE, true, 0};
    range_of_prefix(s, &request.key, &request.range_end);
    request.limit = 1;
    const char *error = session_unary(s, &what, &request.base, &etcdserverpb__range_response__descriptor,
                                      (ProtobufCMessage **)&response);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    if (response->n_kvs > 0) {
        const char *prefix = cli_string(call, "prefix");
        return cli_fail(CLI_INVALID_INPUT, "prefix %s has keys. Delete with %s%s del --prefix %s%s first",
                        gotext_quoted(&call->arena, prefix), quote, call->program->name, prefix, quote);
    }
    return 0;
}

static const char *delete_keys(struct session *s, uint64_t timeout_ms, int64_t *revision)
{
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__DeleteRangeResponse *response;
    struct session_call what = {KV_DELETE_RANGE, false, timeout_ms};
    range_of_prefix(s, &request.key, &request.range_end);
    const char *error = session_unary(s, &what, &request.base, &etcdserverpb__delete_range_response__descriptor,
                                      (ProtobufCMessage **)&response);
    *revision = error == NULL && response->header != NULL ? response->header->revision : 0;
    return error;
}

static int compact(struct session *s, int64_t revision)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    ProtobufCMessage *response;
    struct session_call what = {KV_COMPACT, false, CLEANUP_MS};
    request.revision = revision;
    request.physical = true;
    printf("Compacting with revision %lld\n", (long long)revision);
    const char *error =
        session_unary(s, &what, &request.base, &etcdserverpb__compaction_response__descriptor, &response);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    printf("Compacted with revision %lld\n", (long long)revision);
    return 0;
}

static int defragment(struct session *s, const char *endpoint)
{
    const char *const one[] = {endpoint, NULL};
    const char *quoted = gotext_quoted(&s->call->arena, endpoint);
    struct client_options options = session_options(s, one);
    Etcdserverpb__DefragmentRequest request = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    ProtobufCMessage *response;
    struct session_call what = {MAINTENANCE_DEFRAGMENT, false, CLEANUP_MS};
    struct client *client = client_new(client_loop(s->client), &options);
    printf("Defragmenting %s\n", quoted);
    const char *error = session_unary_on(s, client, &s->call->arena, &what, &request.base,
                                         &etcdserverpb__defragment_response__descriptor, &response);
    client_free(client);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    printf("Defragmented %s\n", quoted);
    return 0;
}

/* What the two flags ask for once the keys are gone. */
static int tidy(struct session *s, int64_t deleted_at)
{
    int status = 0;
    if (cli_bool(s->call, "auto-compact") && deleted_at != 0) {
        status = compact(s, deleted_at);
    }
    bool all = cli_bool(s->call, "auto-defrag");
    for (size_t i = 0; all && status == 0 && s->endpoints[i] != NULL; i++) {
        status = defragment(s, s->endpoints[i]);
    }
    return status;
}

static void tell_errors(const struct load_result *result)
{
    if (result->errors != NULL) {
        printf("FAIL: too many errors\n");
    }
    for (const struct load_error *e = result->errors; e != NULL; e = e->next) {
        printf("FAIL: ERROR(%s) -> %llu\n", e->text, (unsigned long long)e->count);
    }
}

/* --- perf --------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static bool is_interrupted(void)
{
    return interrupted;
}

static int judge(const struct load_result *r, unsigned rate)
{
    bool good = r->errors == NULL;
    tell_errors(r);
    if (r->per_second / rate <= 0.9) {
        printf("FAIL: Throughput too low: %d writes/s\n", (int)r->per_second + 1);
        good = false;
    } else {
        printf("PASS: Throughput is %d writes/s\n", (int)r->per_second + 1);
    }
    if (r->slowest_s > 0.5) {
        printf("Slowest request took too long: %fs\n", r->slowest_s);
        good = false;
    } else {
        printf("PASS: Slowest request took %fs\n", r->slowest_s);
    }
    if (r->deviation_s > 0.1) {
        printf("Stddev too high: %fs\n", r->deviation_s);
        good = false;
    } else {
        printf("PASS: Stddev is %fs\n", r->deviation_s);
    }
    puts(good ? "PASS" : "FAIL");
    return good ? CLI_OK : CLI_ERROR;
}

static int run_perf(struct session *s, const struct model *model)
{
    struct load_options options = {
        .prefix = cli_string(s->call, "prefix"),
        .key_bytes = PERF_KEY_BYTES,
        .value_bytes = PERF_VALUE_BYTES,
        .clients = model->perf_clients,
        .rate = model->rate,
        .seconds = PERF_SECONDS,
        .stopped = is_interrupted,
    };
    struct load_bar bar;
    int64_t deleted_at;
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL); /* ends the load; a second one ends the program */
    struct load_result result = load_run(s, &options, &bar);
    const char *error = delete_keys(s, CLEANUP_MS, &deleted_at);
    if (error != NULL) {
        printf("FAIL: Cleanup failed during key deletion: ERROR(%s)\n", error);
    }
    int status = tidy(s, deleted_at);
    return status != 0 ? status : judge(&result, model->rate);
}

/* What both have in common: a load of the table, and a prefix without keys, which etcd quotes as `quote` says. */
static int check(struct cli_call *call, const char *quote, int (*run)(struct session *, const struct model *))
{
    struct session s;
    const struct model *model = find_model(call);
    if (model == NULL) {
        return CLI_BAD_FEATURE;
    }
    int status = session_open(&s, call);
    if (status != 0) {
        return status;
    }
    status = expect_no_keys(&s, quote);
    return session_end(&s, status != 0 ? status : run(&s, model));
}

int verb_check_perf(struct cli_call *call)
{
    return check(call, "'", run_perf);
}

/* --- datascale: how much more memory the first endpoint's server has when the keys are there -----------------------
 */

struct fetch {
    struct http1_client client;
    struct arena *arena;
    struct buffer page;
    const char *failure;
    bool done;
};

static void on_page(struct http1_client *client, struct bytes data)
{
    struct fetch *f = client->owner;
    if (f->page.len < PAGE_MOST) {
        buffer_append(&f->page, data.data, data.len);
    }
}

static void on_fetched(struct http1_client *client, const char *failure)
{
    struct fetch *f = client->owner;
    f->failure = failure == NULL ? NULL : arena_printf(f->arena, "%s", failure);
    f->done = true;
}

/* The value of a row without labels, "NAME VALUE". NULL = there is none. */
static const char *find_row(struct arena *arena, const struct buffer *page, const char *name)
{
    const char *text = arena_printf(arena, "\n%.*s", (int)page->len, (const char *)page->data);
    const char *row = strstr(text, arena_printf(arena, "\n%s ", name));
    if (row == NULL) {
        return NULL;
    }
    row += 1 + strlen(name) + 1;
    return arena_printf(arena, "%.*s", (int)strcspn(row, "\r\n"), row);
}

static const char *fetch_page(struct session *s, const char *endpoint, struct buffer *page)
{
    struct arena *arena = &s->call->arena;
    struct url_list urls;
    bool bare = strstr(endpoint, "://") == NULL;
    char *full = arena_printf(arena, "%s%s", bare ? "http://" : "", endpoint);
    const char *wrong = url_list_of(arena, &full, 1, &urls);
    if (wrong != NULL) {
        return wrong;
    }
    struct fetch f = {.arena = arena, .client = {.loop = client_loop(s->client)}};
    f.client.owner = &f;
    f.client.on_data = on_page;
    f.client.on_done = on_fetched;
    struct http1_ask ask = {.host = urls.items[0].host,
                            .port = urls.items[0].port,
                            .method = "GET",
                            .target = "/metrics",
                            .dial_ms = FETCH_MS,
                            .total_ms = FETCH_MS};
    http1_client_start(&f.client, &ask);
    while (!f.done) {
        loop_step(client_loop(s->client), -1);
    }
    http1_client_close(&f.client);
    *page = f.page;
    return f.failure == NULL ? NULL : arena_printf(arena, "Get \"%s/metrics\": %s", full, f.failure);
}

/* 0 after a message. */
static double memory_of(struct session *s, const char *endpoint)
{
    static const char name[] = "process_resident_memory_bytes";
    struct buffer page = {0};
    const char *error = fetch_page(s, endpoint, &page);
    const char *row = error != NULL ? NULL : find_row(&s->call->arena, &page, name);
    buffer_free(&page);
    if (error != NULL) {
        printf("fetch error: %s\n", error);
    } else if (row == NULL) {
        printf("could not find: %s\n", name);
    }
    return row == NULL ? 0 : strtod(row, NULL);
}

static double need_memory(struct session *s, const char *when)
{
    double bytes = memory_of(s, s->endpoints[0]);
    if (bytes == 0) {
        printf("FAIL: Could not read process_resident_memory_bytes %s the put operations.\n", when);
    }
    return bytes;
}

static int run_datascale(struct session *s, const struct model *model)
{
    struct load_options options = {
        .prefix = cli_string(s->call, "prefix"),
        .key_bytes = DATA_KEY_BYTES,
        .value_bytes = DATA_VALUE_BYTES,
        .clients = model->data_clients,
        .count = model->keys,
    };
    struct load_bar bar;
    int64_t deleted_at;
    double before = need_memory(s, "before");
    if (before == 0) {
        return CLI_ERROR;
    }
    printf(
        "Start data scale check for work load [%u key-value pairs, %d bytes per key-value, %u concurrent clients].\n",
        model->keys, DATA_KEY_BYTES + DATA_VALUE_BYTES, model->data_clients);
    fflush(stdout);
    struct load_result result = load_run(s, &options, &bar);
    double after = need_memory(s, "after");
    if (after == 0) {
        return CLI_ERROR;
    }
    const char *error = delete_keys(s, 0, &deleted_at);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    int status = tidy(s, deleted_at);
    if (status == 0 && result.errors != NULL) {
        tell_errors(&result);
        status = CLI_ERROR;
    }
    if (status == 0) {
        printf("PASS: Approximate system memory used : %.2f MB.\n", (after - before) / MB);
    }
    return status;
}

int verb_check_datascale(struct cli_call *call)
{
    return check(call, "", run_datascale);
}
