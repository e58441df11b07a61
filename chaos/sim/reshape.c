/* The cluster changes its shape while it works: leadership is handed over, members are added, promoted and removed. One
 * such wish is open at a time; how it ends is nobody's business but the log's. An administrator looks at the list of
 * members now and then: who is a member and doesn't run is started, who was removed and still runs is stopped. */
#include "base/error.h"
#include "chaos/sim/internal.h"
#include <stdio.h>
#include <stdlib.h>

#define LOOK_MS 500
#define MOST_MEMBERS 5

static void done(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct sim_reshape *r = container_of(request, struct sim_reshape, request);
    struct sim *s = r->at->sim;
    sim_trace(s, "reshaped", r->wish, (uint64_t)(int64_t)error);
    if (error == 0) {
        sim_fault(s, r->wish, r->at->slot, 0);
    }
    r->open = false;
}

/* Begins a wish: to be followed by the core's function with r->request. */
static struct core_request *wish(struct sim *s, struct sim_member *at, enum sim_fault what)
{
    s->reshape.at = at;
    s->reshape.wish = what;
    s->reshape.open = true;
    s->reshape.request = (struct core_request){.done = done};
    at->dirty = true;
    return &s->reshape.request;
}

static struct sim_member *some_server(struct sim *s)
{
    struct sim_member *m = &s->members[random_below(&s->random, s->member_count)];
    return sim_member_serves(m) ? m : NULL;
}

void sim_reshape_transfer(struct sim *s)
{
    struct sim_member *leader = sim_leader(s), *to = &s->members[random_below(&s->random, s->member_count)];
    if (s->reshape.open || leader == NULL || !sim_member_serves(leader) || to == leader || to->state == SIM_ABSENT) {
        return;
    }
    if (core_transfer(leader->core, wish(s, leader, SIM_TRANSFER), to->id) != 0) {
        s->reshape.open = false;
    }
}

/* --- members -------------------------------------------------------------------------------------------------------
 */

static int add(struct sim *s, struct sim_member *at, bool learner)
{
    char url[64];
    snprintf(url, sizeof url, "http://10.0.1.%llu:2380", (unsigned long long)++s->urls_given);
    char *urls[] = {url};
    uint64_t id;
    return core_member_add(at->core, wish(s, at, learner ? SIM_ADD_LEARNER : SIM_ADD_VOTER), urls, 1, learner, &id);
}

static int promote(struct sim *s, struct sim_member *at, const struct kv_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].learner) {
            return core_member_promote(at->core, wish(s, at, SIM_PROMOTE), members[i].id, true);
        }
    }
    return ERR_MEMBER_NOT_FOUND;
}

static int take_away(struct sim *s, struct sim_member *at, const struct kv_member *members, size_t count)
{
    return core_member_remove(at->core, wish(s, at, SIM_REMOVE), members[random_below(&s->random, count)].id);
}

void sim_reshape_members(struct sim *s)
{
    struct sim_member *at = some_server(s);
    if (s->reshape.open || at == NULL) {
        return;
    }
    size_t count;
    const struct kv_member *members = kv_members(at->kv, &count);
    uint64_t what = random_below(&s->random, 4);
    int error = ERR_MEMBER_EXIST;
    if (what == 0 && count < MOST_MEMBERS) {
        error = add(s, at, sim_chance(s, 2));
    } else if (what == 1 || count >= MOST_MEMBERS) {
        error = count > 2 ? take_away(s, at, members, count) : ERR_MEMBER_EXIST;
    } else if (what == 2) {
        error = promote(s, at, members, count);
    } else if (count < MOST_MEMBERS) {
        error = add(s, at, true);
    }
    s->reshape.open = s->reshape.open && error == 0;
}

void sim_reshape_cut(struct sim_member *m)
{
    struct sim_reshape *r = &m->sim->reshape;
    if (r->open && r->at == m) {
        core_cancel(m->core, &r->request);
        r->open = false;
    }
}

/* --- the administrator ---------------------------------------------------------------------------------------------
 */

/* Who has applied the most of those that are up: there may be no leader until another member is started. */
static struct sim_member *best_informed(struct sim *s)
{
    struct sim_member *best = NULL;
    for (unsigned i = 0; i < s->member_count; i++) {
        struct sim_member *m = &s->members[i];
        if (sim_member_awake(m) && !m->leaving && (best == NULL || m->shadow.applied > best->shadow.applied)) {
            best = m;
        }
    }
    return best;
}

void sim_reshape_look(struct sim *s)
{
    if (s->now_ms < s->reshape.look_ms) {
        return;
    }
    s->reshape.look_ms = s->now_ms + LOOK_MS;
    struct sim_member *best = best_informed(s);
    if (best == NULL) {
        return;
    }
    size_t count;
    const struct kv_member *members = kv_members(best->kv, &count);
    for (size_t i = 0; i < count; i++) {
        if (sim_table_get(&s->born, members[i].id) == 0) { /* never twice: the first one's disk may be gone by now */
            sim_member_new(s, members[i].id);
        }
    }
    for (unsigned i = 0; i < s->member_count; i++) {
        struct sim_member *m = &s->members[i];
        if (m->state != SIM_ABSENT && !m->leaving && kv_member_removed(best->kv, m->id)) {
            sim_member_leave(m);
        }
    }
}
