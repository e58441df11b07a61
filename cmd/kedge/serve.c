#include "cmd/kedge/serve.h"

#include "base/check.h"
#include "base/net/listener.h"
#include "cmd/kedge/backup.h"
#include "cmd/kedge/leadership.h"
#include "cmd/kedge/member.h"
#include "cmd/kedge/peers.h"
#include "cmd/kedge/process_metrics.h"
#include "cmd/version.h"
#include "grpc/gateway.h"
#include "grpc/metrics_page.h"
#include "grpc/pages.h"
#include "grpc/server.h"
#include "grpc/services.h"
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#define STOP_GRACE_MS 5000
/* Descriptors that are kept back from clients (limits.tsv; faults.md "Resource"). */
#define RESERVED_DESCRIPTORS 150
/* Of those, for the member's own files and the connections that it dials. Without them the next segment or checkpoint
 * would end it, so whoever reaches the peer port could. */
#define OWN_DESCRIPTORS 64
#define GRPC_OVERHEAD_BYTES ((size_t)512 * 1024)

struct http_port {
    struct listener listener;
    struct pages pages;
    struct http1_options options;
};

struct serving {
    struct config *config;
    struct loop loop;
    struct member member;
    struct server *server;
    struct services services;
    struct pages client_pages;
    struct gateway gateway;
    struct peers peers;
    struct leadership leadership;
    struct backup backup;
    struct metrics_page metrics;
    struct metrics_source process_metrics;
    struct http_port *ports; /* metrics and peer listeners */
    size_t port_count;
    struct loop_hook core_hook;
    struct loop_timer core_timer, removal;
    uv_signal_t signals[3];
    int stop_signal;
    bool stopping, clients_gone, peers_gone;
};

/* --- the core's turn on the loop --- */

/* The turn that follows frees their connections. */
static void end_peers(struct serving *serving)
{
    if (serving->peers_gone) {
        loop_stop(&serving->loop);
        return;
    }
    serving->peers_gone = true;
    peers_stop(&serving->peers);
    loop_again(&serving->loop);
}

static bool run_core(struct loop_hook *hook)
{
    struct serving *serving = container_of(hook, struct serving, core_hook);
    struct core *core = serving->member.core;
    /* Later than all that was read in this turn: a lease counts from no time before its renewal was sent. */
    bool more = core_turn(core, loop_clock_ns() / 1000000, member_wall_ms());
    member_check_serves(core_kv(core)); /* before anything of this turn is sent */
    uint64_t deadline = core_deadline(core);
    if (deadline == UINT64_MAX) {
        loop_timer_stop(&serving->loop, &serving->core_timer);
    } else {
        loop_timer_set(&serving->loop, &serving->core_timer, deadline);
    }
    leadership_log(&serving->leadership);
    if (serving->clients_gone && core_stopped(core)) {
        end_peers(serving);
        return false;
    }
    return more;
}

static void core_due(struct loop_timer *timer)
{
    (void)timer; /* the turn that follows does what is due */
}

/* --- stopping --- */

static void close_port(struct http_port *port)
{
    listener_close(&port->listener);
    list_each(node, &port->listener.connections)
    {
        connection_close(container_of(node, struct connection, node));
    }
}

static void clients_stopped(void *owner)
{
    struct serving *serving = owner;
    for (size_t i = 0; i < serving->port_count; i++) {
        close_port(&serving->ports[i]);
    }
    engine_give_up(&serving->member.engine);
    core_stop(serving->member.core);
    serving->clients_gone = true;
    loop_wake(&serving->loop);
}

/* How long the loop's turns were since the last such line. */
static void log_turns(struct serving *serving)
{
    struct loop_turns *turns = &serving->loop.turns;
    log_info("turns of the core's loop", log_uint("turns", turns->total),
             log_uint("longest-us", turns->longest_ns / 1000), log_uint("above-500us", turns->longer[1]),
             log_uint("above-1ms", turns->longer[2]), log_uint("above-2ms", turns->longer[3]),
             log_uint("above-4ms", turns->longer[4]));
    *turns = (struct loop_turns){0};
}

static void stop_clients(void *owner)
{
    struct serving *serving = owner;
    services_stop(&serving->services);
    server_stop(serving->server, STOP_GRACE_MS, clients_stopped, serving);
}

/* Leadership goes first, while clients are still served: what they ask meanwhile is forwarded. */
static void stop(struct serving *serving)
{
    if (!serving->stopping) {
        serving->stopping = true;
        backup_give_up(&serving->backup);
        leadership_leave(&serving->leadership, stop_clients, serving);
    }
}

/* --- removed from the cluster --- */

#define REMOVED_STOP_MS 1000 /* mvcc.md "Membership" */

static void removal_due(struct loop_timer *timer)
{
    stop(container_of(timer, struct serving, removal));
}

static void removed(void *owner)
{
    struct serving *serving = owner;
    log_warn("this member was removed from the cluster; it stops", log_hex("local-member-id", serving->member.id));
    serving->removal.fire = removal_due;
    loop_timer_set(&serving->loop, &serving->removal, loop_now_ms(&serving->loop) + REMOVED_STOP_MS);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct serving *serving = handle->data;
    if (signum == SIGUSR1) {
        log_turns(serving);
        return;
    }
    if (serving->stop_signal != 0) {
        return;
    }
    serving->stop_signal = signum;
    log_info("received signal; shutting down", log_str("signal", signum == SIGINT ? "interrupt" : "terminated"));
    stop(serving);
}

static void watch_signals(struct serving *serving)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        CHECK(uv_signal_init(&serving->loop.uv, &serving->signals[i]) == 0);
        serving->signals[i].data = serving;
        CHECK(uv_signal_start(&serving->signals[i], on_signal, numbers[i]) == 0);
        uv_unref((uv_handle_t *)&serving->signals[i]);
    }
}

/* --- ports --- */

static void accept_http(struct listener *listener, struct connection *connection)
{
    struct http_port *port = listener->owner;
    http1_serve(connection, &port->options, (struct bytes){0});
}

static int url_port(const struct url *url)
{
    return url->scheme == URL_UNIX || url->scheme == URL_UNIXS ? -1 : url->port;
}

static __attribute__((noreturn)) void refuse_port(const struct url *url, const char *reason)
{
    log_fatal("listener failed", log_str("address", url->text), log_str("error", reason));
}

/* What the peer port has beside etcd's pages. */
static bool peer_page(void *owner, struct http1_request *request)
{
    struct serving *serving = owner;
    return backup_page(&serving->backup, request) || peer_handle(serving->peers.transport, request);
}

static size_t descriptor_limit(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur <= RESERVED_DESCRIPTORS) {
        log_fatal("file descriptor limit is too low", log_uint("limit", limit.rlim_cur),
                  log_uint("needed-more-than", RESERVED_DESCRIPTORS));
    }
    return (size_t)limit.rlim_cur;
}

static size_t client_limit(void)
{
    return descriptor_limit() - RESERVED_DESCRIPTORS;
}

/* Enough for any cluster's peers; and all of these ports together are too few to lock the clients out. */
static size_t http_limit(const struct config *config)
{
    size_t ports = config->listen_peer_urls.count + config->listen_metrics_urls.count;
    return (RESERVED_DESCRIPTORS - OWN_DESCRIPTORS + client_limit() / 4) / ports;
}

static void open_http_port(struct serving *serving, const struct url *url, enum pages_port kind)
{
    struct http_port *port = &serving->ports[serving->port_count++];
    char reason[256];
    port->pages = (struct pages){.core = serving->member.core, .port = kind, .metrics = &serving->metrics};
    port->options = (struct http1_options){.handle = pages_handle, .owner = &port->pages};
    if (kind == PAGES_PEER) {
        port->pages.more = peer_page;
        port->pages.more_owner = serving;
        port->options.take = peer_take;
        port->options.take_owner = serving->peers.transport;
    }
    if (listener_open(&port->listener, &serving->loop, url->host, url_port(url), reason, sizeof reason) != 0) {
        refuse_port(url, reason);
    }
    port->listener.limit = http_limit(serving->config);
    port->listener.on_accept = accept_http;
    port->listener.owner = port;
    log_info(kind == PAGES_PEER ? "serving peer traffic" : "serving metrics", log_str("address", url->text));
}

static void open_http_ports(struct serving *serving)
{
    const struct config *config = serving->config;
    size_t count = config->listen_peer_urls.count + config->listen_metrics_urls.count;
    serving->ports = mem_zalloc((count + 1) * sizeof *serving->ports);
    for (size_t i = 0; i < config->listen_peer_urls.count; i++) {
        open_http_port(serving, &config->listen_peer_urls.items[i], PAGES_PEER);
    }
    for (size_t i = 0; i < config->listen_metrics_urls.count; i++) {
        open_http_port(serving, &config->listen_metrics_urls.items[i], PAGES_METRICS);
    }
}

static struct server_options server_settings(struct serving *serving)
{
    const struct config *config = serving->config;
    return (struct server_options){
        .max_concurrent_streams =
            config->max_concurrent_streams >= UINT32_MAX ? 0 : (uint32_t)config->max_concurrent_streams,
        .max_receive_bytes = config->max_request_bytes + GRPC_OVERHEAD_BYTES,
        .keepalive_min_time_ms = (uint64_t)config->grpc_keepalive_min_time_ns / 1000000,
        .keepalive_interval_ms = (uint64_t)config->grpc_keepalive_interval_ns / 1000000,
        .keepalive_timeout_ms = (uint64_t)config->grpc_keepalive_timeout_ns / 1000000,
        .max_connections = client_limit(),
        .lanes = {[CALL_CONTROL] = {.operations = 4096, .bytes = (size_t)64 << 20},
                  [CALL_NORMAL] = {.operations = 0, .bytes = (size_t)256 << 20}},
        .http1 = {.handle = pages_handle,
                  .owner = &serving->client_pages,
                  .max_body_bytes = gateway_body_bytes(config->max_request_bytes + GRPC_OVERHEAD_BYTES)},
        .intercept = services_intercept,
        .check = services_check,
        .owner = &serving->services,
    };
}

static void open_client_ports(struct serving *serving)
{
    struct config *config = serving->config;
    serving->client_pages = (struct pages){.core = serving->member.core,
                                           .port = PAGES_CLIENT,
                                           .metrics = &serving->metrics,
                                           .cors = config->cors.items,
                                           .cors_count = config->cors.count,
                                           .hosts = config->host_whitelist.items,
                                           .host_count = config->host_whitelist.count};
    struct server_options settings = server_settings(serving);
    serving->server = server_new(&serving->loop, &settings);
    serving->gateway = (struct gateway){.server = serving->server,
                                        .max_receive_bytes = settings.max_receive_bytes,
                                        .intercept = services_intercept,
                                        .check = services_check,
                                        .owner = &serving->services};
    if (config->enable_grpc_gateway) {
        serving->client_pages.more = gateway_handle;
        serving->client_pages.more_owner = &serving->gateway;
    }
    serving->services = (struct services){.core = serving->member.core,
                                          .loop = &serving->loop,
                                          .max_txn_ops = (uint32_t)config->max_txn_ops,
                                          .max_request_bytes = config->max_request_bytes,
                                          .election_ms = (uint32_t)config->election_timeout_ms};
    /* In the order in which a turn runs them: what the server lets through, the core, what the services go on with. */
    serving->core_hook.run = run_core;
    serving->core_timer.fire = core_due;
    loop_hook_add(&serving->loop, &serving->core_hook);
    services_register(&serving->services, serving->server);
    metrics_page_init(&serving->metrics);
    backup_start(&serving->backup, &serving->member, &serving->peers, serving->server);
    metrics_page_add(&serving->metrics, &serving->backup.metrics);
    serving->process_metrics.print = process_metrics_print;
    metrics_page_add(&serving->metrics, &serving->process_metrics);
    for (size_t i = 0; i < config->listen_client_urls.count; i++) {
        const struct url *url = &config->listen_client_urls.items[i];
        char reason[256];
        if (server_listen(serving->server, url->host, url_port(url), SERVER_BOTH, reason, sizeof reason) < 0) {
            refuse_port(url, reason);
        }
    }
}

/* The member has published itself: clients may come (grpc.md "Ports"). */
static void ready(void *arg)
{
    struct serving *serving = arg;
    const struct config *config = serving->config;
    log_info("published local member to cluster through raft", log_hex("local-member-id", serving->member.id),
             log_hex("cluster-id", serving->member.cluster_id));
    log_info("ready to serve client requests");
    server_start(serving->server);
    for (size_t i = 0; i < config->listen_client_urls.count; i++) {
        log_info("serving client traffic insecurely; this is strongly discouraged!", log_str("traffic", "grpc+http"),
                 log_str("address", config->listen_client_urls.items[i].text));
    }
}

/* Blocks of 64 KiB and more (a batch's rows are in such) come from the system and go back to it one by one. The heap of
 * small ones is never cut: that comes in pieces of any size, and takes a millisecond for a few MiB, in the midst of a
 * turn. */
static void settle_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    mallopt(M_TRIM_THRESHOLD, -1);
}

int serve(struct config *config)
{
    /* Never freed: the process ends when it is over, and with it what the loop still holds (connections that close). */
    static struct serving the_one;
    struct serving *serving = &the_one;
    settle_memory();
    serving->config = config;
    log_info("starting an etcd server", log_str("etcd-version", SERVER_VERSION),
             log_str("kedge-version", VERSION_KEDGE), log_str("name", config->name),
             log_str("data-dir", config->data_dir));
    if (loop_init(&serving->loop) != 0) {
        log_fatal("failed to make an event loop");
    }
    serving->loop.max_connections = descriptor_limit() - OWN_DESCRIPTORS;
    member_start(&serving->member, config, &serving->loop);
    peers_start(&serving->peers, &serving->member, removed, serving);
    leadership_init(&serving->leadership, &serving->peers);
    watch_signals(serving);
    open_client_ports(serving);
    open_http_ports(serving);
    core_on_ready(serving->member.core, ready, serving);
    loop_wake(&serving->loop);
    loop_run(&serving->loop);

    backup_stop(&serving->backup);
    loop_hook_remove(&serving->loop, &serving->core_hook);
    services_close(&serving->services);
    server_free(serving->server);
    member_stop(&serving->member);
    return serving->stop_signal;
}
