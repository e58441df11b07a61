/* Views: the store is brought up to a position of the log, then the store's thread opens a read transaction between two
 * commits and hands it over. What position it is at is read inside it. A view holds pages of the store back from reuse,
 * so there are at most two, and one that nobody makes progress with is cut. */
#include "core/internal.h"

#include "base/check.h"
#include "kv/view.h"

#define MAX_VIEWS 2
#define MAX_CLIENT_VIEWS 1
#define STALL_MS 30000

/* WAITING: in view_waits. OPENING, WORKING: a job has it. */
enum view_state { VIEW_NONE, VIEW_WAITING, VIEW_OPENING, VIEW_OPEN, VIEW_WORKING };

/* Nobody has it any more. */
static void end(struct core_view *view, bool was_out)
{
    struct core *core = view->core;
    list_remove(&view->node);
    if (was_out) {
        CHECK(core->views_out > 0);
        core->views_out--;
        core->client_views_out -= view->for_client;
    }
    if (view->read != NULL) {
        backend_view_close(view->read);
        view->read = NULL;
    }
    raft_conf_state_free(&view->conf);
    arena_free(&view->arena);
    view->state = VIEW_NONE;
    if (view->closed != NULL) {
        view->closed(view);
    }
}

/* --- opening --- */

static void ids_fill(struct raft_ids *to, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        raft_ids_add(to, ids[i]);
    }
}

static int read_facts(struct core_view *view)
{
    struct kv_view_facts facts;
    int error = kv_view_facts(view->read, &view->arena, &facts);
    if (error != 0) {
        return error;
    }
    view->at = (struct raft_position){.index = facts.index, .term = facts.term};
    view->revision = facts.revision;
    view->compact_revision = facts.compact_revision;
    view->storage_version = facts.storage_version;
    ids_fill(&view->conf.voters, facts.voters, facts.voter_count);
    ids_fill(&view->conf.learners, facts.learners, facts.learner_count);
    return 0;
}

static void opened(struct core_job *job)
{
    struct core_view *view = job->owner;
    CHECK(job->error == 0);
    view->read = job->view;
    view->state = VIEW_OPEN;
    if (view->closing) {
        end(view, true);
        return;
    }
    /* The store ends the member itself when it meets damage; this is for stores that do not (tests). */
    int error = read_facts(view);
    CHECK(error != 0 || view->at.index >= view->index, "a view at %llu, wanted was %llu",
          (unsigned long long)view->at.index, (unsigned long long)view->index);
    view->progress_ms = view->core->now_ms;
    view->opened(view, view->core->stopping ? ERR_STOPPED : error);
}

int core_view_open(struct core *core, struct core_view *view, uint64_t index)
{
    CHECK(view->state == VIEW_NONE && index <= core->applied);
    if (core->stopping) {
        return ERR_STOPPED;
    }
    view->core = core;
    view->index = index == 0 ? core->applied : index;
    view->state = VIEW_WAITING;
    view->closing = false;
    list_init(&view->job.node);
    list_push_back(&core->view_waits, &view->node);
    return 0;
}

static void open_waiting(struct core *core)
{
    list_each(node, &core->view_waits)
    {
        struct core_view *view = container_of(node, struct core_view, node);
        if (core->views_out >= MAX_VIEWS) {
            return;
        }
        if (view->for_client && core->client_views_out >= MAX_CLIENT_VIEWS) {
            continue;
        }
        if (kv_stats(core->kv).stored_index < view->index) {
            core->commit_wanted = true;
            continue;
        }
        list_remove(&view->node);
        list_push_back(&core->views, &view->node);
        core->views_out++;
        core->client_views_out += view->for_client;
        view->state = VIEW_OPENING;
        view->job.kind = CORE_VIEW;
        view->job.owner = view;
        view->job.done = opened;
        core_job_start(core, &view->job);
    }
}

/* --- work --- */

static void worked(struct core_job *job)
{
    struct core_view *view = job->owner;
    view->state = VIEW_OPEN;
    view->progress_ms = view->core->now_ms;
    if (view->closing) {
        end(view, true);
    } else {
        view->work_done(view, job->error);
    }
}

void core_view_work(struct core_view *view, int (*run)(void *arg), void *arg,
                    void (*done)(struct core_view *view, int result))
{
    CHECK(view->state == VIEW_OPEN && !view->closing);
    view->state = VIEW_WORKING;
    view->work_done = done;
    view->job.kind = CORE_WORK;
    view->job.owner = view;
    view->job.done = worked;
    view->job.work = (struct core_work){.run = run, .arg = arg};
    core_job_start(view->core, &view->job);
}

void core_view_progress(struct core_view *view)
{
    view->progress_ms = view->core->now_ms;
}

/* --- the end --- */

void core_view_close(struct core_view *view)
{
    CHECK(!view->closing);
    view->closing = true;
    switch ((enum view_state)view->state) {
    case VIEW_OPENING:
    case VIEW_WORKING:
        break; /* its job comes back */
    case VIEW_OPEN:
        end(view, true);
        break;
    default:
        end(view, false);
        break;
    }
}

static uint64_t stalls_at(const struct core_view *view)
{
    bool counts = view->state == VIEW_OPEN && view->cut != NULL && !view->closing;
    return counts ? view->progress_ms + STALL_MS : UINT64_MAX;
}

static void cut_stalled(struct core *core)
{
    list_each(node, &core->views)
    {
        struct core_view *view = container_of(node, struct core_view, node);
        if (stalls_at(view) <= core->now_ms) {
            view->progress_ms = core->now_ms; /* told once, and again if nothing comes of it */
            view->cut(view, ERR_TIMEOUT);
            return; /* the list may be another one now: the rest in the next turn */
        }
    }
}

void view_slice(struct core *core)
{
    cut_stalled(core);
    open_waiting(core);
}

uint64_t view_deadline(const struct core *core)
{
    uint64_t at = UINT64_MAX;
    for (const struct list *node = core->views.next; node != &core->views; node = node->next) {
        uint64_t stalls = stalls_at(container_of((struct list *)(uintptr_t)node, struct core_view, node));
        at = stalls < at ? stalls : at;
    }
    return at;
}

void view_fail_all(struct core *core, int error)
{
    struct list *node;
    while ((node = list_pop_front(&core->view_waits)) != NULL) {
        struct core_view *view = container_of(node, struct core_view, node);
        view->opened(view, error); /* closes it, now or soon */
    }
    struct list now;
    list_init(&now);
    list_splice(&now, &core->views);
    while ((node = list_pop_front(&now)) != NULL) {
        struct core_view *view = container_of(node, struct core_view, node);
        list_push_back(&core->views, node);
        bool open = view->state == VIEW_OPEN || view->state == VIEW_WORKING;
        if (open && view->cut != NULL && !view->closing) {
            view->cut(view, error);
        }
    }
}
