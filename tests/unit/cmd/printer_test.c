/* The formats against what etcdctl 3.7.1 printed (tests/data/etcd/outputs). An answer is taken from its recorded
 * protobuf form; printed again in each other format it must give what was recorded of that one. Recorded texts have
 * marks such as <MEMBER_ID> where values differ from run to run. */
#include "base/pb.h"
#include "cmd/kedgectl/printer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define FOLDER "tests/data/etcd/outputs/"

static struct arena arena;

static char *read_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, FOLDER "%s", name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return NULL;
    }
    char *text = arena_zalloc(&arena, 65536);
    size_t len = fread(text, 1, 65535, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

static unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static struct bytes read_hex(const char *name)
{
    char *text = read_file(name);
    assert_non_null(text);
    size_t len = strspn(text, "0123456789abcdef") / 2;
    uint8_t *bytes = arena_alloc(&arena, len + 1);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return bytes_of(bytes, len);
}

/* --- marks -------------------------------------------------------------------------------------------------------- */

struct mark {
    const char *name;
    const char *value;
};

static struct mark marks[] = {
    {"<CLUSTER_ID>", "16929081212233768613"},
    {"<CLUSTER_ID_HEX>", "eaf02dab1ceedea5"},
    {"<MEMBER_ID>", "17761333321006314734"},
    {"<MEMBER_ID_HEX>", "f67cee8d47e3f4ee"},
    {"<EP>", "127.0.0.1:32379"},
    {"<PEER>", "127.0.0.1:32380"},
    {"<MEMBER2_ID>", ""},
    {"<MEMBER2_ID_HEX>", ""},
    {"<LEASE_ID>", ""},
    {"<LEASE_ID_HEX>", ""},
    {"<TTL_LEFT>", "499"},
    {"<VERSION>", "3.7.1"},
};

static void set_mark(const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (strcmp(marks[i].name, name) == 0) {
            marks[i].value = value;
        }
    }
}

static void set_lease(int64_t id)
{
    set_mark("<LEASE_ID>", arena_printf(&arena, "%lld", (long long)id));
    set_mark("<LEASE_ID_HEX>", arena_printf(&arena, "%016llx", (unsigned long long)id));
}

static const char *fill_marks(const char *text)
{
    struct buffer out = {0};
    while (*text != '\0') {
        size_t len = 1;
        const char *with = NULL;
        for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
            if (strncmp(text, marks[i].name, strlen(marks[i].name)) == 0) {
                len = strlen(marks[i].name);
                with = marks[i].value;
            }
        }
        buffer_append(&out, with == NULL ? text : with, with == NULL ? 1 : strlen(with));
        text += len;
    }
    buffer_append(&out, "", 1);
    const char *copy = arena_printf(&arena, "%s", (const char *)out.data);
    buffer_free(&out);
    return copy;
}

/* --- one case in all formats -------------------------------------------------------------------------------------- */

typedef int print_case(struct printer *p, const ProtobufCMessage *message);

static void expect(struct printer *p, const char *expected, const char *name)
{
    buffer_append(&p->out, "", 1);
    if (strcmp((const char *)p->out.data, expected) != 0) {
        fail_msg("%s: expected\n%s\ngot\n%s", name, expected, (const char *)p->out.data);
    }
    printer_free(p);
}

static void check_case(const char *name, const ProtobufCMessageDescriptor *type, print_case *print)
{
    static const struct {
        enum print_format format;
        const char *name;
    } formats[] = {{PRINT_SIMPLE, "simple"}, {PRINT_FIELDS, "fields"}, {PRINT_JSON, "json"}};
    char file[128];
    snprintf(file, sizeof file, "raw/%s.protobuf.stdout", name);
    struct bytes packed = read_hex(file);
    ProtobufCMessage *message = pb_unpack(type, packed, &arena, NULL);
    assert_non_null(message);
    for (size_t i = 0; i < 3; i++) {
        struct printer p = {.format = formats[i].format, .hex = strstr(name, "-hex") != NULL, .arena = &arena};
        snprintf(file, sizeof file, "%s.%s.stdout", name, formats[i].name);
        const char *recorded = read_file(file);
        assert_int_equal(print(&p, message), 0);
        expect(&p, fill_marks(recorded == NULL ? "" : recorded), file);
    }
    struct printer p = {.format = PRINT_PROTOBUF, .arena = &arena};
    assert_int_equal(print(&p, message), 0);
    assert_int_equal(p.out.len, packed.len);
    assert_memory_equal(p.out.data, packed.data, packed.len);
    printer_free(&p);
}

#define PRINTER(function, type)                                                                                        \
    static int print_##function(struct printer *p, const ProtobufCMessage *message)                                    \
    {                                                                                                                  \
        return printer_##function(p, (const type *)message);                                                           \
    }
PRINTER(get, Etcdserverpb__RangeResponse)
PRINTER(put, Etcdserverpb__PutResponse)
PRINTER(delete, Etcdserverpb__DeleteRangeResponse)
PRINTER(txn, Etcdserverpb__TxnResponse)
PRINTER(members, Etcdserverpb__MemberListResponse)
PRINTER(alarms, Etcdserverpb__AlarmResponse)

static void test_answers_of_the_store_print_as_recorded(void **state)
{
    (void)state;
    static const char *const gets[] = {"get-one",       "get-missing", "get-binary", "get-binary-hex",
                                       "get-keys-only", "get-limit",   "get-prefix"};
    static const char *const puts[] = {"put-new", "put-prev-kv", "put-hex"};
    static const char *const dels[] = {"del-one", "del-missing", "del-prev-kv", "del-range"};
    static const char *const txns[] = {"txn-success", "txn-failure", "txn-empty", "txn-readonly"};
    for (size_t i = 0; i < sizeof gets / sizeof gets[0]; i++) {
        check_case(gets[i], &etcdserverpb__range_response__descriptor, print_get);
    }
    for (size_t i = 0; i < sizeof puts / sizeof puts[0]; i++) {
        check_case(puts[i], &etcdserverpb__put_response__descriptor, print_put);
    }
    for (size_t i = 0; i < sizeof dels / sizeof dels[0]; i++) {
        check_case(dels[i], &etcdserverpb__delete_range_response__descriptor, print_delete);
    }
    for (size_t i = 0; i < sizeof txns / sizeof txns[0]; i++) {
        check_case(txns[i], &etcdserverpb__txn_response__descriptor, print_txn);
    }
}

static void test_a_key_with_a_lease_prints_as_recorded(void **state)
{
    (void)state;
    struct bytes packed = read_hex("raw/lease-get-key.protobuf.stdout");
    const Etcdserverpb__RangeResponse *r =
        (const Etcdserverpb__RangeResponse *)pb_unpack(&etcdserverpb__range_response__descriptor, packed, &arena, NULL);
    assert_non_null(r);
    set_lease(r->kvs[0]->lease);
    check_case("lease-get-key", &etcdserverpb__range_response__descriptor, print_get);
}

static const Etcdserverpb__MemberListResponse *read_members(const char *file)
{
    return (const Etcdserverpb__MemberListResponse *)pb_unpack(&etcdserverpb__member_list_response__descriptor,
                                                               read_hex(file), &arena, NULL);
}

static void test_members_print_as_recorded(void **state)
{
    (void)state;
    const Etcdserverpb__MemberListResponse *two = read_members("raw/member-list-unstarted.protobuf.stdout");
    const Etcdserverpb__MemberListResponse *one = read_members("raw/member-list.protobuf.stdout");
    set_mark("<MEMBER2_ID>", arena_printf(&arena, "%llu", (unsigned long long)two->members[0]->id));
    set_mark("<MEMBER2_ID_HEX>", arena_printf(&arena, "%llx", (unsigned long long)two->members[0]->id));
    check_case("member-list", &etcdserverpb__member_list_response__descriptor, print_members);
    check_case("member-list-unstarted", &etcdserverpb__member_list_response__descriptor, print_members);
    struct printer fields = {.format = PRINT_FIELDS, .hex = true, .arena = &arena};
    assert_int_equal(printer_members(&fields, one), 0);
    expect(&fields, fill_marks(read_file("member-list-hex.fields.stdout")), "member-list-hex.fields");
    struct printer json = {.format = PRINT_JSON, .hex = true, .arena = &arena};
    assert_int_equal(printer_members(&json, one), 0);
    expect(&json, fill_marks(read_file("member-list-hex.json.stdout")), "member-list-hex.json");
    struct printer table = {.format = PRINT_TABLE, .arena = &arena};
    assert_int_equal(printer_members(&table, one), 0);
    expect(&table, read_file("raw/member-list.table.stdout"), "member-list.table");
}

static void test_alarms_print_as_recorded(void **state)
{
    (void)state;
    check_case("alarm-list", &etcdserverpb__alarm_response__descriptor, print_alarms);
    check_case("alarm-list-none", &etcdserverpb__alarm_response__descriptor, print_alarms);
}

/* --- leases ------------------------------------------------------------------------------------------------------- */

static Etcdserverpb__ResponseHeader header = {
    .cluster_id = UINT64_C(16929081212233768613), .member_id = UINT64_C(17761333321006314734), .raft_term = 2};

static Etcdserverpb__ResponseHeader *header_at(int64_t revision)
{
    etcdserverpb__response_header__init(&header);
    header.cluster_id = UINT64_C(16929081212233768613);
    header.member_id = UINT64_C(17761333321006314734);
    header.raft_term = 2;
    header.revision = revision;
    return &header;
}

static void check_lease(const char *name, int (*print)(struct printer *))
{
    static const char *const formats[] = {"simple", "fields", "json"};
    for (int i = 0; i < 3; i++) {
        char file[128];
        struct printer p = {.format = (enum print_format)i, .arena = &arena};
        snprintf(file, sizeof file, "%s.%s.stdout", name, formats[i]);
        assert_int_equal(print(&p), 0);
        expect(&p, fill_marks(read_file(file)), file);
    }
}

#define LEASE INT64_C(0x326963b40f5b1d2e)

static int print_grant(struct printer *p)
{
    Etcdserverpb__LeaseGrantResponse r = ETCDSERVERPB__LEASE_GRANT_RESPONSE__INIT;
    r.header = header_at(30);
    r.id = LEASE;
    r.ttl = 500;
    return printer_grant(p, &r);
}

static int print_keep_alive(struct printer *p)
{
    Etcdserverpb__LeaseKeepAliveResponse r = ETCDSERVERPB__LEASE_KEEP_ALIVE_RESPONSE__INIT;
    r.header = header_at(32);
    r.id = LEASE;
    r.ttl = 500;
    return printer_keep_alive(p, &r);
}

static int print_time_to_live(struct printer *p)
{
    ProtobufCBinaryData keys[] = {{3, (uint8_t *)"lk1"}, {3, (uint8_t *)"lk2"}};
    Etcdserverpb__LeaseTimeToLiveResponse r = ETCDSERVERPB__LEASE_TIME_TO_LIVE_RESPONSE__INIT;
    r.header = header_at(32);
    r.id = LEASE;
    r.ttl = 499;
    r.grantedttl = 500;
    r.n_keys = 2;
    r.keys = keys;
    return printer_time_to_live(p, &r, true);
}

static int print_leases(struct printer *p)
{
    Etcdserverpb__LeaseStatus one = ETCDSERVERPB__LEASE_STATUS__INIT, *list[] = {&one};
    Etcdserverpb__LeaseLeasesResponse r = ETCDSERVERPB__LEASE_LEASES_RESPONSE__INIT;
    one.id = LEASE;
    r.header = header_at(32);
    r.n_leases = 1;
    r.leases = list;
    return printer_leases(p, &r);
}

static void test_leases_print_as_recorded(void **state)
{
    (void)state;
    set_lease(LEASE);
    check_lease("lease-grant", print_grant);
    check_lease("lease-keep-alive-once", print_keep_alive);
    check_lease("lease-timetolive-keys", print_time_to_live);
    check_lease("lease-list", print_leases);
}

static void test_formats_without_an_answer_end_with_status_4(void **state)
{
    (void)state;
    struct printer table = {.format = PRINT_TABLE, .arena = &arena};
    struct printer protobuf = {.format = PRINT_PROTOBUF, .arena = &arena};
    Etcdserverpb__PutResponse put = ETCDSERVERPB__PUT_RESPONSE__INIT;
    Etcdserverpb__LeaseRevokeResponse revoke = ETCDSERVERPB__LEASE_REVOKE_RESPONSE__INIT;
    assert_int_equal(printer_put(&table, &put), 4);
    assert_int_equal(print_grant(&table), 4);
    assert_int_equal(printer_health(&protobuf, NULL, 0), 4);
    assert_int_equal(printer_status(&protobuf, NULL, 0), 4);
    assert_int_equal(printer_hashes(&protobuf, NULL, 0), 4);
    assert_int_equal(printer_revoke(&protobuf, 1, &revoke), 4);
    printer_free(&table);
    printer_free(&protobuf);
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

static void test_health_prints_as_recorded(void **state)
{
    (void)state;
    struct endpoint_health ill = {"127.0.0.1:32379", false, "3.681094ms", "Active Alarm(s): NOSPACE "};
    struct endpoint_health well = {"127.0.0.1:32379", true, "4.614469ms", ""};
    struct printer p = {.format = PRINT_TABLE, .arena = &arena};
    assert_int_equal(printer_health(&p, &ill, 1), 0);
    expect(&p, read_file("raw/alarm-endpoint-health.table.stdout"), "alarm-endpoint-health.table");
    assert_int_equal(printer_health(&p, &well, 1), 0);
    expect(&p, read_file("raw/endpoint-health.table.stdout"), "endpoint-health.table");
    p.format = PRINT_JSON;
    assert_int_equal(printer_health(&p, NULL, 0), 0);
    expect(&p, "null\n", "no endpoint at all");
}

static void test_status_prints_as_recorded(void **state)
{
    (void)state;
    char *errors[] = {"memberID:17761333321006314734  alarm:NOSPACE"};
    Etcdserverpb__DowngradeInfo downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;
    Etcdserverpb__StatusResponse s = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    s.header = header_at(33);
    s.version = "3.7.1";
    s.storageversion = "3.7.0";
    s.dbsize = 24576;
    s.dbsizeinuse = 20480;
    s.dbsizequota = INT64_C(2) << 30;
    s.leader = header.member_id;
    s.raftindex = s.raftappliedindex = 65;
    s.raftterm = 2;
    s.n_errors = 1;
    s.errors = errors;
    s.downgradeinfo = &downgrade;
    struct endpoint_status item = {"127.0.0.1:32379", &s};
    struct printer p = {.format = PRINT_TABLE, .arena = &arena};
    assert_int_equal(printer_status(&p, &item, 1), 0);
    expect(&p, read_file("raw/alarm-endpoint-status.table.stdout"), "alarm-endpoint-status.table");
    p.format = PRINT_SIMPLE;
    assert_int_equal(printer_status(&p, &item, 1), 0);
    expect(&p,
           "127.0.0.1:32379, f67cee8d47e3f4ee, 3.7.1, 3.7.0, 25 kB, 20 kB, 17%, 2.1 GB, true, false, 2, 65, 65, "
           "memberID:17761333321006314734  alarm:NOSPACE, , false\n",
           "alarm-endpoint-status.simple");
    s.dbsize = 0; /* no division by it */
    assert_int_equal(printer_status(&p, &item, 1), 0);
    printer_free(&p);
}

static void test_hashes_print_as_recorded(void **state)
{
    (void)state;
    Etcdserverpb__HashKVResponse h = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    h.header = header_at(14);
    h.hash = 99323707;
    h.hash_revision = 14;
    h.compact_revision = -1;
    struct endpoint_hash item = {"127.0.0.1:32379", &h};
    struct printer p = {.format = PRINT_TABLE, .arena = &arena};
    assert_int_equal(printer_hashes(&p, &item, 1), 0);
    expect(&p, read_file("raw/hashkv-early.table.stdout"), "hashkv-early.table");
}

static void test_a_watch_that_was_cancelled_prints_as_recorded(void **state)
{
    (void)state;
    Etcdserverpb__WatchResponse w = ETCDSERVERPB__WATCH_RESPONSE__INIT;
    w.header = header_at(0);
    w.compact_revision = 12;
    w.canceled = true;
    struct printer p = {.format = PRINT_JSON, .arena = &arena};
    assert_int_equal(printer_watch(&p, &w), 0);
    expect(&p, fill_marks(read_file("watch-compacted.json.stdout")), "watch-compacted.json");
}

static void test_sizes_have_at_most_two_digits_below_ten(void **state)
{
    (void)state;
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {{0, "0 B"},          {9, "9 B"},         {10, "10 B"},         {999, "999 B"},
                 {1000, "1.0 kB"},    {24576, "25 kB"},   {82854982, "83 MB"},  {2147483648, "2.1 GB"},
                 {9949999, "9.9 MB"}, {9950000, "10 MB"}, {UINT64_MAX, "18 EB"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(printer_bytes(&arena, cases[i].size), cases[i].text);
    }
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_of_the_store_print_as_recorded),
        cmocka_unit_test(test_a_key_with_a_lease_prints_as_recorded),
        cmocka_unit_test(test_members_print_as_recorded),
        cmocka_unit_test(test_alarms_print_as_recorded),
        cmocka_unit_test(test_leases_print_as_recorded),
        cmocka_unit_test(test_formats_without_an_answer_end_with_status_4),
        cmocka_unit_test(test_health_prints_as_recorded),
        cmocka_unit_test(test_status_prints_as_recorded),
        cmocka_unit_test(test_hashes_print_as_recorded),
        cmocka_unit_test(test_a_watch_that_was_cancelled_prints_as_recorded),
        cmocka_unit_test(test_sizes_have_at_most_two_digits_below_ten),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
