/* Members in all kinds of trouble, at random: messages lost, doubled and out of order, partitions, crashes that lose
 * what was not synced, disks that hang, images that fail, members that come and go, leadership handed over. What must
 * hold is checked at each step (tests/support/raft_bed_check.c); afterwards, in peace, all must be well again.
 *
 * KEDGE_TEST_SEED: the first seed; KEDGE_TEST_SEEDS: how many. */
#include "base/check.h"
#include "base/random.h"
#include "tests/support/raft_bed.h"
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MEMBERS = 6, READS_MAX = 4096, STEPS = 4000 };

struct storm {
    struct raft_bed *bed;
    struct random random;
    bool cut[MEMBERS][MEMBERS]; /* from, to */
    bool disk_hangs[MEMBERS];
    uint64_t read_floor[READS_MAX]; /* what was committed when a read was asked for */
    bool restless;                  /* leaders hardly ever get something done */
    uint64_t reads, answered, changes, images, elections;
};

static struct raft_bed_member *any_member(struct storm *s)
{
    return &s->bed->members[random_below(&s->random, s->bed->member_count)];
}

static bool chance(struct storm *s, uint64_t of)
{
    return random_below(&s->random, of) == 0;
}

static struct raft_bed_member *leader_of_latest_term(struct raft_bed *bed)
{
    struct raft_bed_member *best = NULL;
    for (size_t i = 0; i < bed->member_count; i++) {
        struct raft_bed_member *m = &bed->members[i];
        if (m->raft != NULL && m->role == RAFT_LEADER && (best == NULL || m->term > best->term)) {
            best = m;
        }
    }
    return best;
}

/* --- reads --- */

static void ask(struct storm *s, struct raft_bed_member *m)
{
    if (m->raft == NULL || s->reads == READS_MAX) {
        return;
    }
    s->read_floor[s->reads] = raft_bed_committed(s->bed);
    raft_read_index(m->raft, s->reads++);
}

/* Raft thesis 6.4: no read misses what was committed before it was asked for. */
static void check_answers(struct storm *s, struct raft_bed_member *m)
{
    for (size_t i = 0; i < m->answer_count; i++) {
        const struct raft_read *a = &m->answers[i];
        if (a->error == 0) {
            CHECK(a->index >= s->read_floor[a->context], "a read at %" PRIx64 " goes back to %" PRIu64, m->id,
                  a->index);
            s->answered++;
        } else if (chance(s, 2)) {
            raft_read_index(m->raft, a->context);
        }
    }
    m->answer_count = 0;
}

/* --- members --- */

static void change_members(struct storm *s, struct raft_bed_member *m)
{
    struct raft_conf_change_v2 change = {0};
    bool v2 = chance(s, 2);
    size_t voters = raft_conf(m->raft)->voters.count;
    change.change_count = v2 ? random_below(&s->random, 4) : 1;
    change.transition = v2 ? (enum raft_transition)random_below(&s->random, 3) : RAFT_TRANSITION_AUTO;
    for (size_t i = 0; i < change.change_count; i++) {
        enum raft_conf_change_type type = (enum raft_conf_change_type)random_below(&s->random, 4);
        bool takes = type == RAFT_REMOVE_NODE || type == RAFT_ADD_LEARNER;
        if (takes && voters < 3 + i) {
            type = RAFT_ADD_NODE;
        }
        change.changes[i].type = type;
        change.changes[i].node_id = 1 + random_below(&s->random, MEMBERS);
    }
    if (raft_bed_propose_change(m, &change, v2) == 0) {
        s->changes++;
    }
}

/* --- trouble --- */

static void blow(struct storm *s, struct raft_bed_member *m)
{
    if (s->restless && chance(s, 2)) {
        m = leader_of_latest_term(s->bed);
        if (m != NULL) {
            raft_bed_crash(m, random_below(&s->random, raft_bed_jobs(m) + 1));
        }
        return;
    }
    size_t at = (size_t)(m - s->bed->members);
    switch (random_below(&s->random, 9)) {
    case 0:
        if (m->raft != NULL) {
            raft_bed_crash(m, random_below(&s->random, raft_bed_jobs(m) + 1));
        }
        break;
    case 1:
        for (size_t i = 0; i < MEMBERS; i++) { /* one-way or two-way */
            s->cut[at][i] = !chance(s, 3);
            s->cut[i][at] = !chance(s, 3);
        }
        break;
    case 2:
        memset(s->cut, 0, sizeof s->cut);
        break;
    case 3:
        s->disk_hangs[at] = !s->disk_hangs[at];
        break;
    case 4:
        if (m->raft != NULL) {
            raft_unreachable(m->raft, 1 + random_below(&s->random, MEMBERS));
        }
        break;
    case 5:
        if (m->raft != NULL) {
            (void)raft_transfer(m->raft, random_below(&s->random, MEMBERS + 1));
        }
        break;
    case 6:
    case 7:
        m = leader_of_latest_term(s->bed);
        if (m != NULL) {
            change_members(s, m);
        }
        break;
    default:
        raft_bed_tick(s->bed, 500); /* all are paused */
        break;
    }
}

static void deliver(struct storm *s)
{
    struct raft_bed *bed = s->bed;
    if (bed->packet_count == 0) {
        return;
    }
    size_t near = bed->packet_count < 8 ? bed->packet_count : 8;
    size_t at = random_below(&s->random, chance(s, 20) ? bed->packet_count : near);
    const struct raft_message *m = &bed->packets[at]->message;
    s->images += m->type == RAFT_MSG_SNAPSHOT;
    if (s->cut[m->from - 1][m->to - 1] || chance(s, 30)) {
        raft_bed_drop(bed, at);
    } else {
        if (chance(s, 30)) {
            raft_bed_copy(bed, at);
        }
        raft_bed_deliver(bed, at);
    }
}

static void work(struct storm *s, struct raft_bed_member *m)
{
    struct raft_position position;
    if (m->raft == NULL) {
        if (chance(s, s->restless ? 2 : 6)) {
            raft_bed_start(m);
        }
        return;
    }
    switch (random_below(&s->random, 8)) {
    case 0:
    case 1:
        if (!s->disk_hangs[m - s->bed->members]) {
            raft_bed_disk(m, 1 + random_below(&s->random, 3));
        }
        break;
    case 2:
        raft_bed_log_read(m);
        break;
    case 3:
        raft_bed_install(m, !chance(s, 5));
        break;
    case 4:
        raft_bed_store(m);
        break;
    case 5:
        if (m->store.applied > 5 && chance(s, 3)) {
            raft_bed_compact(m, m->store.applied - random_below(&s->random, 5));
        }
        break;
    case 6:
        ask(s, m);
        break;
    default:
        for (uint64_t n = random_below(&s->random, 4); n > 0; n--) {
            (void)raft_bed_propose(m, "something to remember", &position);
        }
        break;
    }
}

static void settle_all(struct storm *s)
{
    for (size_t i = 0; i < s->bed->member_count; i++) {
        struct raft_bed_member *m = &s->bed->members[i];
        uint64_t term = m->term;
        bool led = m->role == RAFT_LEADER;
        raft_bed_settle(m);
        s->elections += m->role == RAFT_LEADER && (!led || m->term != term);
        if (m->raft != NULL) {
            check_answers(s, m);
        }
    }
}

/* --- peace --- */

static void check_well(struct storm *s, uint64_t seed)
{
    struct raft_bed *bed = s->bed;
    struct raft_bed_member *leader = leader_of_latest_term(bed);
    CHECK(leader != NULL, "seed %" PRIu64 ": nobody leads", seed);
    struct raft_position at;
    CHECK(raft_bed_propose(leader, "the end", &at) == 0, "seed %" PRIu64, seed);
    ask(s, leader);
    for (int i = 0; i < 20; i++) {
        raft_bed_quiesce(bed);
        raft_bed_tick(bed, 50);
    }
    for (size_t i = 0; i < bed->member_count; i++) {
        struct raft_bed_member *m = &bed->members[i];
        struct raft_progress p;
        if (raft_progress(leader->raft, m->id, &p)) {
            CHECK(m->applied >= at.index && m->applied == leader->applied && m->hash == leader->hash,
                  "seed %" PRIu64 ": %" PRIx64 " applied %" PRIu64 ", the leader %" PRIx64 " %" PRIu64
                  ", entry %" PRIu64,
                  seed, m->id, m->applied, leader->id, leader->applied, at.index);
        }
    }
    uint64_t before = s->answered;
    settle_all(s);
    CHECK(s->answered > before || s->reads == READS_MAX, "seed %" PRIu64 ": the read has no answer", seed);
}

static bool is_member(struct raft_bed_member *m)
{
    struct raft_status status = raft_status(m->raft);
    return status.voter || status.learner;
}

static void make_peace(struct storm *s)
{
    memset(s->cut, 0, sizeof s->cut);
    for (size_t i = 0; i < s->bed->member_count; i++) {
        s->bed->members[i].answer_count = 0;
        if (s->bed->members[i].raft == NULL) {
            raft_bed_start(&s->bed->members[i]);
        }
    }
    for (int i = 0; i < 600; i++) {
        raft_bed_quiesce(s->bed);
        for (size_t k = 0; k < s->bed->member_count; k++) {
            struct raft_bed_member *m = &s->bed->members[k];
            check_answers(s, m);
            if (m->role == RAFT_LEADER && m->raft != NULL && !is_member(m)) {
                raft_bed_crash(m, 0); /* who was removed stops itself */
            }
        }
        raft_bed_tick(s->bed, 20);
    }
}

static void storm(uint64_t seed, struct storm *s)
{
    *s = (struct storm){.bed = raft_bed_new(seed)};
    random_seed(&s->random, seed);
    struct raft_conf_state conf = {0};
    for (uint64_t id = 1, voters = 1 + random_below(&s->random, 5); id <= voters; id++) {
        raft_ids_add(&conf.voters, id);
    }
    bool pre_vote = !chance(s, 4), small_messages = chance(s, 3);
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        struct raft_bed_member *m = raft_bed_add(s->bed, id, raft_ids_has(&conf.voters, id) ? &conf : NULL);
        m->config.pre_vote = pre_vote;
        m->config.message_bytes = small_messages ? 50 : 0;
        m->config.log_bytes = chance(s, 2) ? 400 : 0;
        raft_bed_start(m);
    }
    raft_conf_state_free(&conf);
    s->restless = chance(s, 3);
    uint64_t calm = s->restless ? 20 : 10 + random_below(&s->random, 200);
    for (int i = 0; i < STEPS; i++) {
        if (chance(s, calm)) {
            blow(s, any_member(s));
        }
        if (chance(s, 4)) {
            raft_bed_tick(s->bed, random_below(&s->random, s->restless ? 200 : 60));
        }
        work(s, any_member(s));
        deliver(s);
        deliver(s);
        settle_all(s);
    }
    make_peace(s);
    check_well(s, seed);
    raft_bed_free(s->bed);
}

static uint64_t knob(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void test_safe_in_storms_and_well_afterwards(void **state)
{
    (void)state;
    uint64_t first = knob("KEDGE_TEST_SEED", 1), count = knob("KEDGE_TEST_SEEDS", 150);
    uint64_t elections = 0, reads = 0, changes = 0, images = 0;
    static struct storm s;
    for (uint64_t seed = first; seed < first + count; seed++) {
        if (getenv("KEDGE_TEST_VERBOSE") != NULL) {
            printf("seed %" PRIu64 "\n", seed);
            fflush(stdout);
        }
        storm(seed, &s);
        elections += s.elections;
        reads += s.answered;
        changes += s.changes;
        images += s.images;
    }
    printf("%" PRIu64 " storms: %" PRIu64 " leaders, %" PRIu64 " reads, %" PRIu64 " changes of members, %" PRIu64
           " images\n",
           count, elections, reads, changes, images);
    assert_true(count < 100 || (elections > 0 && reads > 0 && changes > 0 && images > 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safe_in_storms_and_well_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
