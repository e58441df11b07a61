#include "base/log.h"
#include "chaos/sim/sim.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sim_result run(uint64_t seed, unsigned lives, enum sim_canary canary)
{
    const struct sim_config config = {.seed = seed, .lives = lives, .canary = canary};
    struct sim_result result;
    sim_run(&config, &result);
    return result;
}

static void test_lives_from_a_few_seeds_hold_all_promises(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct sim_result r = run(seed, 8, SIM_CANARY_NONE);
        if (r.failed) {
            print_error("seed %llu: %s\n", (unsigned long long)seed, r.message);
        }
        assert_false(r.failed);
        assert_int_equal(r.crashes, 8);
        assert_true(r.acknowledged > 0 && r.events > 0 && r.reads > 0);
    }
}

static void test_the_same_seed_gives_the_same_run(void **state)
{
    (void)state;
    struct sim_result a = run(42, 6, SIM_CANARY_NONE), b = run(42, 6, SIM_CANARY_NONE), c = run(43, 6, SIM_CANARY_NONE);
    assert_true(a.trace == b.trace);
    assert_true(a.trace != c.trace);
}

/* A checker that never fails proves nothing: each planted fault must be found within a few seeds. */
static void test_every_canary_is_found(void **state)
{
    (void)state;
    for (int canary = SIM_CANARY_NONE + 1; canary < SIM_CANARIES; canary++) {
        bool found = false;
        for (uint64_t seed = 1; seed <= 5 && !found; seed++) {
            struct sim_result r = run(seed, 0, (enum sim_canary)canary);
            found = r.failed;
            if (found) {
                print_message("%s: %s\n", sim_canary_name((enum sim_canary)canary), r.message);
            }
        }
        if (!found) {
            print_error("nobody noticed %s\n", sim_canary_name((enum sim_canary)canary));
        }
        assert_true(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lives_from_a_few_seeds_hold_all_promises),
        cmocka_unit_test(test_the_same_seed_gives_the_same_run),
        cmocka_unit_test(test_every_canary_is_found),
    };
    log_configure(LOG_PANIC, LOG_CONSOLE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
