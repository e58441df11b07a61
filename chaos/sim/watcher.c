/* Clients that watch. Each has one stream with a few watches; it reads late and little, sometimes not at all for a
 * while, and after a crash resumes each watch behind the last revision that it was sent, as client libraries do. */
#include "base/pb.h"
#include "chaos/sim/internal.h"
#include <stdlib.h>

void sim_watch_ready(struct watch_stream *stream, void *arg)
{
    (void)stream;
    struct sim_watcher *w = arg;
    struct random *random = &w->sim->random;
    uint64_t late = random_below(random, 20) == 0 && !w->sim->quiet ? 2000 : 30;
    w->due_ms = w->sim->now_ms + random_below(random, late);
}

void sim_watch_init(struct sim_watcher *w)
{
    struct random *random = &w->sim->random;
    for (int i = 0; i < SIM_WATCHES; i++) {
        struct sim_watch *watch = &w->watches[i];
        watch->lo = (int)random_below(random, MODEL_KEYS);
        watch->hi = watch->lo + 1 + (int)random_below(random, (uint64_t)(MODEL_KEYS - watch->lo));
        watch->single = watch->hi == watch->lo + 1;
        watch->from_key = watch->hi == MODEL_KEYS;
        watch->prev_kv = random_below(random, 2);
        watch->progress = random_below(random, 2);
    }
}

static void create(struct sim_watcher *w, int i)
{
    struct sim_watch *watch = &w->watches[i];
    char key[MODEL_KEY_LEN + 1], end[MODEL_KEY_LEN + 1];
    model_key_name(watch->lo, key);
    model_key_name(watch->hi, end);
    struct watch_request request = {
        .key = bytes_str(key),
        .range_end = watch->from_key ? bytes_of("", 1)
                     : watch->single ? (struct bytes){0}
                                     : bytes_str(end),
        .start_revision = watch->resume,
        .watch_id = i + 1,
        .prev_kv = watch->prev_kv,
        .progress_notify = watch->progress,
    };
    watch->alive = true;
    watch->created = false;
    watch_create(w->stream, &request);
}

/* At any member that serves; else again later. */
static void attach(struct sim_watcher *w)
{
    struct sim *s = w->sim;
    struct sim_member *m = &s->members[random_below(&s->random, s->member_count)];
    if (!sim_member_serves(m)) {
        w->move_ms = s->now_ms + sim_between(s, 20, 200);
        return;
    }
    w->at = m;
    w->due_ms = SIM_NEVER;
    w->move_ms = s->config.members == 1 ? SIM_NEVER : s->now_ms + sim_between(s, 500, 20000);
    w->stream = watch_stream_open(m->hub, w, sim_member_clock(m));
    for (int i = 0; i < SIM_WATCHES; i++) {
        create(w, i);
    }
    m->dirty = true;
}

void sim_watcher_cut(struct sim_watcher *w)
{
    if (w->stream != NULL) {
        watch_stream_close(w->stream);
        w->stream = NULL;
    }
    watch_out_free(&w->out);
    w->at = NULL;
    w->due_ms = SIM_NEVER;
    w->move_ms = w->sim->now_ms + random_below(&w->sim->random, 200);
}

/* --- what comes ----------------------------------------------------------------------------------------------------
 */

static uint64_t digest_kv(const Mvccpb__KeyValue *kv)
{
    struct row_fields fields = {
        .key = bytes_of(kv->key.data, kv->key.len),
        .value = bytes_of(kv->value.data, kv->value.len),
        .create_revision = kv->create_revision,
        .mod_revision = kv->mod_revision,
        .version = kv->version,
        .lease = kv->lease,
    };
    return model_digest_row(1, &fields);
}

static void take_event(struct sim_watcher *w, struct sim_watch *watch, const Mvccpb__Event *e)
{
    struct sim *s = w->sim;
    s->result->events++;
    watch->resume = e->kv->mod_revision + 1;
    if (s->config.canary == SIM_CANARY_LOST_EVENT && s->result->events % 50 == 49) {
        return;
    }
    struct sim_event r = {
        .rev = e->kv->mod_revision,
        .key = model_key_number(bytes_of(e->kv->key.data, e->kv->key.len)),
        .dead = e->type == MVCCPB__EVENT__EVENT_TYPE__DELETE,
        .digest = digest_kv(e->kv),
        .has_prev = e->prev_kv != NULL,
    };
    if (r.has_prev) {
        r.prev_digest = digest_kv(e->prev_kv);
    }
    sim_trace(s, "event", (uint64_t)r.rev, r.digest);
    sim_check_event(s, watch, &r);
}

static void take_progress(struct sim *s, struct sim_watch *watch, int64_t rev)
{
    if (watch->alive && watch->created) {
        sim_check_progress(s, watch, rev);
        watch->resume = rev + 1 > watch->resume ? rev + 1 : watch->resume;
    }
}

static void take_response(struct sim_watcher *w, const Etcdserverpb__WatchResponse *r)
{
    struct sim *s = w->sim;
    if (r->watch_id == -1 && r->canceled) {
        sim_fail(s, "a watch was refused: %s", r->cancel_reason);
        return;
    }
    if (r->watch_id == -1) {
        for (int i = 0; i < SIM_WATCHES; i++) {
            take_progress(s, &w->watches[i], r->header->revision);
        }
        return;
    }
    struct sim_watch *watch = &w->watches[r->watch_id - 1];
    if (r->created) {
        watch->created = true;
        if (watch->resume == 0) { /* the first time: from now on */
            watch->resume = watch->position = r->header->revision + 1;
        }
    } else if (r->canceled && r->compact_revision == 0) {
        create(w, (int)r->watch_id - 1);
    } else if (r->canceled) {
        sim_check_cancelled(s, watch, r->compact_revision);
        watch->resume = r->compact_revision;
        watch->created = false;
        watch_cancel(w->stream, r->watch_id); /* the id stays taken until then */
    } else if (r->n_events == 0) {
        take_progress(s, watch, r->header->revision);
    }
    for (size_t i = 0; i < r->n_events; i++) {
        take_event(w, watch, r->events[i]);
    }
}

/* The messages are small: nothing is cut in by reference. */
static void take_all(struct sim_watcher *w)
{
    struct arena arena = {0};
    size_t at = 0;
    while (at < w->out.bytes.len) {
        size_t len = get_be32(w->out.bytes.data + at + 1);
        struct bytes message = bytes_of(w->out.bytes.data + at + 5, len);
        const Etcdserverpb__WatchResponse *r = (const Etcdserverpb__WatchResponse *)pb_unpack(
            &etcdserverpb__watch_response__descriptor, message, &arena, NULL);
        if (r == NULL || w->out.cut_count > 0) {
            sim_fail(w->sim, "a watch response is unreadable");
            break;
        }
        take_response(w, r);
        at += 5 + len;
    }
    arena_free(&arena);
}

static void pull(struct sim_watcher *w)
{
    struct sim *s = w->sim;
    w->due_ms = SIM_NEVER;
    bool more = watch_pull(w->stream, &w->out, 1 + random_below(&s->random, 2000));
    take_all(w);
    watch_out_reset(&w->out);
    if (more) {
        w->due_ms = s->now_ms + random_below(&s->random, 30);
    }
    if (random_below(&s->random, 10) == 0) {
        watch_progress(w->stream);
    }
    w->at->dirty = true;
}

/* A member that stands still is left after a while, when it is time to go elsewhere anyhow. */
void sim_watcher_run(struct sim_watcher *w)
{
    struct sim *s = w->sim;
    if (w->stream != NULL && s->now_ms >= w->due_ms && sim_member_awake(w->at)) {
        pull(w);
    }
    if (s->now_ms < w->move_ms || s->idle) {
        return;
    }
    if (w->stream == NULL) {
        attach(w);
    } else if (sim_member_awake(w->at)) {
        sim_watcher_cut(w);
    } else {
        w->move_ms = s->now_ms + 100;
    }
}

uint64_t sim_watcher_due(const struct sim_watcher *w)
{
    uint64_t due = w->due_ms;
    if (w->at != NULL && due < w->at->paused_ms) {
        due = w->at->paused_ms;
    }
    return !w->sim->idle && w->move_ms < due ? w->move_ms : due;
}
