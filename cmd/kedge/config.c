/* The order in which etcd 3.7.1 reads and checks its settings (etcdmain/config.go, embed/config.go: Validate): flags,
 * "--version", variables, the log, addresses, times; then the defaults that depend on other settings. */
#include "cmd/kedge/config.h"
#include "base/gotext.h"
#include "cmd/kedge/flags.h"
#include "cmd/version.h"
#include "cmd/wrap.h"
#include "snapshot/backup_keep.h"
#include "snapshot/backup_schedule.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define MAX_ELECTION_MS 50000
#define DEFAULT_URL_CLIENT "http://localhost:2379"
#define DEFAULT_URL_PEER "http://localhost:2380"
#define DEFAULT_QUOTA (INT64_C(2) << 30)
#define MS INT64_C(1000000)

#define refuse(c, ...) arena_printf(&(c)->arena, __VA_ARGS__)

/* --- checks: each returns NULL or the error ----------------------------------------------------------------------- */

/* As etcd's logger reads them: in small letters, capitals or both, and some have two names. */
static bool find_level(const char *text, enum log_level *out)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"debug", LOG_DEBUG}, {"info", LOG_INFO},    {"", LOG_INFO},       {"warn", LOG_WARN},   {"warning", LOG_WARN},
        {"error", LOG_ERROR}, {"dpanic", LOG_PANIC}, {"panic", LOG_PANIC}, {"fatal", LOG_FATAL},
    };
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (strcasecmp(text, levels[i].name) == 0) {
            *out = levels[i].level;
            return true;
        }
    }
    return false;
}

static const char *check_log(struct config *c)
{
    bool json = strcmp(c->log_format_text, "json") == 0 || *c->log_format_text == '\0';
    if (!find_level(c->log_level_text, &c->log_level)) {
        return refuse(c, "unrecognized level: %s (--log-level)", gotext_quoted(&c->arena, c->log_level_text));
    }
    if (strcmp(c->logger, "zap") != 0) {
        return refuse(c, "unknown logger option %s (--logger)", gotext_quoted(&c->arena, c->logger));
    }
    if (!json && strcmp(c->log_format_text, "console") != 0) {
        return refuse(c, "unknown log format: %s, supported values json, console (--log-format)", c->log_format_text);
    }
    for (size_t i = 0; i < c->log_outputs.count; i++) {
        const char *output = c->log_outputs.items[i];
        bool first = strcmp(output, "default") == 0 || strcmp(output, "stderr") == 0 || strcmp(output, "stdout") == 0;
        if (!first || c->log_outputs.count > 1) {
            return refuse(c, "--log-outputs %s: %s", output, FLAG_UNSUPPORTED);
        }
    }
    c->log_format = json ? LOG_JSON : LOG_CONSOLE;
    return NULL;
}

static const char *check_bind(struct config *c, const char *flag, const struct url_list *urls)
{
    for (size_t i = 0; i < urls->count; i++) {
        const struct url *url = &urls->items[i];
        if (!url_can_bind(url)) {
            return refuse(c, "expected IP in URL for binding (%s)", url->text);
        }
        if (url->scheme != URL_HTTP) {
            return refuse(c, "--%s %s: %s", flag, url->text, FLAG_UNSUPPORTED);
        }
    }
    return NULL;
}

static const char *check_advertised(struct config *c, const struct url_list *urls, const char *flag, const char *form)
{
    for (size_t i = 0; i < urls->count; i++) {
        const struct url *url = &urls->items[i];
        if (url->scheme != URL_UNIX && url->scheme != URL_UNIXS && *url->host == '\0') {
            return refuse(c, "--%s %s must be %s (unexpected empty host (%s))", flag,
                          gotext_quoted(&c->arena, url_list_text(&c->arena, urls)), form, url->text);
        }
    }
    return NULL;
}

static const char *check_urls(struct config *c)
{
    const char *error = check_bind(c, "listen-peer-urls", &c->listen_peer_urls);
    error = error != NULL ? error : check_bind(c, "listen-client-urls", &c->listen_client_urls);
    error = error != NULL ? error : check_bind(c, "listen-metrics-urls", &c->listen_metrics_urls);
    error = error != NULL
                ? error
                : check_advertised(c, &c->initial_advertise_peer_urls, "initial-advertise-peer-urls", "\"host:port\"");
    return error != NULL
               ? error
               : check_advertised(c, &c->advertise_client_urls, "advertise-client-urls",
                                  "in the format \"host:port\", \"unix:/path/to/socket\" or \"unixs:/path/to/socket\"");
}

static const char *check_times(struct config *c)
{
    unsigned long long heartbeat = c->heartbeat_interval_ms, election = c->election_timeout_ms;
    if (heartbeat == 0) {
        return refuse(c, "--heartbeat-interval must be >0 (set to %llums)", heartbeat);
    }
    if (election == 0) {
        return refuse(c, "--election-timeout must be >0 (set to %llums)", election);
    }
    if (heartbeat > election / 5) {
        return refuse(c, "--election-timeout[%llums] should be at least as 5 times as --heartbeat-interval[%llums]",
                      election, heartbeat);
    }
    if (election > MAX_ELECTION_MS) {
        return refuse(c, "--election-timeout[%llums] is too long, and should be set less than %dms", election,
                      MAX_ELECTION_MS);
    }
    return NULL;
}

/* 0 in all forms that etcd takes: a number, or a duration. */
static bool is_zero_retention(struct arena *arena, const char *text)
{
    int64_t number = 1;
    return *text == '\0' || (gotext_int(arena, text, 10, 64, &number) == NULL && number == 0) ||
           (gotext_duration(arena, text, &number) == NULL && number == 0);
}

static const char *check_compaction(struct config *c)
{
    if (*c->auto_compaction_mode == '\0') {
        return "undefined auto-compaction-mode";
    }
    if (strcmp(c->auto_compaction_mode, "periodic") != 0 && strcmp(c->auto_compaction_mode, "revision") != 0) {
        return refuse(c, "unknown auto-compaction-mode %s", gotext_quoted(&c->arena, c->auto_compaction_mode));
    }
    if (!is_zero_retention(&c->arena, c->auto_compaction_retention)) {
        return refuse(c, "--auto-compaction-retention %s: %s", c->auto_compaction_retention, FLAG_UNSUPPORTED);
    }
    return NULL;
}

static const char *check_backups(struct config *c)
{
    struct backup_schedule schedule;
    struct backup_keep keep;
    const char *error = backup_schedule_parse(&c->arena, c->backup_schedule, &schedule);
    if (error != NULL) {
        return refuse(c, "--backup-schedule %s: %s", gotext_quoted(&c->arena, c->backup_schedule), error);
    }
    error = backup_keep_parse(&c->arena, c->backup_keep, &keep);
    if (error != NULL) {
        return refuse(c, "--backup-keep %s: %s", gotext_quoted(&c->arena, c->backup_keep), error);
    }
    return *c->backup_schedule != '\0' && *c->backup_dir == '\0' ? "--backup-schedule needs --backup-dir" : NULL;
}

/* Flags of which only some values work so far. */
static const char *check_partial(struct config *c)
{
    if (c->io_threads > 0) {
        return refuse(c, "--io-threads %llu: %s", (unsigned long long)c->io_threads, FLAG_UNSUPPORTED);
    }
    if (c->backend_batch_limit != 0 && c->backend_batch_limit != 10000) {
        return refuse(c, "--backend-batch-limit %lld: %s", (long long)c->backend_batch_limit, FLAG_UNSUPPORTED);
    }
    return NULL;
}

/* --- defaults that depend on others ------------------------------------------------------------------------------- */

/* The address that this host would send from to the outside, as text; NULL without a route. No packet is sent. */
static const char *outside_address(struct arena *arena)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)}, from = {0};
    socklen_t size = sizeof from;
    char text[INET_ADDRSTRLEN];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return NULL;
    }
    inet_pton(AF_INET, "192.0.2.1", &to.sin_addr); /* TEST-NET-1: stands for "anywhere" */
    bool found = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
                 getsockname(fd, (struct sockaddr *)&from, &size) == 0 &&
                 inet_ntop(AF_INET, &from.sin_addr, text, sizeof text) != NULL;
    close(fd);
    return found ? arena_printf(arena, "%s", text) : NULL;
}

/* A member that listens everywhere and advertises nothing of its own: "localhost" would be of no use to others. */
static bool replace_default_host(struct config *c, struct url_list *advertised, const struct url_list *listen,
                                 const char *preset)
{
    bool replace = listen->count > 0 && strcmp(listen->items[0].host, "0.0.0.0") == 0 && advertised->count == 1 &&
                   strcmp(advertised->items[0].text, preset) == 0;
    const char *host = replace ? outside_address(&c->arena) : NULL;
    if (host != NULL) {
        url_list_parse(&c->arena, arena_printf(&c->arena, "http://%s:%u", host, listen->items[0].port), advertised);
        log_info("detected default host for advertise", log_str("host", host));
    }
    return host != NULL;
}

static const char *cluster_of_self(struct config *c)
{
    const char *text = "", *name = *c->name == '\0' ? "default" : c->name;
    for (size_t i = 0; i < c->initial_advertise_peer_urls.count; i++) {
        text = arena_printf(&c->arena, "%s%s%s=%s", text, i == 0 ? "" : ",", name,
                            c->initial_advertise_peer_urls.items[i].text);
    }
    return text;
}

static void fill_defaults(struct config *c)
{
    replace_default_host(c, &c->initial_advertise_peer_urls, &c->listen_peer_urls, DEFAULT_URL_PEER);
    if (strcmp(c->name, "default") != 0 && strcmp(c->initial_cluster, "default=" DEFAULT_URL_PEER) == 0) {
        c->initial_cluster = cluster_of_self(c);
    }
    replace_default_host(c, &c->advertise_client_urls, &c->listen_client_urls, DEFAULT_URL_CLIENT);
    if (*c->data_dir == '\0') {
        c->data_dir = arena_printf(&c->arena, "%s.etcd", c->name);
        log_warn("'data-dir' was empty; using default", log_str("data-dir", c->data_dir));
    }
    c->quota_backend_bytes = c->quota_backend_bytes == 0 ? DEFAULT_QUOTA : c->quota_backend_bytes;
    c->backend_batch_interval_ns = c->backend_batch_interval_ns == 0 ? 100 * MS : c->backend_batch_interval_ns;
    c->backend_batch_limit = c->backend_batch_limit == 0 ? 10000 : c->backend_batch_limit;
    int64_t notify = c->watch_progress_notify_interval_ns;
    c->watch_progress_notify_interval_ns = notify == 0 ? 600000 * MS : notify < 100 * MS ? 100 * MS : notify;
}

/* --- all together ------------------------------------------------------------------------------------------------- */

static bool was_given(const struct flags_given *given, const char *name)
{
    return given->set[flags_find(name, strlen(name)) - flag_table];
}

static void print_help(void)
{
    struct buffer usage = {0}, help = {0};
    flags_print_usage(&usage);
    flags_print_help(&help);
    wrap_put(stderr, &usage);
    wrap_put(stdout, &help);
    buffer_free(&usage);
    buffer_free(&help);
}

static const char *check(struct config *c, const struct flags_given *given)
{
    bool advertise_missing = was_given(given, "listen-client-urls") && !was_given(given, "advertise-client-urls");
    if (advertise_missing) {
        c->advertise_client_urls.count = 0;
    }
    const char *error = check_log(c);
    if (error != NULL) {
        return error;
    }
    log_configure(c->log_level, c->log_format);
    log_output(strcmp(c->log_outputs.items[0], "stdout") == 0 ? STDOUT_FILENO : STDERR_FILENO);
    error = check_urls(c);
    error = error != NULL ? error : check_times(c);
    if (error == NULL && c->listen_client_urls.count > 0 && c->advertise_client_urls.count == 0) {
        error = "--advertise-client-urls is required when --listen-client-urls is set explicitly";
    }
    error = error != NULL ? error : check_compaction(c);
    error = error != NULL ? error : check_partial(c);
    error = error != NULL ? error : check_backups(c);
    if (error == NULL && strcmp(c->name, "default") == 0) {
        log_warn("it isn't recommended to use default name, please set a value for --name. Note that etcd might run "
                 "into issue when multiple members have the same default name",
                 log_str("name", c->name));
    }
    return error;
}

static void log_arguments(struct config *c, int argc, char **argv)
{
    const char **args = arena_zalloc(&c->arena, ((size_t)argc + 1) * sizeof *args);
    memcpy(args, argv, (size_t)argc * sizeof *args);
    log_info("Running: ", log_strs("args", args));
}

static int give_up(const char *error)
{
    log_warn("failed to verify flags", log_str("error", error));
    return 1;
}

static void warn_of_deprecated(const struct flags_given *given)
{
    if (was_given(given, "max-snapshots")) {
        log_warn("--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.");
    }
    if (was_given(given, "v2-deprecation")) {
        log_warn("--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is enforced, "
                 "ignoring user input.");
    }
}

int config_load(struct config *c, int argc, char **argv, char **env)
{
    *c = (struct config){0};
    struct flags_given given = {.set = arena_zalloc(&c->arena, flag_count)};
    const char *error = NULL;
    bool conflict = false;
    flags_set_defaults(c);
    int status = flags_parse(c, argc, argv, &given, &error);
    if (status == 2) {
        return status;
    }
    if (given.help) {
        print_help();
        return 0;
    }
    if (error == NULL && c->print_version) {
        version_print_server();
        return 0;
    }
    if (error == NULL) {
        error = flags_from_environment(c, env, &given, &conflict);
        if (conflict) {
            return 1;
        }
        error = error != NULL ? error : check(c, &given);
        warn_of_deprecated(&given);
    }
    log_arguments(c, argc, argv);
    if (error != NULL) {
        return give_up(error);
    }
    fill_defaults(c);
    error = config_parse_members(c);
    return error != NULL ? give_up(error) : CONFIG_SERVE;
}

void config_free(struct config *c)
{
    arena_free(&c->arena);
}
