#include "snapshot/backup_lead.h"

_Static_assert(BACKUP_SILENT_MS > BACKUP_TRUST_MS + BACKUP_ANSWER_MS + BACKUP_PERMIT_MS, "a permit ends before");

#define FIRST_POLL_MS 100
#define SURVEY_MS 5000 /* how long a survey waits for members that are reached and say nothing */

static struct backup_peer *peer_of(struct backup_lead *lead, uint64_t id)
{
    for (size_t i = 0; i < lead->count; i++) {
        if (lead->peers[i].id == id) {
            return &lead->peers[i];
        }
    }
    return NULL;
}

/* --- the clock --- */

int64_t backup_lead_later_s(int64_t a_s, int64_t b_s, int64_t wall_s)
{
    a_s = a_s >= wall_s + BACKUP_AHEAD_S ? 0 : a_s;
    b_s = b_s >= wall_s + BACKUP_AHEAD_S ? 0 : b_s;
    return a_s > b_s ? a_s : b_s;
}

/* After it was put back: nothing that was in the future is to be waited for. */
static void follow_clock(struct backup_lead *lead, int64_t wall_s)
{
    lead->wall_s = wall_s;
    lead->last_s = backup_lead_later_s(lead->last_s, 0, wall_s);
    lead->tried_s = backup_lead_later_s(lead->tried_s, 0, wall_s);
    lead->since_s = lead->since_s > wall_s ? wall_s : lead->since_s;
}

/* --- the members --- */

/* What is known of those who stay is kept. */
static void align(struct backup_lead *lead, const struct backup_lead_facts *facts)
{
    struct backup_peer now[BACKUP_PEERS];
    size_t count = facts->count < BACKUP_PEERS ? facts->count : BACKUP_PEERS;
    for (size_t i = 0; i < count; i++) {
        const struct backup_peer *known = peer_of(lead, facts->peers[i].id);
        now[i] = known != NULL ? *known : (struct backup_peer){.at_ms = facts->now_ms};
        now[i].id = facts->peers[i].id;
        now[i].self = facts->peers[i].self;
        now[i].voter = facts->peers[i].voter;
        now[i].reached = facts->peers[i].reached;
    }
    memcpy(lead->peers, now, count * sizeof *now);
    lead->count = count;
}

static void survey(struct backup_lead *lead, int64_t slot_s, uint64_t now_ms)
{
    lead->state = BACKUP_SURVEY;
    lead->slot_s = slot_s;
    lead->survey_ms = now_ms;
    for (size_t i = 0; i < lead->count; i++) {
        lead->peers[i].heard = lead->peers[i].tried = false;
    }
}

static void become_leader(struct backup_lead *lead, const struct backup_lead_facts *facts)
{
    int64_t last_s = lead->last_s;
    *lead = (struct backup_lead){.schedule = lead->schedule,
                                 .leads = true,
                                 .idle_only = lead->schedule->kind == BACKUP_NEVER,
                                 .term = facts->term,
                                 .since_ms = facts->now_ms,
                                 .since_s = facts->wall_s,
                                 .last_s = last_s};
    align(lead, facts);
    if (!lead->idle_only) {
        survey(lead, 0, facts->now_ms);
    }
}

/* Can it not be at work, but by this leader's order? */
static bool is_safe(const struct backup_lead *lead, const struct backup_peer *peer, uint64_t now_ms)
{
    uint64_t at_ms = peer->at_ms > lead->since_ms ? peer->at_ms : lead->since_ms;
    return peer->clear || now_ms >= at_ms + BACKUP_SILENT_MS;
}

static bool all_safe(const struct backup_lead *lead, uint64_t now_ms)
{
    for (size_t i = 0; i < lead->count; i++) {
        if (!is_safe(lead, &lead->peers[i], now_ms)) {
            return false;
        }
    }
    return true;
}

/* --- orders --- */

static struct backup_order order_to(struct backup_lead *lead, struct backup_peer *peer, enum backup_order_kind kind)
{
    peer->asked = true;
    peer->tell = false;
    return (struct backup_order){.kind = kind,
                                 .to = peer->id,
                                 .term = lead->term,
                                 .number = ++lead->orders,
                                 .run = peer->id == lead->runner ? lead->run : 0,
                                 .slot_s = kind == BACKUP_BEGIN ? lead->slot_s : 0,
                                 .last_s = lead->last_s};
}

/* Runs have numbers that no other leader gives: the term is in them. */
static uint64_t new_run(struct backup_lead *lead)
{
    lead->runs++;
    return lead->term << 20 | (lead->runs & 0xfffff);
}

/* --- a survey --- */

static size_t ask_all(struct backup_lead *lead, struct backup_order *orders)
{
    size_t n = 0;
    for (size_t i = 0; i < lead->count; i++) {
        struct backup_peer *peer = &lead->peers[i];
        if (!peer->heard && !peer->asked && (peer->reached || peer->self)) {
            orders[n++] = order_to(lead, peer, BACKUP_ASK);
        }
    }
    return n;
}

static bool is_surveyed(const struct backup_lead *lead, uint64_t now_ms)
{
    bool waits = false;
    for (size_t i = 0; i < lead->count; i++) {
        const struct backup_peer *peer = &lead->peers[i];
        waits |= !peer->heard && (peer->reached || peer->self);
    }
    return all_safe(lead, now_ms) && (!waits || now_ms >= lead->survey_ms + SURVEY_MS);
}

/* --- the choice --- */

static bool may_take(const struct backup_peer *peer)
{
    return peer->able && peer->heard && !peer->tried && (peer->self || (peer->voter && peer->reached));
}

static struct backup_peer *choose(struct backup_lead *lead)
{
    struct backup_peer *best = NULL;
    for (size_t i = 0; i < lead->count; i++) {
        struct backup_peer *peer = &lead->peers[i];
        if (may_take(peer) &&
            (best == NULL || (best->self && !peer->self) || (best->self == peer->self && peer->id < best->id))) {
            best = peer;
        }
    }
    return best;
}

static void be_idle(struct backup_lead *lead)
{
    lead->state = BACKUP_IDLE;
    lead->runner = lead->run = 0;
    lead->tried_s = lead->slot_s > lead->tried_s ? lead->slot_s : lead->tried_s;
    lead->slot_s = 0;
}

/* The next member for the slot, or nobody is left. */
static size_t order_next(struct backup_lead *lead, uint64_t now_ms, struct backup_order *orders)
{
    struct backup_peer *peer = choose(lead);
    if (peer == NULL || lead->slot_s <= lead->last_s) {
        lead->missed_s = lead->slot_s > lead->last_s ? lead->slot_s : lead->missed_s;
        be_idle(lead);
        return 0;
    }
    peer->tried = true;
    peer->clear = false;
    peer->at_ms = now_ms;
    lead->runner = peer->id;
    lead->run = new_run(lead);
    lead->state = BACKUP_BEGUN;
    lead->poll_ms = lead->begun_ms = now_ms;
    orders[0] = order_to(lead, peer, BACKUP_BEGIN);
    return 1;
}

static size_t survey_turn(struct backup_lead *lead, const struct backup_lead_facts *facts, struct backup_order *orders)
{
    if (!is_surveyed(lead, facts->now_ms)) {
        return ask_all(lead, orders);
    }
    lead->surveyed = true;
    if (lead->slot_s == 0) {
        be_idle(lead);
        return 0;
    }
    return order_next(lead, facts->now_ms, orders);
}

/* --- one is at work --- */

static void adopt(struct backup_lead *lead, struct backup_peer *peer, const struct backup_report *report,
                  uint64_t now_ms)
{
    lead->state = BACKUP_WATCH;
    lead->runner = peer->id;
    lead->run = report->running;
    lead->slot_s = report->running_slot_s;
    lead->poll_ms = lead->begun_ms = now_ms;
    lead->surveyed = true;
    peer->clear = false;
    peer->tried = true;
}

/* It did not come to an end that anybody knows of. */
static size_t runner_lost(struct backup_lead *lead, const struct backup_lead_facts *facts, struct backup_order *orders)
{
    if (!all_safe(lead, facts->now_ms)) {
        return 0;
    }
    if (lead->slot_s == 0) {
        be_idle(lead);
        return 0;
    }
    return order_next(lead, facts->now_ms, orders);
}

/* Small backups take no time: a leader that asks every second would be all of it. */
static uint64_t poll_after_ms(uint64_t at_it_ms)
{
    uint64_t ms = at_it_ms / 4 > FIRST_POLL_MS ? at_it_ms / 4 : FIRST_POLL_MS;
    return ms < BACKUP_POLL_MS ? ms : BACKUP_POLL_MS;
}

static size_t watch_turn(struct backup_lead *lead, const struct backup_lead_facts *facts, struct backup_order *orders)
{
    struct backup_peer *runner = peer_of(lead, lead->runner);
    if (runner == NULL || is_safe(lead, runner, facts->now_ms)) {
        return runner_lost(lead, facts, orders);
    }
    bool trusted = facts->now_ms < runner->at_ms + BACKUP_TRUST_MS;
    if (!runner->asked && trusted && facts->now_ms >= lead->poll_ms) {
        lead->poll_ms = facts->now_ms + poll_after_ms(facts->now_ms - lead->begun_ms);
        orders[0] = order_to(lead, runner, BACKUP_ASK);
        return 1;
    }
    return 0;
}

/* --- nothing is under way --- */

/* The slot that is due, 0 = none: the newest since the last one that was taken, unless it was tried already. */
static int64_t due_s(const struct backup_lead *lead, int64_t wall_s)
{
    int64_t newest_s = backup_schedule_last(lead->schedule, wall_s);
    int64_t next_s = backup_schedule_next(lead->schedule, lead->last_s > 0 ? lead->last_s : lead->since_s);
    return next_s > 0 && next_s <= newest_s && newest_s > lead->tried_s ? newest_s : 0;
}

static bool is_to_be_told(const struct backup_peer *peer)
{
    return peer->tell && peer->reached && !peer->asked;
}

static size_t idle_turn(struct backup_lead *lead, const struct backup_lead_facts *facts, struct backup_order *orders)
{
    int64_t slot_s = due_s(lead, facts->wall_s);
    if (slot_s > 0) {
        survey(lead, slot_s, facts->now_ms);
        return ask_all(lead, orders);
    }
    size_t n = 0;
    for (size_t i = 0; i < lead->count; i++) {
        struct backup_peer *peer = &lead->peers[i];
        if (is_to_be_told(peer)) {
            orders[n++] = order_to(lead, peer, BACKUP_ASK);
        }
    }
    return n;
}

size_t backup_lead_turn(struct backup_lead *lead, const struct backup_lead_facts *facts, struct backup_order *orders)
{
    if (!facts->leads) {
        lead->leads = false;
        return 0;
    }
    if (!lead->leads || lead->term != facts->term) {
        become_leader(lead, facts);
    } else {
        align(lead, facts);
    }
    follow_clock(lead, facts->wall_s);
    switch (lead->state) {
    case BACKUP_SURVEY:
        return survey_turn(lead, facts, orders);
    case BACKUP_BEGUN:
    case BACKUP_WATCH:
        return watch_turn(lead, facts, orders);
    default:
        return idle_turn(lead, facts, orders);
    }
}

/* --- answers --- */

static void taken(struct backup_lead *lead)
{
    lead->last_s = lead->slot_s > lead->last_s ? lead->slot_s : lead->last_s;
    for (size_t i = 0; i < lead->count; i++) {
        lead->peers[i].tell = !lead->peers[i].self && lead->peers[i].id != lead->runner;
    }
    be_idle(lead);
}

/* Of the member that was ordered: what it says of the run. */
static void runner_answered(struct backup_lead *lead, struct backup_peer *peer, const struct backup_report *report,
                            uint64_t now_ms)
{
    if (report->running == lead->run) {
        lead->state = BACKUP_WATCH;
        peer->at_ms = now_ms;
        return;
    }
    if (report->finished == lead->run && report->finished_well) {
        taken(lead);
        return;
    }
    /* It failed, it refused, or it was started anew and knows nothing of it. */
    lead->runner = 0;
    if (lead->slot_s == 0) {
        be_idle(lead);
    }
}

void backup_lead_learn(struct backup_lead *lead, int64_t last_s, int64_t wall_s)
{
    lead->last_s = backup_lead_later_s(lead->last_s, last_s, wall_s);
}

void backup_lead_answer(struct backup_lead *lead, uint64_t from, uint64_t term, const struct backup_report *report,
                        uint64_t now_ms)
{
    struct backup_peer *peer = peer_of(lead, from);
    if (peer == NULL || !lead->leads || term != lead->term) {
        return;
    }
    peer->asked = false;
    if (!report->known) {
        return;
    }
    peer->heard = true;
    peer->able = report->able;
    backup_lead_learn(lead, report->last_s, lead->wall_s);
    if (report->running == 0) {
        peer->clear = true;
    }
    bool watches = lead->state == BACKUP_BEGUN || lead->state == BACKUP_WATCH;
    if (watches && from == lead->runner) {
        runner_answered(lead, peer, report, now_ms);
    } else if (report->running != 0) {
        peer->at_ms = now_ms;
        if (!watches) {
            adopt(lead, peer, report, now_ms);
        }
    }
}

uint64_t backup_lead_request(struct backup_lead *lead, uint64_t from, uint64_t now_ms, uint64_t *busy)
{
    struct backup_peer *peer = peer_of(lead, from);
    *busy = 0;
    if (!lead->leads || peer == NULL || peer->asked) {
        return 0;
    }
    if (lead->state == BACKUP_BEGUN || lead->state == BACKUP_WATCH) {
        lead->poll_ms = now_ms; /* it may have finished by now */
        *busy = from != lead->runner ? lead->runner : 0;
        return 0;
    }
    if (lead->state == BACKUP_IDLE && !lead->surveyed) {
        survey(lead, 0, now_ms);
    }
    if (lead->state != BACKUP_IDLE) {
        return 0;
    }
    lead->slot_s = 0;
    lead->runner = from;
    lead->run = new_run(lead);
    lead->state = BACKUP_WATCH;
    lead->begun_ms = now_ms;
    lead->poll_ms = now_ms + FIRST_POLL_MS;
    peer->clear = false;
    peer->at_ms = now_ms;
    return lead->run;
}

uint64_t backup_lead_wait_ms(const struct backup_lead *lead, int64_t wall_s)
{
    if (!lead->leads) {
        return UINT64_MAX;
    }
    if (lead->state != BACKUP_IDLE) {
        return FIRST_POLL_MS;
    }
    bool tells = false;
    for (size_t i = 0; i < lead->count; i++) {
        tells |= is_to_be_told(&lead->peers[i]);
    }
    int64_t next_s = backup_schedule_next(lead->schedule, wall_s > lead->tried_s ? wall_s : lead->tried_s);
    if (tells || due_s(lead, wall_s) > 0) {
        return 0;
    }
    /* Not far ahead: the wall clock may be set. */
    if (next_s == 0 || next_s - wall_s > 60) {
        return next_s == 0 ? UINT64_MAX : 60000;
    }
    return (uint64_t)(next_s - wall_s) * 1000;
}
