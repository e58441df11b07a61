/* A real etcd 3.7.1 in a cluster of two, in which the test plays the other member with a bare transport: it grants
 * votes, confirms appends, answers heartbeats. Skipped where the interop programs were not built. */
#include "base/check.h"
#include "base/log.h"
#include "base/net/listener.h"
#include "raft/ids.h"
#include "raft/peer/peer.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ETCD "build/interop/bin/etcd"

struct stand_in {
    struct loop loop;
    struct listener listener;
    struct http1_options options;
    struct peer_transport *transport;
    uint64_t id, etcd_id;
    char url[160], etcd_url[64], client_url[64], folder[64];
    pid_t etcd;
    bool gone;

    uint64_t by_type[32], last_index, commit, term;
    unsigned removed;
    bool mute;
};

/* --- what a follower says ------------------------------------------------------------------------------------------
 */

static void answer(struct stand_in *s, struct raft_message m)
{
    m.from = s->id;
    m.to = s->etcd_id;
    m.term = s->term;
    peer_send(s->transport, &m, 1);
}

static void on_message(void *owner, const struct raft_message *m)
{
    struct stand_in *s = owner;
    s->by_type[m->type]++;
    s->term = m->term > s->term ? m->term : s->term;
    if (s->mute) {
        return;
    }
    struct raft_message reply = {.context_len = m->context_len};
    memcpy(reply.context, m->context, m->context_len);
    switch (m->type) {
    case RAFT_MSG_PRE_VOTE:
        reply.type = RAFT_MSG_PRE_VOTE_RESPONSE;
        reply.context_len = 0;
        break;
    case RAFT_MSG_VOTE:
        reply.type = RAFT_MSG_VOTE_RESPONSE;
        reply.context_len = 0;
        break;
    case RAFT_MSG_HEARTBEAT:
        reply.type = RAFT_MSG_HEARTBEAT_RESPONSE;
        s->commit = m->commit > s->commit ? m->commit : s->commit;
        break;
    case RAFT_MSG_APPEND:
        s->last_index = m->index + m->entry_count;
        s->commit = m->commit > s->commit ? m->commit : s->commit;
        reply.type = RAFT_MSG_APPEND_RESPONSE;
        reply.index = s->last_index;
        break;
    default:
        return;
    }
    answer(s, reply);
}

static void on_unreachable(void *owner, uint64_t id)
{
    (void)owner, (void)id;
}

static void on_reported(void *owner, uint64_t id, bool ok)
{
    (void)owner, (void)id, (void)ok;
}

static void on_removed(void *owner)
{
    ((struct stand_in *)owner)->removed++;
}

static bool was_removed(void *owner, uint64_t id)
{
    (void)owner, (void)id;
    return false;
}

static int on_image(void *owner, struct peer_image *image)
{
    (void)owner, (void)image;
    return 0;
}

static bool on_image_data(void *owner, struct peer_image *image, struct bytes data)
{
    (void)owner, (void)image, (void)data;
    return true;
}

static void on_image_end(void *owner, struct peer_image *image)
{
    (void)owner, (void)image;
}

static const struct peer_events events = {
    .message = on_message,
    .unreachable = on_unreachable,
    .snapshot_reported = on_reported,
    .removed = on_removed,
    .was_removed = was_removed,
    .image_begin = on_image,
    .image_data = on_image_data,
    .image_finish = on_image_end,
    .image_abort = on_image_end,
};

/* --- its port, and the etcd beside it -------------------------------------------------------------------------------
 */

static void handle(void *owner, struct http1_request *request)
{
    struct stand_in *s = owner;
    if (!peer_handle(s->transport, request)) {
        http1_not_found(request);
    }
}

static void on_accept(struct listener *listener, struct connection *connection)
{
    http1_serve(connection, &((struct stand_in *)listener->owner)->options, (struct bytes){0});
}

static void on_gone(struct listener *listener)
{
    ((struct stand_in *)listener->owner)->gone = true;
}

/* A port that was free a moment ago. */
static int free_port(struct stand_in *s)
{
    struct listener probe = {0};
    char reason[128];
    assert_int_equal(listener_open(&probe, &s->loop, "127.0.0.1", 0, reason, sizeof reason), 0);
    int port = atoi(strrchr(probe.address, ':') + 1);
    listener_close(&probe);
    loop_step(&s->loop, 0);
    return port;
}

static void exec_etcd(struct stand_in *s)
{
    char cluster[400];
    snprintf(cluster, sizeof cluster, "e=%s,k=%s", s->etcd_url, s->url);
    int log = open("/dev/null", O_WRONLY);
    dup2(log, 1);
    dup2(log, 2);
    execl(ETCD, ETCD, "--name=e", "--data-dir", s->folder, "--initial-cluster", cluster, "--initial-cluster-token",
          "stand-in", "--listen-peer-urls", s->etcd_url, "--initial-advertise-peer-urls", s->etcd_url,
          "--listen-client-urls", s->client_url, "--advertise-client-urls", s->client_url, (char *)NULL);
    _exit(127);
}

static int set_up(void **state)
{
    struct stand_in *s = mem_zalloc(sizeof *s);
    char reason[128];
    *state = s;
    if (access(ETCD, X_OK) != 0) {
        return 0;
    }
    assert_int_equal(loop_init(&s->loop), 0);
    s->options = (struct http1_options){.handle = handle, .owner = s};
    s->listener = (struct listener){.on_accept = on_accept, .on_gone = on_gone, .owner = s};
    assert_int_equal(listener_open(&s->listener, &s->loop, "127.0.0.1", 0, reason, sizeof reason), 0);
    snprintf(s->url, sizeof s->url, "http://%s", s->listener.address);
    snprintf(s->etcd_url, sizeof s->etcd_url, "http://127.0.0.1:%d", free_port(s));
    snprintf(s->client_url, sizeof s->client_url, "http://127.0.0.1:%d", free_port(s));
    snprintf(s->folder, sizeof s->folder, "/tmp/kedge-stand-in-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    const char *own[] = {s->url}, *other[] = {s->etcd_url};
    s->id = ids_member(own, 1, "stand-in");
    s->etcd_id = ids_member(other, 1, "stand-in");
    uint64_t ids[] = {s->id, s->etcd_id};
    struct peer_config config = {.loop = &s->loop,
                                 .member_id = s->id,
                                 .cluster_id = ids_cluster(ids, 2),
                                 .version = "3.7.1",
                                 .min_version = "3.0.0",
                                 .urls = s->url,
                                 .election_ms = 1000,
                                 .events = &events,
                                 .owner = s};
    s->transport = peer_transport_new(&config);
    peer_add(s->transport, s->etcd_id, s->etcd_url);
    s->etcd = fork();
    if (s->etcd == 0) {
        exec_etcd(s);
    }
    return 0;
}

static int tear_down(void **state)
{
    struct stand_in *s = *state;
    if (s->etcd > 0) {
        char command[128];
        kill(s->etcd, SIGKILL);
        waitpid(s->etcd, NULL, 0);
        peer_transport_free(s->transport);
        listener_close(&s->listener);
        list_each(node, &s->listener.connections)
        {
            connection_close(container_of(node, struct connection, node));
        }
        while (!s->gone) {
            loop_step(&s->loop, 1);
        }
        loop_close(&s->loop);
        snprintf(command, sizeof command, "rm -rf %s", s->folder);
        assert_int_equal(system(command), 0);
    }
    free(s);
    return 0;
}

#define until(s, ms, condition)                                                                                        \
    ({                                                                                                                 \
        uint64_t end_ = loop_clock_ns() + (uint64_t)(ms)*1000000;                                                      \
        bool holds_;                                                                                                   \
        while (!(holds_ = (condition)) && loop_clock_ns() < end_) {                                                    \
            loop_step(&(s)->loop, 5);                                                                                  \
        }                                                                                                              \
        holds_;                                                                                                        \
    })

/* --- what is seen --------------------------------------------------------------------------------------------------
 */

struct question {
    struct peer_call call;
    bool done;
    int error;
    char answer[512];
};

static void on_done(struct peer_call *call, int error)
{
    struct question *q = call->owner;
    q->done = true;
    q->error = error;
    snprintf(q->answer, sizeof q->answer, "%.*s", (int)call->answer.len, (const char *)call->answer.data);
}

static void ask_for_members(struct stand_in *s)
{
    struct question q = {0};
    q.call = (struct peer_call){
        .to = s->etcd_id, .method = "GET", .path = "/members", .timeout_ms = 2000, .done = on_done, .owner = &q};
    peer_call_start(s->transport, &q.call);
    assert_true(until(s, 3000, q.done));
    assert_int_equal(q.error, 0);
    assert_int_equal(q.call.status, 200);
    assert_non_null(strstr(q.answer, s->url));
}

static void test_an_etcd_leads_a_cluster_of_two_with_this_transport(void **state)
{
    struct stand_in *s = *state;
    if (s->etcd == 0) {
        skip();
    }
    assert_true(until(s, 15000, s->by_type[RAFT_MSG_PRE_VOTE] > 0));
    assert_true(until(s, 5000, s->by_type[RAFT_MSG_VOTE] > 0));
    /* it publishes itself and the cluster's version: entries beyond its own empty one at index 3 are committed */
    assert_true(until(s, 10000, s->commit >= 5));
    assert_true(s->last_index >= s->commit);
    assert_true(peer_active_since_ms(s->transport, s->etcd_id) != 0);
    ask_for_members(s);

    /* Link heartbeats: ten seconds pass without a broken stream, and a probe was answered. */
    uint64_t active_since = peer_active_since_ms(s->transport, s->etcd_id), beats = s->by_type[RAFT_MSG_HEARTBEAT];
    uint64_t votes = s->by_type[RAFT_MSG_VOTE];
    until(s, 8000, false);
    assert_int_equal(peer_active_since_ms(s->transport, s->etcd_id), active_since);
    assert_true(s->by_type[RAFT_MSG_HEARTBEAT] > beats + 60);
    assert_true(peer_round_trip_ns(s->transport, s->etcd_id) != 0);
    assert_int_equal(s->by_type[RAFT_MSG_VOTE], votes);
    assert_int_equal(s->removed, 0);
}

static void test_an_etcd_that_comes_back_is_found_again(void **state)
{
    struct stand_in *s = *state;
    if (s->etcd == 0) {
        skip();
    }
    assert_true(until(s, 15000, s->commit >= 5));
    kill(s->etcd, SIGKILL);
    waitpid(s->etcd, NULL, 0);
    assert_true(until(s, 3000, peer_active_since_ms(s->transport, s->etcd_id) == 0));
    s->etcd = fork();
    if (s->etcd == 0) {
        exec_etcd(s);
    }
    uint64_t commit = s->commit;
    assert_true(until(s, 15000, s->commit > commit && peer_active_since_ms(s->transport, s->etcd_id) != 0));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    log_configure(LOG_ERROR, LOG_CONSOLE);
    const struct CMUnitTest tests[] = {
        test(test_an_etcd_leads_a_cluster_of_two_with_this_transport),
        test(test_an_etcd_that_comes_back_is_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
