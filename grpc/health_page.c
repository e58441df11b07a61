#include "grpc/health_page.h"

#include "base/error.h"
#include <stdio.h>

/* One page's question on its way: at most one linearizable read, shared by the checks that need it. */
struct health {
    struct core_request barrier;
    struct core *core;
    struct http1_request *request;
    void (*answer)(struct health *health, int read_error);
    unsigned checks; /* bits of enum check that are asked for */
    bool verbose;
};

static void read_done(struct core_request *barrier, int error, ProtobufCMessage *response)
{
    (void)response;
    struct health *health = barrier->owner;
    health->answer(health, error);
}

static void aborted(struct http1_request *request)
{
    struct health *health = request->state;
    core_cancel(health->core, &health->barrier);
}

static void ask(struct health *health, bool linearizable)
{
    if (!linearizable) {
        health->answer(health, 0);
        return;
    }
    health->barrier.done = read_done;
    health->barrier.owner = health;
    health->request->state = health;
    health->request->on_abort = aborted;
    int error = core_barrier(health->core, &health->barrier);
    if (error != 0) {
        health->answer(health, error);
    }
}

/* --- /health --- */

static bool excluded(struct http1_request *request, const char *name)
{
    struct bytes value;
    for (size_t i = 0; (value = http1_query(request, "exclude", i)).data != NULL; i++) {
        if (bytes_equal(value, bytes_str(name))) {
            return true;
        }
    }
    return false;
}

static const char *alarm_reason(struct core *core, struct http1_request *request)
{
    if (kv_alarm(core_kv(core), ETCDSERVERPB__ALARM_TYPE__NOSPACE) && !excluded(request, "NOSPACE")) {
        return "ALARM NOSPACE";
    }
    if (kv_alarm(core_kv(core), ETCDSERVERPB__ALARM_TYPE__CORRUPT) && !excluded(request, "CORRUPT")) {
        return "ALARM CORRUPT";
    }
    return NULL;
}

static void unhealthy(struct http1_request *request, const char *reason)
{
    http1_error(request, 503, arena_printf(&request->arena, "{\"health\":\"false\",\"reason\":\"%s\"}", reason));
}

static void health_answer(struct health *health, int read_error)
{
    if (read_error != 0) {
        unhealthy(health->request, arena_printf(&health->request->arena, "RANGE ERROR:%s", error_text(read_error)));
    } else {
        http1_respond_text(health->request, 200, "text/plain; charset=utf-8", "{\"health\":\"true\",\"reason\":\"\"}");
    }
}

static void health_get(struct health *health)
{
    struct http1_request *request = health->request;
    bool serializable = bytes_equal(http1_query(request, "serializable", 0), bytes_str("true"));
    const char *reason = alarm_reason(health->core, request);
    if (reason == NULL && !serializable && !core_has_leader(health->core)) {
        reason = "RAFT NO LEADER";
    }
    if (reason != NULL) {
        unhealthy(request, reason);
        return;
    }
    health->answer = health_answer;
    ask(health, !serializable);
}

/* --- /livez, /readyz --- */

enum check { DATA_CORRUPTION = 1, SERIALIZABLE_READ = 2, LINEARIZABLE_READ = 4, NON_LEARNER = 8 };

static const struct {
    enum check check;
    const char *name;
} check_names[] = {
    {DATA_CORRUPTION, "data_corruption"},
    {SERIALIZABLE_READ, "serializable_read"},
    {LINEARIZABLE_READ, "linearizable_read"},
    {NON_LEARNER, "non_learner"},
};
#define CHECK_COUNT (sizeof check_names / sizeof check_names[0])

/* NULL, or why the check fails. */
static const char *check_failure(struct health *health, enum check check, int read_error)
{
    const struct kv_member *self;
    switch (check) {
    case DATA_CORRUPTION:
        return kv_alarm(core_kv(health->core), ETCDSERVERPB__ALARM_TYPE__CORRUPT) ? "alarm activated: CORRUPT" : NULL;
    case SERIALIZABLE_READ:
        return NULL; /* this very turn could read */
    case LINEARIZABLE_READ:
        return read_error != 0 ? error_text(read_error) : NULL;
    case NON_LEARNER:
        self = kv_member(core_kv(health->core), core_member_id(health->core));
        return self != NULL && self->learner ? "not supported for learner" : NULL;
    }
    return NULL;
}

static void checks_answer(struct health *health, int read_error)
{
    struct buffer lines = {0};
    bool failed = false;
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        if (!(health->checks & check_names[i].check)) {
            continue;
        }
        const char *failure = check_failure(health, check_names[i].check, read_error);
        failed |= failure != NULL;
        if (failure != NULL) {
            buffer_printf(&lines, "[-]%s failed: %s\n", check_names[i].name, failure);
        } else {
            buffer_printf(&lines, "[+]%s ok\n", check_names[i].name);
        }
    }
    struct http1_request *request = health->request;
    if (failed) {
        http1_error(request, 503, arena_printf(&request->arena, "%.*s", (int)lines.len, (const char *)lines.data));
    } else {
        if (!health->verbose) {
            lines.len = 0;
        }
        buffer_printf(&lines, "ok\n");
        http1_set(request, "X-Content-Type-Options", "nosniff");
        http1_respond(request, 200, "text/plain; charset=utf-8", buffer_bytes(&lines));
    }
    buffer_free(&lines);
}

static void checks_get(struct health *health, unsigned checks)
{
    for (size_t i = 0; i < CHECK_COUNT; i++) {
        if (excluded(health->request, check_names[i].name)) {
            checks &= ~(unsigned)check_names[i].check;
        }
    }
    health->checks = checks;
    health->verbose = http1_query(health->request, "verbose", 0).data != NULL;
    health->answer = checks_answer;
    ask(health, (checks & LINEARIZABLE_READ) != 0);
}

/* The checks that a path asks for; 0 = it is none of these pages. */
static unsigned checks_of(struct bytes path)
{
    static const struct {
        const char *page;
        unsigned checks;
    } pages[] = {{"/livez", SERIALIZABLE_READ},
                 {"/readyz", DATA_CORRUPTION | SERIALIZABLE_READ | LINEARIZABLE_READ | NON_LEARNER}};
    for (size_t i = 0; i < 2; i++) {
        if (bytes_equal(path, bytes_str(pages[i].page))) {
            return pages[i].checks;
        }
        for (size_t j = 0; j < CHECK_COUNT; j++) {
            char text[64];
            snprintf(text, sizeof text, "%s/%s", pages[i].page, check_names[j].name);
            if ((pages[i].checks & check_names[j].check) && bytes_equal(path, bytes_str(text))) {
                return check_names[j].check;
            }
        }
    }
    return 0;
}

bool health_page(struct core *core, struct http1_request *request)
{
    unsigned checks = checks_of(request->path);
    bool health_path = bytes_equal(request->path, bytes_str("/health"));
    if (checks == 0 && !health_path) {
        return false;
    }
    if (!pages_get_only(request)) {
        return true;
    }
    struct health *health = arena_zalloc(&request->arena, sizeof *health);
    health->core = core;
    health->request = request;
    if (health_path) {
        health_get(health);
    } else {
        checks_get(health, checks);
    }
    return true;
}
