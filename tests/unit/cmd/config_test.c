/* Flags, variables and what is made of them. Errors go to stderr, which stays visible: a test that fails tells why. */
#include "cmd/kedge/config.h"
#include "cmd/kedge/flags.h"
#include "tests/support/captured.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_ARGS 16

/* What the last load wrote to stdout and stderr. */
static char output[16384];
static struct config config;

static int load(char **argv, char **env)
{
    int argc = 0;
    struct captured captured;
    while (argv[argc] != NULL) {
        argc++;
    }
    captured_begin(&captured);
    config_free(&config);
    int status = config_load(&config, argc, argv, env);
    captured_end(&captured, output, sizeof output);
    return status;
}

#define LOAD(...) load((char *[]){"kedge", __VA_ARGS__, NULL}, (char *[]){NULL})
#define LOAD_ENV(env, ...) load((char *[]){"kedge", __VA_ARGS__, NULL}, (char *[]){env, NULL})

#define assert_says(text)                                                                                              \
    do {                                                                                                               \
        if (strstr(output, text) == NULL) {                                                                            \
            fail_msg("expected \"%s\" in:\n%s", text, output);                                                         \
        }                                                                                                              \
    } while (0)

static void test_defaults_are_etcd_s(void **state)
{
    (void)state;
    assert_int_equal(load((char *[]){"kedge", NULL}, (char *[]){NULL}), CONFIG_SERVE);
    assert_string_equal(config.name, "default");
    assert_string_equal(config.data_dir, "default.etcd");
    assert_string_equal(config.wal_dir, "");
    assert_string_equal(url_list_text(&config.arena, &config.listen_client_urls), "http://localhost:2379");
    assert_string_equal(url_list_text(&config.arena, &config.listen_peer_urls), "http://localhost:2380");
    assert_string_equal(url_list_text(&config.arena, &config.advertise_client_urls), "http://localhost:2379");
    assert_int_equal(config.listen_metrics_urls.count, 0);
    assert_int_equal(config.snapshot_count, 10000);
    assert_int_equal(config.heartbeat_interval_ms, 100);
    assert_int_equal(config.election_timeout_ms, 1000);
    assert_int_equal(config.quota_backend_bytes, INT64_C(2) << 30);
    assert_int_equal(config.backend_batch_interval_ns, 100000000);
    assert_int_equal(config.backend_batch_limit, 10000);
    assert_int_equal(config.max_txn_ops, 128);
    assert_int_equal(config.max_request_bytes, 1572864);
    assert_int_equal(config.max_concurrent_streams, UINT32_MAX);
    assert_int_equal(config.grpc_keepalive_interval_ns, INT64_C(7200000000000));
    assert_int_equal(config.watch_progress_notify_interval_ns, INT64_C(600000000000));
    assert_true(config.strict_reconfig_check && config.pre_vote && config.enable_grpc_gateway);
    assert_false(config.unsafe_no_fsync);
    assert_string_equal(config.cors.items[0], "*");
    assert_int_equal(config.io_threads, 0);
    assert_null(config_check_bootstrap(&config));
    assert_string_equal(config_self(&config)->peer_urls.items[0].text, "http://localhost:2380");
}

static void test_flags_in_all_forms_of_go(void **state)
{
    (void)state;
    assert_int_equal(LOAD("-name", "a", "--data-dir=d", "-max-wals=0x10", "--pre-vote=f", "--unsafe-no-fsync",
                          "--grpc-keepalive-min-time", "1m30s", "--quota-backend-bytes=-1"),
                     CONFIG_SERVE);
    assert_string_equal(config.name, "a");
    assert_string_equal(config.data_dir, "d");
    assert_int_equal(config.max_wals, 16);
    assert_false(config.pre_vote);
    assert_true(config.unsafe_no_fsync);
    assert_int_equal(config.grpc_keepalive_min_time_ns, INT64_C(90000000000));
    assert_int_equal(config.quota_backend_bytes, -1);
    assert_string_equal(config.initial_cluster, "a=http://localhost:2380"); /* follows the name */
}

static void test_what_etcd_takes_is_taken(void **state)
{
    (void)state;
    static const struct {
        char *text;
        enum log_level level;
    } levels[] = {
        {"--log-level=WARN", LOG_WARN},    {"--log-level=Warning", LOG_WARN}, {"--log-level=", LOG_INFO},
        {"--log-level=dpanic", LOG_PANIC}, {"--log-level=debug", LOG_DEBUG},
    };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        assert_int_equal(LOAD("--name=a", levels[i].text, "--log-format="), CONFIG_SERVE);
        assert_int_equal(config.log_level, levels[i].level);
        assert_int_equal(config.log_format, LOG_JSON);
    }
    /* no URLs at all: what there was before */
    assert_int_equal(LOAD("--name=a", "--advertise-client-urls=", "--listen-client-urls=http://127.0.0.1:1",
                          "--listen-client-urls=", "--listen-metrics-urls=", "--initial-advertise-peer-urls="),
                     CONFIG_SERVE);
    assert_string_equal(config.advertise_client_urls.items[0].text, "http://localhost:2379");
    assert_string_equal(config.listen_client_urls.items[0].text, "http://127.0.0.1:1");
    assert_string_equal(config.initial_advertise_peer_urls.items[0].text, "http://localhost:2380");
    assert_int_equal(config.listen_metrics_urls.count, 0);
}

static void test_bad_flags_are_refused_with_status_2_and_their_name(void **state)
{
    (void)state;
    static char *const cases[][2] = {
        {"--nosuch=1", "flag provided but not defined: -nosuch\n"},
        {"--max-wals=x", "invalid value \"x\" for flag -max-wals: parse error\n"},
        {"--max-wals=-1", "invalid value \"-1\" for flag -max-wals: parse error\n"},
        {"--max-wals=99999999999999999999", "invalid value \"99999999999999999999\" for flag -max-wals: value out of"},
        {"--backend-batch-interval=5", "invalid value \"5\" for flag -backend-batch-interval: parse error\n"},
        {"--pre-vote=maybe", "invalid boolean value \"maybe\" for -pre-vote: parse error\n"},
        {"--listen-client-urls=foo", "invalid value \"foo\" for flag -listen-client-urls: URL scheme must be"},
        {"--initial-cluster-state=x", "invalid value \"x\" for flag -initial-cluster-state: invalid value\n"},
        {"--max-concurrent-streams=4294967296", "for flag -max-concurrent-streams: strconv.ParseUint: parsing"},
        {"--feature-gates=x", "invalid value \"x\" for flag -feature-gates: missing bool value for x\n"},
        {"--feature-gates=No=true", "unrecognized feature gate: No\n"},
        {"--v2-deprecation=x", "invalid value \"x\" for flag -v2-deprecation: invalid value \"x\"\n"},
        {"--=x", "bad flag syntax: --=x\n"},
        {"---x", "bad flag syntax: ---x\n"},
        {"--name", "flag needs an argument: -name\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(LOAD(cases[i][0]), 2);
        assert_says(cases[i][1]);
        assert_says("Usage:");
    }
}

static void test_what_kedge_does_not_have_is_refused_by_name_unless_it_is_the_default(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--auto-tls"), 2);
    assert_says("--auto-tls: not supported by kedge yet");
    assert_int_equal(LOAD("--cert-file=x"), 2);
    assert_says("--cert-file: not supported by kedge yet");
    assert_int_equal(LOAD("--feature-gates=InitialCorruptCheck=true"), 2);
    assert_says("InitialCorruptCheck: not supported by kedge yet");
    assert_int_equal(LOAD("--config-file=kedge.yaml"), 2);
    assert_says("--config-file: not supported by kedge yet");
    assert_int_equal(LOAD("--auto-tls=false", "--metrics=basic", "--max-learners=1", "--corrupt-check-time=0",
                          "--feature-gates=FastLeaseKeepAlive=true", "--compact-hash-check-time=60s"),
                     CONFIG_SERVE);
    assert_int_equal(LOAD_ENV("ETCD_KEY_FILE=x", "--name=a"), 1);
    assert_says("ETCD_KEY_FILE=x: --key-file is not supported by kedge yet");
    assert_int_equal(LOAD("--io-threads=2"), 1);
    assert_says("--io-threads 2: not supported by kedge yet");
    assert_int_equal(LOAD("--backend-batch-limit=5"), 1);
    assert_says("--backend-batch-limit 5: not supported by kedge yet");
    assert_int_equal(LOAD("--auto-compaction-retention=1h"), 1);
    assert_says("--auto-compaction-retention 1h: not supported by kedge yet");
    assert_int_equal(LOAD("--auto-compaction-retention=0s", "--auto-compaction-mode=revision"), CONFIG_SERVE);
    assert_int_equal(LOAD("--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"), 1);
    assert_says("--listen-client-urls https://127.0.0.1:1: not supported by kedge yet");
}

static void test_what_etcd_ignores_is_ignored(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--force", "--vv=3", "--snapshot=x", "--v2-deprecation=gone"), CONFIG_SERVE);
    assert_says("--v2-deprecation is deprecated");
}

static void test_bad_settings_are_refused_with_status_1(void **state)
{
    (void)state;
    static char *const cases[][3] = {
        {"extra", "--name=a", "\\\"extra\\\" is not a valid flag"},
        {"--election-timeout=499", "--name=a", "--election-timeout[499ms] should be at least as 5 times as"},
        {"--election-timeout=50001", "--name=a", "--election-timeout[50001ms] is too long"},
        {"--heartbeat-interval=0", "--name=a", "--heartbeat-interval must be >0"},
        {"--heartbeat-interval=18446744073709551615", "--name=a", "should be at least as 5 times"},
        {"--listen-client-urls=http://127.0.0.1:1", "--name=a", "--advertise-client-urls is required when"},
        {"--listen-peer-urls=http://example.org:1", "--name=a",
         "expected IP in URL for binding (http://example.org:1)"},
        {"--initial-advertise-peer-urls=http://:1", "--name=a", "--initial-advertise-peer-urls"},
        {"--auto-compaction-mode=x", "--name=a", "unknown auto-compaction-mode"},
        {"--log-level=loud", "--name=a", "--log-level"},
        {"--log-format=xml", "--name=a", "--log-format"},
        {"--logger=capnslog", "--name=a", "--logger"},
        {"--log-outputs=/var/log/x", "--name=a", "--log-outputs /var/log/x: not supported by kedge yet"},
        {"--initial-cluster=a=foo", "--name=a", "error setting up initial cluster: URL scheme must be"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(LOAD(cases[i][0], cases[i][1]), 1);
        assert_says(cases[i][2]);
    }
}

static void test_variables_set_what_flags_leave_open(void **state)
{
    (void)state;
    assert_int_equal(LOAD_ENV("ETCD_NAME=fromenv", "--data-dir=d"), CONFIG_SERVE);
    assert_string_equal(config.name, "fromenv");
    assert_says("recognized and used environment variable");
    assert_int_equal(LOAD_ENV("ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:1", "--name=a"), 1);
    assert_says("--advertise-client-urls is required"); /* a variable counts as set explicitly */
    assert_int_equal(LOAD_ENV("ETCD_MAX_WALS=x", "--name=a"), 1);
    assert_says("invalid value \\\"x\\\" for ETCD_MAX_WALS: parse error");
    assert_int_equal(LOAD_ENV("ETCD_NAME=b", "--name=a"), 1);
    assert_says("conflicting environment variable is shadowed by corresponding command-line flag");
    assert_int_equal(LOAD_ENV("ETCD_NOSUCH=b", "--name=a"), CONFIG_SERVE);
    assert_says("unrecognized environment variable");
    assert_int_equal(LOAD_ENV("ETCD_VERSION=true", "--name=a"), CONFIG_SERVE);
    assert_says("cannot set special environment variable");
    assert_int_equal(LOAD_ENV("KEDGE_BACKEND_MAP_BYTES=4096", "--name=a"), CONFIG_SERVE);
    assert_int_equal(config.backend_map_bytes, 4096);
}

static void test_version_and_help_end_the_program(void **state)
{
    (void)state;
    assert_int_equal(LOAD("--version"), 0);
    assert_true(strncmp(output, "etcd Version: 3.7.1\n", 20) == 0);
    assert_says("kedge Version: ");
    assert_int_equal(LOAD("--version", "--nosuch"), 2);
    assert_int_equal(LOAD("-h"), 0);
    assert_int_equal(LOAD("--help"), 0);
    for (size_t i = 0; i < flag_count; i++) {
        if (flag_table[i].section != NULL) {
            char line[128];
            snprintf(line, sizeof line, "\n  --%s '", flag_table[i].name);
            assert_says(line);
        }
    }
}

/* Texts as etcd 3.7.1 gave them for the same flags. */
static void test_initial_cluster_is_checked_as_etcd_checks_it(void **state)
{
    (void)state;
    static const struct {
        const char *cluster, *advertised, *cluster_state, *error;
    } rows[] = {
        {"b=http://127.0.0.1:6", "http://127.0.0.1:6", "new",
         "couldn't find local name \"a\" in the initial cluster configuration"},
        {"b=http://127.0.0.1:6", "http://127.0.0.1:6", "existing",
         "couldn't find local name \"a\" in the initial cluster configuration"},
        {"a=http://127.0.0.1:6,b=http://127.0.0.1:6", "http://127.0.0.1:6", "new",
         "initial cluster a=http://127.0.0.1:6,b=http://127.0.0.1:6 has duplicate url"},
        {"b=http://127.0.0.1:6,a=http://127.0.0.1:6", "http://127.0.0.1:6", "existing",
         "initial cluster a=http://127.0.0.1:6,b=http://127.0.0.1:6 has duplicate url"},
        {"b=http://127.0.0.1:4,a=http://127.0.0.1:6", "http://127.0.0.1:6,http://127.0.0.1:7", "new",
         "--initial-advertise-peer-urls has http://127.0.0.1:7 but missing from "
         "--initial-cluster=a=http://127.0.0.1:6,a=http://127.0.0.1:7"},
        {"b=http://127.0.0.1:4,a=http://127.0.0.1:6", "http://127.0.0.1:7", "new",
         "--initial-cluster has a=http://127.0.0.1:6 but missing from "
         "--initial-advertise-peer-urls=http://127.0.0.1:7 (resolved urls: \"http://127.0.0.1:7\" != "
         "\"http://127.0.0.1:6\")"},
        {"a=http://127.0.0.1:6,a=http://127.0.0.1:6", "http://127.0.0.1:6", "new",
         "failed to resolve http://127.0.0.1:6 to match --initial-cluster=a=http://127.0.0.1:6 "
         "(len([\"http://127.0.0.1:6\"]) != len([\"http://127.0.0.1:6\" \"http://127.0.0.1:6\"]))"},
        {"b=http://127.0.0.1:4,a=http://127.0.0.1:6", "http://127.0.0.1:7", "existing", NULL},
        {"b=https://127.0.0.1:4,a=http://127.0.0.1:6", "http://127.0.0.1:6", "new",
         "--initial-cluster b=https://127.0.0.1:4: not supported by kedge yet"}, /* kedge's own */
        {"a=http://x:2,b=http://y:1,a=http://x:1", "http://x:1,http://x:2", "new", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char cluster[128], advertised[128], cluster_state[64];
        snprintf(cluster, sizeof cluster, "--initial-cluster=%s", rows[i].cluster);
        snprintf(advertised, sizeof advertised, "--initial-advertise-peer-urls=%s", rows[i].advertised);
        snprintf(cluster_state, sizeof cluster_state, "--initial-cluster-state=%s", rows[i].cluster_state);
        assert_int_equal(LOAD("--name=a", cluster, advertised, cluster_state), CONFIG_SERVE);
        const char *error = config_check_bootstrap(&config);
        assert_string_equal(error == NULL ? "" : error, rows[i].error == NULL ? "" : rows[i].error);
    }
    assert_int_equal(config.initial_member_count, 2);
    assert_int_equal(config_self(&config)->peer_urls.count, 2);
}

static void test_no_flag_is_in_the_table_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < flag_count; i++) {
        assert_ptr_equal(flags_find(flag_table[i].name, strlen(flag_table[i].name)), &flag_table[i]);
    }
}

static void test_the_documentation_is_what_the_table_gives(void **state)
{
    (void)state;
    static char recorded[65536];
    struct buffer text = {0};
    const char *path = "docs/kedge.md";
    flags_print_markdown(&text);
    if (getenv("UPDATE_DOCS") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(text.data, 1, text.len, file);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(recorded, 1, sizeof recorded, file);
    fclose(file);
    if (len != text.len || memcmp(recorded, text.data, len) != 0) {
        fail_msg("%s isn't what the table of flags gives: run this test with UPDATE_DOCS=1", path);
    }
    buffer_free(&text);
}

static int free_config(void **state)
{
    (void)state;
    config_free(&config);
    log_configure(LOG_INFO, LOG_JSON);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_etcd_s),
        cmocka_unit_test(test_flags_in_all_forms_of_go),
        cmocka_unit_test(test_what_etcd_takes_is_taken),
        cmocka_unit_test(test_bad_flags_are_refused_with_status_2_and_their_name),
        cmocka_unit_test(test_what_kedge_does_not_have_is_refused_by_name_unless_it_is_the_default),
        cmocka_unit_test(test_what_etcd_ignores_is_ignored),
        cmocka_unit_test(test_bad_settings_are_refused_with_status_1),
        cmocka_unit_test(test_variables_set_what_flags_leave_open),
        cmocka_unit_test(test_version_and_help_end_the_program),
        cmocka_unit_test(test_initial_cluster_is_checked_as_etcd_checks_it),
        cmocka_unit_test(test_no_flag_is_in_the_table_twice),
        cmocka_unit_test(test_the_documentation_is_what_the_table_gives),
    };
    return cmocka_run_group_tests(tests, NULL, free_config);
}
