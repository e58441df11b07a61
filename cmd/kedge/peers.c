#include "cmd/kedge/peers.h"

#include "base/check.h"
#include "base/error.h"
#include "cmd/kedge/image_in.h"
#include "cmd/kedge/image_out.h"
#include "grpc/services.h"
#include <stdlib.h>

#define MIN_CLUSTER_VERSION "3.0.0"
/* etcd looks every 50 ms, for 5 s, whether two others are reached (limits.tsv "initial tick advance"). */
#define ADVANCE_CHECK_MS 50
#define ADVANCE_TRIES 100
#define ADVANCE_PEERS 2

static struct peers *of_env(struct core_env *env)
{
    return container_of(env, struct engine, env)->peers;
}

/* --- connections follow the members --- */

static const char *joined(struct arena *arena, char *const *urls, size_t count)
{
    const char *text = "";
    for (size_t i = 0; i < count; i++) {
        text = i == 0 ? urls[0] : arena_printf(arena, "%s,%s", text, urls[i]);
    }
    return text;
}

static void remember(struct peers *peers, const struct kv_member *members, size_t count)
{
    peers->known = mem_realloc(peers->known, (count + 1) * sizeof *peers->known);
    peers->known_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (members[i].id != peers->member->id) {
            peers->known[peers->known_count++] = members[i].id;
        }
    }
}

static void tell_removal(struct peers *peers)
{
    if (!peers->removal_told) {
        peers->removal_told = true;
        log_warn("the member has been permanently removed from the cluster",
                 log_hex("local-member-id", peers->member->id),
                 log_str("advice", "the data directory of this member must be removed; then it can be added again and "
                                   "join as a new one"));
        peers->removed(peers->owner);
    }
}

static void align(struct peers *peers)
{
    const struct kv *kv = core_kv(peers->member->core);
    struct arena arena = {0};
    size_t count;
    const struct kv_member *members = kv_members(kv, &count);
    for (size_t i = 0; i < peers->known_count; i++) {
        if (kv_member(kv, peers->known[i]) == NULL) {
            log_info("removed member", log_hex("local-member-id", peers->member->id),
                     log_hex("removed-remote-peer-id", peers->known[i]));
            peer_remove(peers->transport, peers->known[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const char *urls = joined(&arena, members[i].peer_urls, members[i].peer_url_count);
        if (members[i].id == peers->member->id) {
            peer_set_urls(peers->transport, urls);
        } else {
            peer_add(peers->transport, members[i].id, urls);
        }
    }
    remember(peers, members, count);
    arena_free(&arena);
    if (kv_member_removed(kv, peers->member->id)) {
        tell_removal(peers);
    }
}

static void members_changed(struct core_env *env)
{
    struct peers *peers = of_env(env);
    if (peers->transport != NULL) {
        align(peers);
    }
}

/* --- from the core --- */

static void send_messages(struct core_env *env, const struct raft_message *messages, size_t count)
{
    struct peers *peers = of_env(env);
    if (peers->transport != NULL) {
        peer_send(peers->transport, messages, count);
    }
}

static void send_image(struct core_env *env, const struct raft_message *message, struct core_view *view)
{
    image_out_start(of_env(env), message, view);
}

static uint64_t active_since_ms(struct core_env *env, uint64_t id)
{
    return peer_active_since_ms(of_env(env)->transport, id);
}

struct asking {
    struct peer_call peer;
    struct core_peer_call *core_call;
    struct peers *peers;
};

static void call_done(struct peer_call *peer, int error)
{
    struct asking *call = container_of(peer, struct asking, peer);
    struct core_peer_call *core_call = call->core_call;
    core_call->error = error == 0 || error == ERR_TIMEOUT ? error : ERR_UNHEALTHY;
    core_call->status = peer->status;
    core_call->response = peer->answer;
    core_call->work = NULL;
    loop_again(call->peers->member->loop);
    core_call->done(core_call);
    free(call);
}

static void peer_call(struct core_env *env, struct core_peer_call *core_call)
{
    struct asking *call = mem_zalloc(sizeof *call);
    call->core_call = core_call;
    call->peers = of_env(env);
    call->peer = (struct peer_call){
        .to = core_call->to,
        .method = core_call->method,
        .path = core_call->path,
        .content_type = core_call->content_type,
        .body = core_call->body,
        .timeout_ms = core_call->timeout_ms,
        .max_body_bytes = core_call->max_answer_bytes,
        .done = call_done,
    };
    core_call->work = call;
    peer_call_start(call->peers->transport, &call->peer);
}

static void peer_call_cancelled(struct core_env *env, struct core_peer_call *core_call)
{
    (void)env;
    struct asking *call = core_call->work;
    if (call != NULL) {
        peer_call_cancel(&call->peer);
        core_call->work = NULL;
        free(call);
    }
}

/* --- from others --- */

/* A leader tells this member that entries are committed which it had acknowledged, and its log ends before them: it
 * runs on an older copy of its data. What it promised with what is missing, votes too, nobody knows. The leader would
 * repeat itself for ever, as it never goes below what was acknowledged. (An etcd ends here as well: "tocommit is out of
 * range".) */
static void check_log(struct peers *peers, const struct raft_message *received)
{
    struct raft_status status = core_raft_status(peers->member->core);
    uint64_t now_ms = loop_now_ms(peers->member->loop);
    if (received->type != RAFT_MSG_HEARTBEAT || received->term != status.term || status.installing) {
        return;
    }
    if (received->commit <= status.last_index) {
        peers->lacking_since_ms = 0;
    } else if (peers->lacking_since_ms == 0) {
        peers->lacking_since_ms = now_ms;
    } else if (now_ms - peers->lacking_since_ms > 2 * peers->member->config->election_timeout_ms) {
        log_fatal(
            "this member has lost entries that it had acknowledged: its data directory is older than it should be",
            log_hex("local-member-id", status.id), log_uint("last-index", status.last_index),
            log_uint("acknowledged-index", received->commit), log_str("data-dir", peers->member->config->data_dir),
            log_str("advice", "put its newest data back; or let the cluster forget the member and join as a new "
                              "one with an empty directory: etcdctl member remove, etcdctl member add"));
    }
}

static void message(void *owner, const struct raft_message *received)
{
    struct peers *peers = owner;
    check_log(peers, received);
    core_step(peers->member->core, received);
}

static void unreachable(void *owner, uint64_t id)
{
    struct peers *peers = owner;
    core_unreachable(peers->member->core, id);
    loop_again(peers->member->loop);
}

static void snapshot_reported(void *owner, uint64_t id, bool taken)
{
    struct peers *peers = owner;
    core_snapshot_reported(peers->member->core, id, taken);
    loop_again(peers->member->loop);
}

static void removed_elsewhere(void *owner)
{
    tell_removal(owner);
}

static bool was_removed(void *owner, uint64_t id)
{
    const struct peers *peers = owner;
    return kv_member_removed(core_kv(peers->member->core), id);
}

/* --- the first election after a start need not wait for all of its time --- */

static size_t reached(const struct peers *peers)
{
    size_t count = 0;
    for (size_t i = 0; i < peers->known_count; i++) {
        count += peer_active_since_ms(peers->transport, peers->known[i]) != 0;
    }
    return count;
}

static void advance(struct loop_timer *timer)
{
    struct peers *peers = container_of(timer, struct peers, advance);
    const struct config *config = peers->member->config;
    if (reached(peers) < ADVANCE_PEERS) {
        if (++peers->advance_tries < ADVANCE_TRIES) {
            loop_timer_set(peers->member->loop, timer, loop_now_ms(peers->member->loop) + ADVANCE_CHECK_MS);
        }
        return;
    }
    uint64_t by_ms = config->election_timeout_ms - 2 * config->heartbeat_interval_ms;
    log_info("initialized peer connections; fast-forwarding election ticks",
             log_hex("local-member-id", peers->member->id),
             log_uint("forward-ticks", by_ms / config->heartbeat_interval_ms), log_uint("forward-ms", by_ms),
             log_uint("election-ticks", config->election_timeout_ms / config->heartbeat_interval_ms),
             log_uint("election-timeout-ms", config->election_timeout_ms),
             log_uint("active-remote-members", reached(peers)));
    core_advance_election(peers->member->core, by_ms);
    loop_again(peers->member->loop);
}

/* --- life --- */

static const struct peer_events events = {
    .message = message,
    .unreachable = unreachable,
    .snapshot_reported = snapshot_reported,
    .removed = removed_elsewhere,
    .was_removed = was_removed,
    .image_begin = image_in_begin,
    .image_data = image_in_data,
    .image_finish = image_in_finish,
    .image_abort = image_in_abort,
};

static const char *own_urls(struct member *member, struct arena *arena)
{
    const struct kv_member *self = kv_member(core_kv(member->core), member->id);
    if (self != NULL) {
        return joined(arena, self->peer_urls, self->peer_url_count);
    }
    const char *text = "";
    const struct url_list *urls = &member->config->initial_advertise_peer_urls;
    for (size_t i = 0; i < urls->count; i++) {
        text = i == 0 ? urls->items[0].text : arena_printf(arena, "%s,%s", text, urls->items[i].text);
    }
    return text;
}

void peers_start(struct peers *peers, struct member *member, void (*removed)(void *owner), void *owner)
{
    *peers = (struct peers){.member = member, .removed = removed, .owner = owner};
    list_init(&peers->images);
    struct arena arena = {0};
    const struct peer_config settings = {
        .loop = member->loop,
        .member_id = member->id,
        .cluster_id = member->cluster_id,
        .version = SERVER_VERSION,
        .min_version = MIN_CLUSTER_VERSION,
        .urls = own_urls(member, &arena),
        .election_ms = member->config->election_timeout_ms,
        .events = &events,
        .owner = peers,
    };
    peers->transport = peer_transport_new(&settings);
    struct core_env *env = &member->engine.env;
    member->engine.peers = peers;
    env->send = send_messages;
    env->send_image = send_image;
    env->members_changed = members_changed;
    env->active_since_ms = active_since_ms;
    env->peer_call = peer_call;
    env->peer_call_cancel = peer_call_cancelled;
    for (size_t i = 0; i < member->remote_count; i++) {
        const struct kv_member *remote = &member->remotes[i];
        peer_add_remote(peers->transport, remote->id, joined(&arena, remote->peer_urls, remote->peer_url_count));
    }
    arena_free(&arena);
    align(peers);
    peers->advance.fire = advance;
    if (!member->config->initial_election_tick_advance) {
        return;
    }
    loop_timer_set(member->loop, &peers->advance, loop_now_ms(member->loop) + ADVANCE_CHECK_MS);
}

void peers_stop(struct peers *peers)
{
    loop_timer_stop(peers->member->loop, &peers->advance);
    peer_transport_free(peers->transport);
    peers->transport = NULL;
    free(peers->known);
}

uint64_t peers_longest_connected(const struct peers *peers)
{
    const struct kv *kv = core_kv(peers->member->core);
    uint64_t best = RAFT_NONE, since = UINT64_MAX;
    for (size_t i = 0; i < peers->known_count; i++) {
        const struct kv_member *other = kv_member(kv, peers->known[i]);
        uint64_t active = peer_active_since_ms(peers->transport, peers->known[i]);
        if (other != NULL && !other->learner && active != 0 && active < since) {
            best = other->id;
            since = active;
        }
    }
    return best;
}
