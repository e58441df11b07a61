#include "grpc/peer_pages.h"

#include "base/error.h"
#include "grpc/clean_path.h"
#include "kv/members_json.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* --- headers --- */

void peer_pages_cluster_id(struct core *core, struct http1_request *request)
{
    http1_set(request, "X-Etcd-Cluster-Id", arena_printf(&request->arena, "%" PRIx64, core_cluster_id(core)));
}

bool peer_pages_same_cluster(struct core *core, const struct http1_request *request, bool absent)
{
    struct bytes sent = http1_header(request, "x-etcd-cluster-id");
    if (sent.len == 0) {
        return absent;
    }
    char own[24];
    snprintf(own, sizeof own, "%" PRIx64, core_cluster_id(core));
    return bytes_equal(sent, bytes_str(own));
}

/* --- /members --- */

static void answer_members(struct core *core, struct http1_request *request)
{
    struct buffer out = {0};
    size_t count;
    const struct kv_member *list = kv_members(core_kv(core), &count);
    members_json_list(&out, list, count);
    buffer_append(&out, "\n", 1);
    http1_respond(request, 200, "application/json", buffer_bytes(&out));
    buffer_free(&out);
}

static void members(struct core *core, struct http1_request *request)
{
    peer_pages_cluster_id(core, request);
    answer_members(core, request);
}

/* --- /members/promote/ID --- */

static bool decimal(struct bytes text, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(*out, 10, out) ||
            __builtin_add_overflow(*out, (uint64_t)text.data[i] - '0', out)) {
            return false;
        }
    }
    return text.len > 0;
}

struct promotion {
    struct core_request request;
    struct core *core;
    struct http1_request *http;
};

/* The texts are the membership's own, not the RPC's (http.tsv). */
static void promoted(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct promotion *promotion = request->owner;
    struct http1_request *http = promotion->http;
    switch (error) {
    case 0:
        answer_members(promotion->core, http);
        break;
    case ERR_MEMBER_NOT_FOUND:
        http1_error(http, 404, "membership: ID not found");
        break;
    case ERR_MEMBER_NOT_LEARNER:
        http1_error(http, 412, "membership: can only promote a learner member");
        break;
    case ERR_LEARNER_NOT_READY:
        http1_error(http, 412, error_text(error));
        break;
    default:
        http1_respond_text(http, 500, "application/json", "{\"message\":\"Internal Server Error\"}");
    }
}

static void promotion_aborted(struct http1_request *request)
{
    struct promotion *promotion = request->state;
    core_cancel(promotion->core, &promotion->request);
}

/* A member that does not lead asks the leader in its turn, as etcd does. */
static void promote(struct core *core, struct http1_request *request)
{
    size_t prefix = strlen("/members/promote/");
    struct bytes text = bytes_of(request->path.data + prefix, request->path.len - prefix);
    uint64_t id;
    peer_pages_cluster_id(core, request);
    if (!decimal(text, &id)) {
        http1_error(request, 404,
                    arena_printf(&request->arena, "member %.*s not found in cluster", (int)text.len, text.data));
        return;
    }
    struct promotion *promotion = arena_zalloc(&request->arena, sizeof *promotion);
    *promotion = (struct promotion){.core = core, .http = request};
    promotion->request.done = promoted;
    promotion->request.owner = promotion;
    request->state = promotion;
    request->on_abort = promotion_aborted;
    int error = core_member_promote(core, &promotion->request, id, true);
    if (error != 0) {
        promoted(&promotion->request, error, NULL);
    }
}

/* --- /downgrade/enabled --- */

struct downgrade {
    struct core_request barrier;
    struct core *core;
    struct http1_request *request;
};

static void downgrade_answer(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct downgrade *downgrade = barrier->owner;
    struct http1_request *request = downgrade->request;
    peer_pages_cluster_id(downgrade->core, request);
    if (error != 0) {
        http1_error(request, 500, arena_printf(&request->arena, "failed linearized read: %s", error_text(error)));
        return;
    }
    const char *target;
    http1_respond_text(request, 200, "text/plain", kv_downgrade(core_kv(downgrade->core), &target) ? "true" : "false");
}

static void downgrade_aborted(struct http1_request *request)
{
    struct downgrade *downgrade = request->state;
    core_cancel(downgrade->core, &downgrade->barrier);
}

static void downgrade_enabled(struct core *core, struct http1_request *request)
{
    struct downgrade *downgrade = arena_zalloc(&request->arena, sizeof *downgrade);
    *downgrade = (struct downgrade){.core = core, .request = request};
    downgrade->barrier.done = downgrade_answer;
    downgrade->barrier.owner = downgrade;
    request->state = downgrade;
    request->on_abort = downgrade_aborted;
    int error = core_barrier(core, &downgrade->barrier);
    if (error != 0) {
        downgrade_answer(&downgrade->barrier, error, NULL);
    }
}

/* --- /raft/probing: for round trip times and clock differences --- */

static void probing(struct core *core, struct http1_request *request)
{
    (void)core;
    struct timespec now;
    struct tm utc;
    char second[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &utc);
    http1_respond_text(request, 200, "text/plain; charset=utf-8",
                       arena_printf(&request->arena, "{\"OK\":true,\"Now\":\"%s.%09ldZ\"}\n", second, now.tv_nsec));
}

/* --- the table --- */

static const struct page {
    const char *path;   /* with a '/' at the end: all paths below it too */
    const char *method; /* NULL: any */
    const char *allow;  /* header of a 405; NULL: none, as /leases has it */
    void (*answer)(struct core *core, struct http1_request *request);
} pages[] = {
    {"/members", "GET", "GET", members},
    {"/members/promote/", "POST", "POST", promote},
    {"/members/hashkv", "GET", "GET", peer_hash_kv},
    {"/leases", "POST", NULL, peer_lease_renew},
    {"/leases/internal", "POST", NULL, peer_lease_time_to_live},
    {"/downgrade/enabled", "GET", "GET", downgrade_enabled},
    {"/raft/probing", NULL, NULL, probing},
};

/* A path that only lacks the last '/' is sent on to where it should have gone, as Go's server does. */
static bool redirect(const struct page *page, struct http1_request *request)
{
    size_t len = strlen(page->path);
    if (page->path[len - 1] != '/' || !bytes_equal(request->path, bytes_of(page->path, len - 1))) {
        return false;
    }
    clean_path_send(request, page->path);
    return true;
}

static bool matches(const struct page *page, struct bytes path)
{
    size_t len = strlen(page->path);
    if (page->path[len - 1] == '/') {
        return path.len >= len && memcmp(path.data, page->path, len) == 0;
    }
    return bytes_equal(path, bytes_str(page->path));
}

bool peer_pages_handle(struct core *core, struct http1_request *request)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        const struct page *page = &pages[i];
        if (redirect(page, request)) {
            return true;
        }
        if (!matches(page, request->path)) {
            continue;
        }
        if (page->method == NULL || http1_method_is(request, page->method)) {
            page->answer(core, request);
            return true;
        }
        if (page->allow != NULL) {
            http1_set(request, "Allow", page->allow);
        }
        http1_error(request, 405, "Method Not Allowed");
        return true;
    }
    return false;
}
