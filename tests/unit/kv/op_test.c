/* What is refused before it is proposed, with etcd's error for it. */
#include "kv/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;

static ProtobufCBinaryData bytes(const char *text)
{
    return (ProtobufCBinaryData){.len = strlen(text), .data = (uint8_t *)text};
}

static int teardown(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

/* Txns written as text: p<key> puts, d<key> deletes, d<key>-<end> deletes a range ("0" as end: a zero byte), g<key>
 * gets, (success|failure) nests. Blanks separate. */
static const char *cursor;

static Etcdserverpb__TxnRequest *parse_txn(void);

static ProtobufCBinaryData parse_word(void)
{
    size_t n = strcspn(cursor, " ()|-");
    ProtobufCBinaryData word = {.len = n, .data = (uint8_t *)cursor};
    cursor += n;
    return word;
}

static Etcdserverpb__RequestOp *parse_op(void)
{
    Etcdserverpb__RequestOp *op = arena_alloc(&arena, sizeof *op);
    etcdserverpb__request_op__init(op);
    char kind = *cursor++;
    if (kind == '(') {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = parse_txn();
        cursor++;
    } else if (kind == 'p') {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = arena_alloc(&arena, sizeof *op->request_put);
        etcdserverpb__put_request__init(op->request_put);
        op->request_put->key = parse_word();
    } else if (kind == 'd') {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        op->request_delete_range = arena_alloc(&arena, sizeof *op->request_delete_range);
        etcdserverpb__delete_range_request__init(op->request_delete_range);
        op->request_delete_range->key = parse_word();
        if (*cursor == '-') {
            cursor++;
            ProtobufCBinaryData end = parse_word();
            bool open = end.len == 1 && *end.data == '0';
            op->request_delete_range->range_end = open ? (ProtobufCBinaryData){1, (uint8_t *)""} : end;
        }
    } else {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = arena_alloc(&arena, sizeof *op->request_range);
        etcdserverpb__range_request__init(op->request_range);
        op->request_range->key = parse_word();
    }
    return op;
}

static Etcdserverpb__RequestOp **parse_ops(size_t *count)
{
    Etcdserverpb__RequestOp **ops = arena_alloc(&arena, 200 * sizeof ops[0]);
    *count = 0;
    while (*cursor != 0 && *cursor != ')' && *cursor != '|') {
        if (*cursor == ' ') {
            cursor++;
        } else {
            ops[(*count)++] = parse_op();
        }
    }
    return ops;
}

static Etcdserverpb__TxnRequest *parse_txn(void)
{
    Etcdserverpb__TxnRequest *txn = arena_alloc(&arena, sizeof *txn);
    etcdserverpb__txn_request__init(txn);
    txn->success = parse_ops(&txn->n_success);
    if (*cursor == '|') {
        cursor++;
        txn->failure = parse_ops(&txn->n_failure);
    }
    return txn;
}

static void expect_txn(const char *text, uint32_t max_ops, int error)
{
    cursor = text;
    int got = kv_check_txn(parse_txn(), max_ops);
    if (got != error) {
        fail_msg("%s: expected %s, got %s", text, error_name(error), error_name(got));
    }
}

static void test_a_branch_may_put_a_key_once(void **state)
{
    (void)state;
    expect_txn("pa pb", 0, 0);
    expect_txn("pa pa", 0, ERR_DUPLICATE_KEY);
    expect_txn("pa | pa", 0, 0);
    expect_txn("pb | pa pc pa", 0, ERR_DUPLICATE_KEY);
    expect_txn("pa (pa)", 0, ERR_DUPLICATE_KEY);
    expect_txn("(pa) (pa)", 0, ERR_DUPLICATE_KEY);
    expect_txn("(pa | pa)", 0, 0);
    expect_txn("(pa | pa pa)", 0, ERR_DUPLICATE_KEY);
    expect_txn("((pa) | (pa))", 0, 0);
    expect_txn("(pa) (| pa)", 0, ERR_DUPLICATE_KEY);
}

static void test_a_branch_may_not_put_what_it_deletes(void **state)
{
    (void)state;
    expect_txn("da pa", 0, ERR_DUPLICATE_KEY);
    expect_txn("pa da", 0, ERR_DUPLICATE_KEY);
    expect_txn("da-c pb", 0, ERR_DUPLICATE_KEY);
    expect_txn("da-c pc", 0, 0);
    expect_txn("dc-a pb", 0, 0);
    expect_txn("da-0 pb", 0, 0); /* a zero byte as end is taken literally here */
    expect_txn("da da-c db", 0, 0);
    expect_txn("da-d db-c pcc", 0, ERR_DUPLICATE_KEY);
    expect_txn("da-c dc-e dx pd", 0, ERR_DUPLICATE_KEY);
    expect_txn("da | pa", 0, 0);
}

static void test_order_counts_between_nested_puts_and_deletes(void **state)
{
    (void)state;
    expect_txn("(pa) (da)", 0, 0);
    expect_txn("(da) (pa)", 0, ERR_DUPLICATE_KEY);
    expect_txn("(da) pa", 0, ERR_DUPLICATE_KEY);
    expect_txn("da (pa)", 0, ERR_DUPLICATE_KEY);
    expect_txn("(pa) da", 0, ERR_DUPLICATE_KEY);
    expect_txn("(| da) (| pa)", 0, ERR_DUPLICATE_KEY);
    expect_txn("(da | pa)", 0, 0);
}

static void test_nested_txns_share_the_budget_of_operations(void **state)
{
    (void)state;
    expect_txn("pa pb", 2, 0);
    expect_txn("pa pb pc", 2, ERR_TOO_MANY_OPS);
    expect_txn("(pa)", 2, 0);
    expect_txn("(pa pb)", 2, ERR_TOO_MANY_OPS);
    expect_txn("(pa) pb", 2, ERR_TOO_MANY_OPS);
    expect_txn("((pa))", 3, 0);
    expect_txn("(((pa)))", 3, ERR_TOO_MANY_OPS);
    expect_txn("(|pa pb)", 2, ERR_TOO_MANY_OPS);
}

static void test_each_operation_of_a_txn_is_checked_as_alone(void **state)
{
    (void)state;
    expect_txn("p", 0, ERR_EMPTY_KEY);
    expect_txn("pa | d", 0, ERR_EMPTY_KEY);
    expect_txn("(g)", 0, ERR_EMPTY_KEY);
    Etcdserverpb__RequestOp empty = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&empty};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = ops;
    txn.n_success = 1;
    assert_int_equal(kv_check_txn(&txn, 0), ERR_KEY_NOT_FOUND);
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    txn.compare = compares;
    txn.n_compare = 1;
    assert_int_equal(kv_check_txn(&txn, 0), ERR_EMPTY_KEY);
}

static void test_single_requests(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    assert_int_equal(kv_check_put(&put), ERR_EMPTY_KEY);
    put.key = bytes("a");
    put.value = bytes("v");
    put.ignore_value = true;
    assert_int_equal(kv_check_put(&put), ERR_VALUE_PROVIDED);
    put.ignore_value = false;
    put.ignore_lease = true;
    put.lease = 5;
    assert_int_equal(kv_check_put(&put), ERR_LEASE_PROVIDED);
    put.lease = 0;
    assert_int_equal(kv_check_put(&put), 0);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.sort_order = (Etcdserverpb__RangeRequest__SortOrder)7;
    assert_int_equal(kv_check_range(&range), ERR_EMPTY_KEY);
    range.key = bytes("a");
    assert_int_equal(kv_check_range(&range), ERR_INVALID_SORT_OPTION);
    range.sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    assert_int_equal(kv_check_range(&range), 0);
    assert_int_not_equal(kv_check_range_stream(&range), 0);
}

static void test_a_txn_of_ranges_alone_is_read_only(void **state)
{
    (void)state;
    cursor = "ga gb | gc";
    Etcdserverpb__TxnRequest *txn = parse_txn();
    assert_true(kv_txn_read_only(txn));
    assert_false(kv_txn_serializable(txn));
    txn->success[0]->request_range->serializable = true;
    txn->success[1]->request_range->serializable = true;
    assert_false(kv_txn_serializable(txn));
    txn->failure[0]->request_range->serializable = true;
    assert_true(kv_txn_serializable(txn));
    cursor = "ga (gb)";
    assert_false(kv_txn_read_only(parse_txn()));
    cursor = "ga | pa";
    assert_false(kv_txn_read_only(parse_txn()));
}

static void test_cost_is_the_dearer_branch(void **state)
{
    (void)state;
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    cursor = "pa (pbb pc | pd) | pe";
    request.txn = parse_txn();
    assert_int_equal(kv_request_cost(&request), 257 + 258 + 257);
    cursor = "da gb";
    request.txn = parse_txn();
    assert_int_equal(kv_request_cost(&request), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_branch_may_put_a_key_once),
        cmocka_unit_test(test_a_branch_may_not_put_what_it_deletes),
        cmocka_unit_test(test_order_counts_between_nested_puts_and_deletes),
        cmocka_unit_test(test_nested_txns_share_the_budget_of_operations),
        cmocka_unit_test(test_each_operation_of_a_txn_is_checked_as_alone),
        cmocka_unit_test(test_single_requests),
        cmocka_unit_test(test_a_txn_of_ranges_alone_is_read_only),
        cmocka_unit_test(test_cost_is_the_dearer_branch),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
