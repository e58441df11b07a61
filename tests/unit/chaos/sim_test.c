#include "base/canary.h"
#include "base/log.h"
#include "chaos/sim/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

_Static_assert(!CANARY(FORGOTTEN_VOTE), "a build without canaries has none");

static struct sim_result run(unsigned members, uint64_t seed, enum sim_canary canary)
{
    const struct sim_config config = {.seed = seed, .members = members, .lives = 8, .seconds = 20, .canary = canary};
    struct sim_result result;
    sim_run(&config, &result);
    return result;
}

static void hold_all_promises(unsigned members, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct sim_result r = run(members, seed, SIM_CANARY_NONE);
        if (r.failed) {
            print_error("%u members, seed %llu: %s\n", members, (unsigned long long)seed, r.message);
        }
        assert_false(r.failed);
        assert_true(r.acknowledged > 0 && r.events > 0 && r.reads > 0);
    }
}

static void test_lives_of_one_member_hold_all_promises(void **state)
{
    (void)state;
    hold_all_promises(1, 5);
    assert_int_equal(run(1, 1, SIM_CANARY_NONE).crashes, 8);
}

static void test_lives_of_three_members_hold_all_promises(void **state)
{
    (void)state;
    hold_all_promises(3, 10);
}

static void test_lives_of_five_members_hold_all_promises(void **state)
{
    (void)state;
    hold_all_promises(5, 3);
}

/* Storms do what they are for. */
static void test_faults_of_every_kind_happen(void **state)
{
    (void)state;
    uint64_t faults[SIM_FAULTS] = {0};
    int kinds = 0;
    for (uint64_t seed = 1; seed <= 300 && kinds < SIM_FAULTS; seed++) { /* the rarest: an image that is cut */
        struct sim_result r = run(3, seed, SIM_CANARY_NONE);
        kinds = 0;
        for (int i = 0; i < SIM_FAULTS; i++) {
            faults[i] += r.faults[i];
            kinds += faults[i] > 0;
        }
    }
    for (int i = 0; i < SIM_FAULTS; i++) {
        if (faults[i] == 0) {
            print_error("never: %s\n", sim_fault_name((enum sim_fault)i));
        }
        assert_true(faults[i] > 0);
    }
}

static void test_the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    for (unsigned members = 1; members <= 3; members += 2) {
        uint64_t a = run(members, 42, SIM_CANARY_NONE).trace, b = run(members, 42, SIM_CANARY_NONE).trace;
        assert_true(a == b);
        assert_true(a != run(members, 43, SIM_CANARY_NONE).trace);
    }
}

/* A checker that never fails proves nothing: each planted fault must be found within a few seeds. */
static void test_every_canary_is_found(void **state)
{
    (void)state;
    for (int canary = SIM_CANARY_NONE + 1; canary < SIM_CANARIES; canary++) {
        for (unsigned members = 1; members <= 3; members += 2) {
            bool found = false;
            for (uint64_t seed = 1; seed <= 10 && !found; seed++) {
                struct sim_result r = run(members, seed, (enum sim_canary)canary);
                found = r.failed;
            }
            if (!found) {
                print_error("nobody noticed %s\n", sim_canary_name((enum sim_canary)canary));
            }
            assert_true(found);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives_of_one_member_hold_all_promises),
        cmocka_unit_test(test_lives_of_three_members_hold_all_promises),
        cmocka_unit_test(test_lives_of_five_members_hold_all_promises),
        cmocka_unit_test(test_faults_of_every_kind_happen),
        cmocka_unit_test(test_the_same_seed_gives_the_same_run),
        cmocka_unit_test(test_every_canary_is_found),
    };
    log_configure(LOG_PANIC, LOG_CONSOLE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
