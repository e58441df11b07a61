#include "base/error.h"
#include "base/random.h"
#include "kv/lease_query.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct lease_table *table(uint64_t checkpoint_interval_ms)
{
    struct lease_config config = {.hash_seed = 7, .checkpoint_interval_ms = checkpoint_interval_ms};
    return lease_table_new(&config);
}

static void promote(struct lease_table *t, uint64_t now_ms, uint64_t extend_ms)
{
    lease_promote(t, now_ms, extend_ms);
    while (lease_promote_step(t, 3)) {
    }
}

static int64_t ttl(struct lease_table *t, int64_t id, uint64_t now_ms)
{
    struct lease_info info;
    return lease_info(t, id, now_ms, &info) == 0 ? info.ttl_s : -1;
}

/* A question's whole answer; budget 1 = as slowly as can be. */
static struct lease_query *ask(struct lease_query *query, size_t budget)
{
    while (!lease_query_step(query, budget)) {
    }
    return query;
}

static void test_grant_checks_in_etcds_order(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    int64_t granted = 0;
    assert_int_equal(lease_grant(t, 0, LEASE_TTL_MAX_S + 1, 0, &granted), ERR_LEASE_NOT_FOUND);
    assert_int_equal(lease_grant(t, 1, LEASE_TTL_MAX_S + 1, 0, &granted), ERR_LEASE_TTL_TOO_LARGE);
    assert_int_equal(lease_grant(t, 1, -5, 0, &granted), 0);
    assert_int_equal(granted, 2); /* the minimum */
    assert_int_equal(lease_grant(t, 1, LEASE_TTL_MAX_S + 1, 0, &granted), ERR_LEASE_TTL_TOO_LARGE);
    assert_int_equal(lease_grant(t, 1, 10, 0, &granted), ERR_LEASE_EXIST);
    assert_int_equal(lease_grant(t, -1, LEASE_TTL_MAX_S, 0, &granted), 0);
    assert_int_equal(granted, LEASE_TTL_MAX_S);
    lease_table_free(t);
}

static void test_a_key_belongs_to_one_lease_and_moves(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    struct bytes k = bytes_str("key");
    lease_grant(t, 1, 10, 0, NULL);
    lease_grant(t, 2, 10, 0, NULL);
    assert_int_equal(lease_attach(t, 3, k), ERR_LEASE_NOT_FOUND);
    assert_int_equal(lease_attach(t, 1, k), 0);
    assert_int_equal(lease_attach(t, 1, k), 0);
    assert_int_equal(lease_of(t, k), 1);
    assert_int_equal(lease_attach(t, 2, k), 0);
    assert_int_equal(lease_of(t, k), 2);
    size_t count;
    struct lease_query *first = ask(lease_query_keys(t, 1), 1), *second = ask(lease_query_keys(t, 2), 1);
    lease_query_found_keys(first, &count);
    assert_int_equal(count, 0);
    const struct bytes *keys = lease_query_found_keys(second, &count);
    assert_int_equal(count, 1);
    assert_true(bytes_equal(keys[0], k));
    lease_query_free(first);
    lease_query_free(second);
    assert_int_equal(lease_detach(t, k), 2);
    assert_int_equal(lease_detach(t, k), 0);
    assert_int_equal(lease_of(t, k), 0);
    lease_table_free(t);
}

static void test_without_promotion_nothing_expires(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    int64_t ids[4], seconds;
    lease_grant(t, 1, 10, 0, NULL);
    assert_int_equal(lease_expired(t, UINT64_MAX - 1, ids, 4), 0);
    assert_int_equal(lease_renew(t, 1, 0, &seconds, NULL), ERR_NOT_PRIMARY);
    assert_true(lease_deadline(t) == LEASE_FOREVER);
    assert_int_equal(ttl(t, 1, 1000000), 10);
    lease_table_free(t);
}

static void test_promotion_gives_the_full_ttl_and_the_extension(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    int64_t ids[4], seconds = 0;
    lease_grant(t, 1, 10, 0, NULL);
    promote(t, 5000, 1000);
    assert_int_equal(ttl(t, 1, 5000), 11);
    assert_int_equal(lease_deadline(t), 16001); /* 5000 may have been 5000.9 */
    assert_int_equal(lease_expired(t, 16000, ids, 4), 0);
    assert_int_equal(lease_renew(t, 1, 16000, &seconds, NULL), 0);
    assert_int_equal(seconds, 10);
    assert_int_equal(lease_expired(t, 26000, ids, 4), 0);
    assert_int_equal(lease_expired(t, 26001, ids, 4), 1);
    assert_int_equal(ids[0], 1);
    assert_int_equal(lease_expired(t, 26002, ids, 4), 0); /* in flight */
    assert_int_equal(lease_expired(t, 26001 + 7001, ids, 4), 1);
    lease_demote(t);
    assert_int_equal(lease_expired(t, 1000000, ids, 4), 0);
    lease_table_free(t);
}

struct wait {
    struct lease_waiter waiter;
    int told, error;
};

static void told(struct lease_waiter *w, int error)
{
    struct wait *wait = container_of(w, struct wait, waiter);
    wait->told++;
    wait->error = error;
}

static void revoke(struct lease_table *t, int64_t id)
{
    size_t budget = 1000000;
    struct bytes key;
    while (lease_revoke_next(t, id, &budget, &key) != LEASE_END) {
    }
}

static void test_keepalive_of_an_expired_lease_waits_for_its_revoke(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    int64_t seconds;
    struct wait w = {.waiter.done = told}, v = {.waiter.done = told}, u = {.waiter.done = told};
    promote(t, 0, 0);
    lease_grant(t, 1, 10, 0, NULL);
    lease_grant(t, 2, 10, 0, NULL);
    assert_int_equal(lease_renew(t, 1, 10001, &seconds, NULL), ERR_AGAIN);
    assert_int_equal(lease_wait(t, 1, &w.waiter), 0);
    assert_int_equal(lease_wait(t, 1, &u.waiter), 0);
    assert_int_equal(lease_wait(t, 2, &v.waiter), 0);
    lease_unwait(&u.waiter);
    revoke(t, 1);
    assert_int_equal(w.told, 1);
    assert_int_equal(w.error, ERR_LEASE_NOT_FOUND);
    assert_int_equal(u.told, 0);
    assert_int_equal(lease_renew(t, 1, 10001, &seconds, NULL), ERR_LEASE_NOT_FOUND);
    lease_demote(t);
    assert_int_equal(v.told, 1);
    assert_int_equal(v.error, ERR_NOT_PRIMARY);
    lease_table_free(t);
}

static void test_revoke_hands_out_keys_in_byte_order_in_slices(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    struct random r;
    random_seed(&r, 3);
    lease_grant(t, 1, 10, 0, NULL);
    lease_grant(t, 2, 10, 0, NULL);
    for (int i = 0; i < 3000; i++) {
        uint8_t key[3] = {(uint8_t)random_below(&r, 20), (uint8_t)random_next(&r), (uint8_t)random_next(&r)};
        lease_attach(t, 1 + (i & 1), bytes_of(key, 1 + random_below(&r, 3)));
    }
    struct lease_info info;
    lease_info(t, 1, 0, &info);
    size_t other = lease_stats(t).keys - info.keys, seen = 0, slices = 0;
    uint8_t last[3];
    struct bytes key, before = {0};
    for (;;) {
        size_t budget = 100;
        enum lease_revoke result;
        while ((result = lease_revoke_next(t, 1, &budget, &key)) == LEASE_KEY) {
            assert_true(bytes_compare(before, key) < 0);
            assert_int_equal(lease_of(t, key), 0);
            assert_int_equal(lease_detach(t, key), 0);
            memcpy(last, key.data, key.len);
            before = bytes_of(last, key.len);
            seen++;
        }
        slices++;
        if (result == LEASE_END) {
            break;
        }
    }
    assert_int_equal(seen, info.keys);
    assert_true(slices > 20);
    assert_int_equal(lease_stats(t).keys, other);
    assert_false(lease_exists(t, 1));
    assert_true(lease_exists(t, 2));
    lease_table_free(t);
}

static void test_table_can_be_freed_in_the_middle_of_a_revoke(void **state)
{
    (void)state;
    for (size_t steps = 1; steps < 40; steps += 3) {
        struct lease_table *t = table(0);
        lease_grant(t, 1, 10, 0, NULL);
        for (uint8_t i = 0; i < 10; i++) {
            uint8_t key = (uint8_t)(100 - i);
            lease_attach(t, 1, bytes_of(&key, 1));
        }
        size_t budget = steps;
        struct bytes key;
        while (lease_revoke_next(t, 1, &budget, &key) == LEASE_KEY) {
        }
        lease_table_free(t);
    }
}

static void test_promotion_of_many_leases_spreads_their_expiry(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    const int count = 10000;
    for (int i = 1; i <= count; i++) {
        lease_grant(t, i, 60 + i % 3, 0, NULL);
    }
    promote(t, 500, 1000);
    size_t n;
    struct lease_query *query = ask(lease_query_leases(t), 7);
    const struct lease_entry *list = lease_query_entries(query, &n);
    assert_int_equal(n, count);
    size_t in_second = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || list[i - 1].expiry_ms <= list[i].expiry_ms);
        assert_true(list[i].expiry_ms >= 1500 + (60 + (uint64_t)list[i].id % 3) * 1000);
        in_second = i > 0 && list[i].expiry_ms / 1000 == list[i - 1].expiry_ms / 1000 ? in_second + 1 : 1;
        assert_true(in_second <= LEASE_SPREAD_PER_SECOND);
    }
    assert_true(list[n - 1].expiry_ms < 1500 + 62000 + (uint64_t)count * 1000 / LEASE_SPREAD_PER_SECOND + 2000);
    lease_query_free(query);
    lease_table_free(t);
}

static void test_renewals_and_grants_during_a_promotion_keep_their_own_expiry(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    for (int i = 1; i <= 10; i++) {
        lease_grant(t, i, 60, 0, NULL);
    }
    int64_t seconds;
    lease_promote(t, 0, 1000);
    assert_true(lease_promote_step(t, 2));
    assert_int_equal(lease_deadline(t), 0);
    assert_int_equal(lease_renew(t, 9, 5000, &seconds, NULL), 0);
    lease_grant(t, 11, 30, 5000, NULL);
    assert_int_equal(ttl(t, 8, 5000), 56); /* its turn has not come: the least it can be */
    revoke(t, 3);
    while (lease_promote_step(t, 2)) {
    }
    assert_int_equal(ttl(t, 8, 5000), 56);
    assert_int_equal(ttl(t, 9, 5000), 60);
    assert_int_equal(ttl(t, 11, 5000), 30);
    lease_table_free(t);
}

/* A leader's, with one lease of 1,000 s and a checkpoint each 300 s. */
static struct lease_table *table_with_checkpoints(void)
{
    struct lease_table *t = table(300000);
    promote(t, 0, 0);
    lease_grant(t, 1, 1000, 0, NULL);
    return t;
}

static void test_checkpoints_shorten_the_next_promotion_only(void **state)
{
    (void)state;
    struct lease_table *t = table_with_checkpoints();
    struct lease_checkpoint_due due[4];
    int64_t seconds;
    bool clear = false;
    lease_grant(t, 2, 200, 0, NULL); /* shorter than the interval: none */
    assert_int_equal(lease_checkpoints(t, 299999, due, 4), 0);
    assert_int_equal(lease_checkpoints(t, 300001, due, 4), 1);
    assert_int_equal(due[0].id, 1);
    assert_int_equal(due[0].remaining_ttl_s, 700);
    assert_int_equal(lease_checkpoint(t, 1, 700, 300001), 0);
    assert_int_equal(ttl(t, 1, 300001), 699); /* unchanged: floor(699.999) */
    lease_demote(t);
    promote(t, 400000, 1000);
    assert_int_equal(ttl(t, 1, 400000), 701);
    assert_int_equal(lease_renew(t, 1, 400000, &seconds, &clear), ERR_AGAIN);
    assert_true(clear);
    assert_int_equal(lease_checkpoint(t, 1, 0, 400000), 0);
    assert_int_equal(lease_renew(t, 1, 400000, &seconds, &clear), 0);
    assert_false(clear);
    assert_int_equal(ttl(t, 1, 400000), 1000);
    assert_int_equal(lease_checkpoint(t, 77, 5, 0), ERR_LEASE_NOT_FOUND);
    lease_table_free(t);
}

/* The other way round: the renewal waits first. */
static void test_no_checkpoint_is_handed_out_while_a_renewal_waits_for_one_to_be_cleared(void **state)
{
    (void)state;
    struct lease_table *t = table_with_checkpoints();
    struct lease_checkpoint_due due[4];
    int64_t seconds;
    bool clear = false;
    assert_int_equal(lease_checkpoints(t, 300000, due, 4), 1);
    assert_int_equal(lease_checkpoint(t, 1, 700, 300001), 0);
    assert_int_equal(lease_renew(t, 1, 600000, &seconds, &clear), ERR_AGAIN);
    assert_true(clear);
    assert_int_equal(lease_checkpoints(t, 600001, due, 4), 0);
    assert_int_equal(lease_checkpoint(t, 1, 0, 600002), 0);
    assert_int_equal(lease_renew(t, 1, 600002, &seconds, &clear), 0);
    assert_int_equal(lease_checkpoints(t, 900003, due, 4), 1);
    lease_table_free(t);
}

/* Else the checkpoint would be applied behind the renewal, and the next leader would end the lease before the time that
 * its holder was told. */
static void test_a_renewal_while_a_checkpoint_is_on_its_way_clears_it(void **state)
{
    (void)state;
    struct lease_table *t = table_with_checkpoints();
    struct lease_checkpoint_due due[4];
    int64_t seconds;
    bool clear = false;
    assert_int_equal(lease_checkpoints(t, 300000, due, 4), 1);
    assert_int_equal(lease_renew(t, 1, 300001, &seconds, &clear), ERR_AGAIN);
    assert_true(clear);
    assert_int_equal(lease_checkpoint(t, 1, 700, 300002), 0);
    assert_int_equal(lease_checkpoint(t, 1, 0, 300003), 0);
    assert_int_equal(lease_renew(t, 1, 300003, &seconds, &clear), 0);
    assert_false(clear);
    lease_demote(t);
    promote(t, 300010, 0);
    assert_int_equal(ttl(t, 1, 300010), 1000);
    lease_table_free(t);
}

/* The gate was on before, here or at another leader. */
static void test_a_checkpoint_is_cleared_where_none_are_made(void **state)
{
    (void)state;
    struct lease_table *t = table(0);
    int64_t seconds;
    bool clear = false;
    lease_grant(t, 1, 1000, 0, NULL);
    assert_int_equal(lease_checkpoint(t, 1, 100, 0), 0);
    promote(t, 0, 0);
    assert_int_equal(ttl(t, 1, 0), 100);
    assert_int_equal(lease_renew(t, 1, 50000, &seconds, &clear), ERR_AGAIN);
    assert_true(clear);
    assert_int_equal(lease_checkpoint(t, 1, 0, 50000), 0);
    assert_int_equal(lease_renew(t, 1, 50000, &seconds, &clear), 0);
    lease_demote(t);
    promote(t, 60000, 0);
    assert_int_equal(ttl(t, 1, 60000), 1000);
    lease_table_free(t);
}

static void test_rows_are_etcds_and_load_again(void **state)
{
    (void)state;
    struct lease_table *t = table(0), *u = table(0);
    struct lease_row row;
    lease_grant(t, 0x70cc1122334455, 300, 0, NULL);
    lease_grant(t, -1, 5, 0, NULL);
    lease_checkpoint(t, -1, 3, 0);
    assert_false(lease_row(t, 5, &row));
    assert_true(lease_row(t, 0x70cc1122334455, &row));
    const uint8_t key[] = {0, 0x70, 0xcc, 0x11, 0x22, 0x33, 0x44, 0x55};
    const uint8_t value[] = {0x08, 0xd5, 0x88, 0xcd, 0x91, 0x92, 0x82, 0xb3, 0x38, 0x10, 0xac, 0x02};
    assert_memory_equal(row.key, key, 8);
    assert_int_equal(row.value_len, sizeof value);
    assert_memory_equal(row.value, value, sizeof value);
    assert_int_equal(lease_load(u, bytes_of(row.key, 8), bytes_of(row.value, row.value_len)), 0);
    assert_int_equal(lease_load(u, bytes_of(row.key, 8), bytes_of(row.value, row.value_len)), ERR_LEASE_EXIST);
    assert_true(lease_row(t, -1, &row));
    assert_int_equal(lease_load(u, bytes_of(row.key, 8), bytes_of(row.value, row.value_len)), 0);
    promote(u, 0, 0);
    assert_int_equal(ttl(u, -1, 0), 3);
    assert_int_equal(lease_load(u, bytes_of(row.key, 7), bytes_of(row.value, row.value_len)), ERR_CORRUPT_DATA);
    assert_int_equal(lease_load(u, bytes_of(row.key, 8), bytes_of(row.value, row.value_len - 1)), ERR_CORRUPT_DATA);
    assert_int_equal(lease_load(u, bytes_of(key, 8), bytes_of(row.value, row.value_len)), ERR_CORRUPT_DATA);
    lease_table_free(t);
    lease_table_free(u);
}

/* Random grants, attachments, moves, detachments and revokes against arrays. */
enum { MODEL_LEASES = 12, MODEL_KEYS = 300 };

static void check_against_model(struct lease_table *t, const int *of, const bool *there)
{
    for (int lease = 1; lease <= MODEL_LEASES; lease++) {
        assert_int_equal(lease_exists(t, lease), there[lease]);
        size_t count, expected = 0;
        struct lease_query *query = ask(lease_query_keys(t, lease), 3);
        const struct bytes *keys = lease_query_found_keys(query, &count);
        for (int k = 0; k < MODEL_KEYS; k++) {
            uint8_t name[2] = {(uint8_t)(k >> 8), (uint8_t)k};
            assert_int_equal(lease_of(t, bytes_of(name, 2)), of[k]);
            if (of[k] == lease) {
                assert_true(expected < count && bytes_equal(keys[expected], bytes_of(name, 2)));
                expected++;
            }
        }
        assert_int_equal(count, expected);
        lease_query_free(query);
    }
}

/* Leases 1 to 40 and keys 0 to 39 of lease 1 stay; others come and go between any two steps of the questions. */
static void test_questions_in_slices_give_each_thing_that_stays_exactly_once(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 5);
    for (int round = 0; round < 50; round++) {
        struct lease_table *t = table(0);
        for (int i = 0; i < 80; i++) {
            uint8_t name[2] = {'k', (uint8_t)(i * 7 % 80)};
            lease_grant(t, i * 3 % 80 + 1, 10, 0, NULL);
            lease_attach(t, 1, bytes_of(name, 2));
        }
        struct lease_query *leases = lease_query_leases(t), *keys = lease_query_keys(t, 1);
        bool leases_done = false, keys_done = false;
        while (!leases_done || !keys_done) {
            uint8_t name[2] = {'k', (uint8_t)(40 + random_below(&random, 60))};
            int64_t id = 41 + (int64_t)random_below(&random, 60);
            lease_attach(t, random_below(&random, 2) == 0 ? 1 : id, bytes_of(name, 2));
            name[1] = (uint8_t)(40 + random_below(&random, 60));
            lease_detach(t, bytes_of(name, 2));
            if (lease_exists(t, id)) {
                revoke(t, id);
            } else {
                lease_grant(t, id, 10, 0, NULL);
            }
            leases_done = lease_query_step(leases, 1 + random_below(&random, 3));
            keys_done = lease_query_step(keys, 1 + random_below(&random, 3));
        }
        size_t count, stays = 0;
        const struct lease_entry *entries = lease_query_entries(leases, &count);
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || entries[i - 1].id < entries[i].id);
            stays += entries[i].id <= 40;
        }
        assert_int_equal(stays, 40);
        const struct bytes *found = lease_query_found_keys(keys, &count);
        stays = 0;
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || bytes_compare(found[i - 1], found[i]) < 0);
            stays += found[i].data[1] < 40;
        }
        assert_int_equal(stays, 40);
        lease_query_free(leases);
        lease_table_free(t);
        assert_true(lease_query_lost(keys));
        lease_query_free(keys);
    }
}

static void test_random_histories_match_a_model(void **state)
{
    (void)state;
    struct random r;
    random_seed(&r, 99);
    struct lease_table *t = table(0);
    int of[MODEL_KEYS] = {0};
    bool there[MODEL_LEASES + 1] = {false};
    for (int step = 0; step < 20000; step++) {
        int lease = 1 + (int)random_below(&r, MODEL_LEASES), k = (int)random_below(&r, MODEL_KEYS);
        uint8_t name[2] = {(uint8_t)(k >> 8), (uint8_t)k};
        struct bytes key = bytes_of(name, 2);
        uint64_t what = random_below(&r, 100);
        if (what < 10) {
            assert_int_equal(lease_grant(t, lease, 5, 0, NULL), there[lease] ? ERR_LEASE_EXIST : 0);
            there[lease] = true;
        } else if (what < 70) {
            assert_int_equal(lease_attach(t, lease, key), there[lease] ? 0 : ERR_LEASE_NOT_FOUND);
            of[k] = there[lease] ? lease : of[k];
        } else if (what < 98) {
            assert_int_equal(lease_detach(t, key), of[k]);
            of[k] = 0;
        } else if (there[lease]) {
            revoke(t, lease);
            there[lease] = false;
            for (int i = 0; i < MODEL_KEYS; i++) {
                of[i] = of[i] == lease ? 0 : of[i];
            }
        }
        if (step % 500 == 0) {
            check_against_model(t, of, there);
        }
    }
    lease_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grant_checks_in_etcds_order),
        cmocka_unit_test(test_a_key_belongs_to_one_lease_and_moves),
        cmocka_unit_test(test_without_promotion_nothing_expires),
        cmocka_unit_test(test_promotion_gives_the_full_ttl_and_the_extension),
        cmocka_unit_test(test_keepalive_of_an_expired_lease_waits_for_its_revoke),
        cmocka_unit_test(test_revoke_hands_out_keys_in_byte_order_in_slices),
        cmocka_unit_test(test_table_can_be_freed_in_the_middle_of_a_revoke),
        cmocka_unit_test(test_promotion_of_many_leases_spreads_their_expiry),
        cmocka_unit_test(test_renewals_and_grants_during_a_promotion_keep_their_own_expiry),
        cmocka_unit_test(test_checkpoints_shorten_the_next_promotion_only),
        cmocka_unit_test(test_a_renewal_while_a_checkpoint_is_on_its_way_clears_it),
        cmocka_unit_test(test_a_checkpoint_is_cleared_where_none_are_made),
        cmocka_unit_test(test_no_checkpoint_is_handed_out_while_a_renewal_waits_for_one_to_be_cleared),
        cmocka_unit_test(test_rows_are_etcds_and_load_again),
        cmocka_unit_test(test_questions_in_slices_give_each_thing_that_stays_exactly_once),
        cmocka_unit_test(test_random_histories_match_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
