/* Who takes the cluster's backups: members as simple as can be, a leader that decides, messages that get lost or come
 * late. Never two at work, one backup a slot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "snapshot/backup_lead.h"
#include <stdio.h>

#define MEMBERS 3
#define START_S 1000000

/* What cmd/kedge/backup_run.c and backup_orders.c do, without the work. */
struct member {
    uint64_t id;
    bool up, able, fails, learner, etcd;
    uint64_t run, finished, work_ms, permit_ms;
    int64_t slot_s, last_s;
    bool finished_well, written;
    uint64_t seen_term, seen_number;
    struct backup_lead lead;
};

struct packet {
    struct backup_order order;
    uint64_t from, at_ms;
    bool answer;
    struct backup_report report;
};

struct bed {
    struct backup_schedule schedule;
    struct member members[MEMBERS];
    uint64_t now_ms, term;
    int64_t ahead_s; /* of the wall clock, which somebody has set wrong */
    size_t leader;   /* MEMBERS = none */
    uint64_t work_ms;
    struct packet packets[1024];
    size_t packet_count;
    uint64_t delay_ms, lost_percent;
    struct random random;
    size_t taken; /* backups that got their name */
    int64_t slots[1024];
};

static int64_t wall_s(const struct bed *bed)
{
    return START_S + bed->ahead_s + (int64_t)(bed->now_ms / 1000);
}

static void bed_open(struct bed *bed, const char *schedule)
{
    struct arena arena = {0};
    *bed = (struct bed){.now_ms = 1000, .term = 2, .work_ms = 3000, .delay_ms = 20};
    assert_null(backup_schedule_parse(&arena, schedule, &bed->schedule));
    arena_free(&arena);
    random_seed(&bed->random, 1);
    for (size_t i = 0; i < MEMBERS; i++) {
        bed->members[i] = (struct member){.id = i + 1, .up = true, .able = true};
        bed->members[i].lead.schedule = &bed->schedule;
    }
}

static size_t at_work(const struct bed *bed)
{
    size_t n = 0;
    for (size_t i = 0; i < MEMBERS; i++) {
        n += bed->members[i].up && bed->members[i].run != 0;
    }
    return n;
}

static struct backup_report report_of(const struct member *m)
{
    return (struct backup_report){.known = true,
                                  .able = m->able && m->run == 0,
                                  .running = m->run,
                                  .running_slot_s = m->slot_s,
                                  .finished = m->finished,
                                  .finished_well = m->finished_well,
                                  .last_s = m->last_s};
}

static void end_run(struct bed *bed, struct member *m, bool well)
{
    if (well) {
        bed->slots[bed->taken++] = m->slot_s;
        m->last_s = m->slot_s > m->last_s ? m->slot_s : m->last_s;
    }
    m->finished = m->run;
    m->finished_well = well;
    m->run = 0;
}

/* By somebody who died before anybody learned of it: the target is one that all share, and has the note. */
static bool is_taken(const struct bed *bed, int64_t slot_s)
{
    for (size_t i = 0; i < bed->taken; i++) {
        if (bed->slots[i] == slot_s) {
            return true;
        }
    }
    return false;
}

static void begin_run(struct bed *bed, struct member *m, uint64_t run, int64_t slot_s)
{
    m->run = run;
    m->slot_s = slot_s;
    m->written = false;
    m->work_ms = bed->now_ms + bed->work_ms;
    m->permit_ms = bed->now_ms + BACKUP_PERMIT_MS;
    if (at_work(bed) != 1) {
        fail_msg("%zu members are at work", at_work(bed));
    }
}

static struct backup_report obey(struct bed *bed, struct member *m, const struct backup_order *order)
{
    if (m->etcd || order->term < bed->term || order->term < m->seen_term ||
        (order->term == m->seen_term && order->number <= m->seen_number)) {
        return (struct backup_report){0};
    }
    m->seen_term = order->term;
    m->seen_number = order->number;
    m->last_s = order->last_s > m->last_s ? order->last_s : m->last_s;
    if (order->kind == BACKUP_BEGIN && m->able && m->run == 0) {
        if (is_taken(bed, order->slot_s)) {
            m->finished = order->run;
            m->finished_well = true;
            m->last_s = order->slot_s;
        } else {
            begin_run(bed, m, order->run, order->slot_s);
        }
    } else if (m->run != 0 && m->run == order->run) {
        m->permit_ms = bed->now_ms + BACKUP_PERMIT_MS;
        if (m->written) {
            end_run(bed, m, true);
        }
    }
    return report_of(m);
}

static void post(struct bed *bed, struct packet packet)
{
    bool lost = random_below(&bed->random, 100) < bed->lost_percent;
    assert_true(bed->packet_count < 1024);
    packet.at_ms = bed->now_ms + 1 + random_below(&bed->random, bed->delay_ms);
    if (lost && packet.answer) {
        packet.report = (struct backup_report){0};
        packet.at_ms = bed->now_ms + BACKUP_ANSWER_MS;
    } else if (lost) {
        packet.answer = true; /* it never came there */
        packet.report = (struct backup_report){0};
        packet.at_ms = bed->now_ms + BACKUP_ANSWER_MS;
    }
    bed->packets[bed->packet_count++] = packet;
}

static bool lead_turn(struct bed *bed, struct member *m)
{
    struct backup_peer peers[MEMBERS];
    struct backup_order orders[BACKUP_PEERS];
    for (size_t i = 0; i < MEMBERS; i++) {
        peers[i] = (struct backup_peer){.id = bed->members[i].id,
                                        .self = &bed->members[i] == m,
                                        .voter = !bed->members[i].learner,
                                        .reached = bed->members[i].up && &bed->members[i] != m};
    }
    const struct backup_lead_facts facts = {.now_ms = bed->now_ms,
                                            .wall_s = wall_s(bed),
                                            .leads = bed->leader < MEMBERS && m == &bed->members[bed->leader],
                                            .term = bed->term,
                                            .peers = peers,
                                            .count = MEMBERS};
    backup_lead_learn(&m->lead, m->last_s, facts.wall_s);
    size_t count = backup_lead_turn(&m->lead, &facts, orders);
    for (size_t i = 0; i < count; i++) {
        if (orders[i].to == m->id) {
            struct backup_report report = obey(bed, m, &orders[i]);
            backup_lead_answer(&m->lead, m->id, orders[i].term, &report, bed->now_ms);
        } else {
            post(bed, (struct packet){.order = orders[i], .from = m->id});
        }
    }
    return count > 0;
}

static void deliver(struct bed *bed, struct packet packet)
{
    struct member *to = &bed->members[packet.order.to - 1], *from = &bed->members[packet.from - 1];
    if (packet.answer) {
        if (from->up) {
            backup_lead_answer(&from->lead, to->id, packet.order.term, &packet.report, bed->now_ms);
        }
        return;
    }
    if (to->up) {
        packet.report = obey(bed, to, &packet.order);
    }
    packet.answer = true;
    post(bed, packet);
}

static void work(struct bed *bed, struct member *m)
{
    if (m->run == 0 || !m->up) {
        return;
    }
    if (bed->now_ms >= m->permit_ms || (bed->now_ms >= m->work_ms && m->fails)) {
        end_run(bed, m, false);
    } else if (bed->now_ms >= m->work_ms) {
        m->written = true;
    }
}

static void run(struct bed *bed, uint64_t ms)
{
    for (uint64_t until = bed->now_ms + ms; bed->now_ms < until; bed->now_ms += 10) {
        for (size_t i = 0; i < bed->packet_count; i++) {
            if (bed->packets[i].at_ms <= bed->now_ms) {
                struct packet packet = bed->packets[i];
                bed->packets[i--] = bed->packets[--bed->packet_count];
                deliver(bed, packet);
            }
        }
        for (size_t i = 0; i < MEMBERS; i++) {
            work(bed, &bed->members[i]);
            if (bed->members[i].up) {
                for (int n = 0; n < 5 && lead_turn(bed, &bed->members[i]); n++) {
                }
            }
        }
    }
}

static void elect(struct bed *bed, size_t leader)
{
    bed->leader = leader;
    bed->term++;
}

static void crash(struct bed *bed, struct member *m)
{
    if (bed->leader < MEMBERS && m == &bed->members[bed->leader]) {
        elect(bed, MEMBERS); /* who was started anew leads in another term only */
    }
    int64_t last_s = m->last_s; /* its target has the notes */
    const struct backup_schedule *schedule = m->lead.schedule;
    *m = (struct member){.id = m->id, .able = m->able, .fails = m->fails, .last_s = last_s};
    m->lead.schedule = schedule;
}

static void expect_each_slot_once(const struct bed *bed)
{
    for (size_t i = 0; i < bed->taken; i++) {
        for (size_t j = 0; j < i; j++) {
            if (bed->slots[i] == bed->slots[j]) {
                fail_msg("slot %lld was taken twice", (long long)bed->slots[i]);
            }
        }
    }
}

static void test_each_slot_is_taken_once_by_the_smallest_follower(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "1m");
    run(&bed, 10 * 60000);
    assert_true(bed.taken >= 9 && bed.taken <= 10);
    expect_each_slot_once(&bed);
    assert_int_equal(bed.members[0].finished, 0);
    assert_int_not_equal(bed.members[1].finished, 0);
    assert_int_equal(bed.members[2].finished, 0);
    assert_int_equal(bed.members[2].last_s, bed.members[1].last_s); /* all know */
}

static void test_who_cannot_is_passed_over_and_the_leader_comes_last(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "1m");
    bed.members[1].learner = true;
    bed.members[2].fails = true;
    run(&bed, 3 * 60000);
    assert_true(bed.taken >= 2);
    assert_int_equal(bed.members[1].finished, 0);
    assert_true(bed.members[2].finished != 0 && !bed.members[2].finished_well);
    assert_true(bed.members[0].finished_well);
    expect_each_slot_once(&bed);
}

static void test_a_slot_that_nobody_can_take_is_given_up_until_the_next_one(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "1m");
    for (size_t i = 0; i < MEMBERS; i++) {
        bed.members[i].fails = true;
    }
    run(&bed, 3 * 60000);
    assert_int_equal(bed.taken, 0);
    assert_int_equal(bed.members[0].lead.missed_s, wall_s(&bed) / 60 * 60);
    for (size_t i = 0; i < MEMBERS; i++) {
        bed.members[i].fails = false;
    }
    run(&bed, 61000);
    assert_int_equal(bed.taken, 1);
}

static void test_a_member_that_dies_at_it_is_replaced(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "10m");
    bed.work_ms = 60000;
    while (bed.members[1].run == 0) {
        run(&bed, 100);
    }
    crash(&bed, &bed.members[1]);
    run(&bed, 120000);
    assert_int_equal(bed.taken, 1);
    assert_true(bed.members[2].finished_well);
}

static void test_a_new_leader_goes_on_with_who_is_at_it(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "10m");
    bed.work_ms = 30000;
    while (bed.members[1].run == 0) {
        run(&bed, 100);
    }
    run(&bed, 5000);
    elect(&bed, 2);
    run(&bed, 60000);
    assert_int_equal(bed.taken, 1);
    assert_true(bed.members[1].finished_well);
}

static void test_a_slot_without_a_leader_is_made_up_for_once(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "10m");
    run(&bed, 11 * 60000);
    assert_int_equal(bed.taken, 1);
    elect(&bed, MEMBERS);
    run(&bed, 25 * 60000);
    assert_int_equal(bed.taken, 1);
    elect(&bed, 0);
    run(&bed, 60000);
    assert_int_equal(bed.taken, 2);
    expect_each_slot_once(&bed);
}

static void test_a_cluster_that_begins_waits_for_the_next_slot(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "0 0 1 1 *");
    run(&bed, 60000);
    assert_int_equal(bed.taken, 0);
}

static void test_who_wants_one_now_is_refused_while_another_is_at_it(void **state)
{
    (void)state;
    struct bed bed;
    uint64_t busy, number;
    bed_open(&bed, "");
    run(&bed, 1000);
    struct backup_lead *lead = &bed.members[0].lead;
    assert_int_equal(backup_lead_request(lead, 2, bed.now_ms, &busy), 0); /* first it asks all */
    assert_int_equal(busy, 0);
    run(&bed, 1000);
    number = backup_lead_request(lead, 2, bed.now_ms, &busy);
    assert_int_not_equal(number, 0);
    begin_run(&bed, &bed.members[1], number, 0);
    assert_int_equal(backup_lead_request(lead, 3, bed.now_ms, &busy), 0);
    assert_int_equal(busy, 2);
    run(&bed, 10000);
    assert_int_equal(bed.taken, 1);
    assert_int_not_equal(backup_lead_request(lead, 3, bed.now_ms, &busy), 0);
    assert_int_equal(backup_lead_request(&bed.members[1].lead, 3, bed.now_ms, &busy), 0); /* it does not lead */
}

static void test_members_of_etcd_are_left_out(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "1m");
    bed.members[1].etcd = true;
    run(&bed, 5 * 60000);
    assert_true(bed.taken >= 3);
    assert_int_equal(bed.members[1].finished, 0);
    assert_int_not_equal(bed.members[2].finished, 0);
}

static void test_a_clock_that_was_ahead_stops_nothing_once_it_is_right(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct bed bed;
        bed_open(&bed, "1m");
        run(&bed, 2 * 60000);
        bed.ahead_s = 365 * 86400;
        run(&bed, 2 * 60000);
        if (way == 1) {
            elect(&bed, 2); /* its leadership began in the future */
            run(&bed, 60000);
        }
        bed.ahead_s = 0;
        if (way == 2) {
            elect(&bed, 2);
        }
        size_t before = bed.taken;
        assert_true(before >= 3);
        run(&bed, 5 * 60000);
        assert_in_range(bed.taken - before, 4, 6); /* one may have been under way */
        expect_each_slot_once(&bed);
    }
}

static void test_a_clock_that_is_put_back_a_little_repeats_no_slot(void **state)
{
    (void)state;
    struct bed bed;
    bed_open(&bed, "1m");
    run(&bed, 5 * 60000);
    size_t before = bed.taken;
    bed.ahead_s = -120;
    run(&bed, 2 * 60000 - 5000);
    assert_in_range(bed.taken - before, 0, 1);
    run(&bed, 3 * 60000);
    assert_in_range(bed.taken - before, 2, 4);
    expect_each_slot_once(&bed);
}

/* begin_run fails if there are ever two. */
static void test_never_two_whatever_is_lost_and_whoever_dies(void **state)
{
    (void)state;
    size_t taken = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct bed bed;
        bed_open(&bed, "30s");
        random_seed(&bed.random, seed);
        bed.delay_ms = 1 + random_below(&bed.random, 2000);
        bed.lost_percent = random_below(&bed.random, 40);
        bed.work_ms = random_below(&bed.random, 30000);
        for (int step = 0; step < 60; step++) {
            struct member *m = &bed.members[random_below(&bed.random, MEMBERS)];
            switch (random_below(&bed.random, 8)) {
            case 0:
                elect(&bed, random_below(&bed.random, MEMBERS + 1));
                break;
            case 1:
                crash(&bed, m);
                break;
            case 2:
                m->fails = !m->fails;
                break;
            case 3:
                m->able = !m->able;
                break;
            default:
                m->up = true;
                break;
            }
            run(&bed, random_below(&bed.random, 20000));
        }
        expect_each_slot_once(&bed);
        taken += bed.taken;
    }
    print_message("%zu backups\n", taken);
    assert_true(taken > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_slot_is_taken_once_by_the_smallest_follower),
        cmocka_unit_test(test_who_cannot_is_passed_over_and_the_leader_comes_last),
        cmocka_unit_test(test_a_slot_that_nobody_can_take_is_given_up_until_the_next_one),
        cmocka_unit_test(test_a_member_that_dies_at_it_is_replaced),
        cmocka_unit_test(test_a_new_leader_goes_on_with_who_is_at_it),
        cmocka_unit_test(test_a_slot_without_a_leader_is_made_up_for_once),
        cmocka_unit_test(test_a_cluster_that_begins_waits_for_the_next_slot),
        cmocka_unit_test(test_who_wants_one_now_is_refused_while_another_is_at_it),
        cmocka_unit_test(test_members_of_etcd_are_left_out),
        cmocka_unit_test(test_a_clock_that_was_ahead_stops_nothing_once_it_is_right),
        cmocka_unit_test(test_a_clock_that_is_put_back_a_little_repeats_no_slot),
        cmocka_unit_test(test_never_two_whatever_is_lost_and_whoever_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
