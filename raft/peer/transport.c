#include "base/check.h"
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- members and remotes --- */

struct peer *peer_find(const struct peer_transport *t, uint64_t id)
{
    list_each(node, &t->peers)
    {
        struct peer *peer = container_of(node, struct peer, node);
        if (peer->id == id) {
            return peer;
        }
    }
    return NULL;
}

/* There is no TLS between members yet. Nothing that is meant to be kept from others is sent in plain text instead. */
static void drop_tls(struct url_list *urls)
{
    size_t kept = 0;
    for (size_t i = 0; i < urls->count; i++) {
        if (urls->items[i].scheme != URL_HTTPS && urls->items[i].scheme != URL_UNIXS) {
            urls->items[kept++] = urls->items[i];
        }
    }
    urls->count = kept;
}

const char *peer_parse_urls(struct arena *arena, const char *text, struct url_list *urls)
{
    const char *error = url_list_parse(arena, text, urls);
    if (error != NULL || urls->count == 0) {
        return error != NULL ? error : "there are none";
    }
    drop_tls(urls);
    return urls->count == 0 ? "they need TLS, which kedge does not speak with other members yet: use http" : NULL;
}

/* The URLs of a member; keeps the old ones when the new cannot be read. */
static bool set_urls(struct peer *peer, const char *text)
{
    struct arena arena = {0};
    struct url_list urls;
    const char *error = peer_parse_urls(&arena, text, &urls);
    if (error != NULL) {
        if (!peer->remote) { /* strangers don't fill the log */
            log_warn("peer URLs cannot be used", log_hex("remote-peer-id", peer->id), log_str("urls", text),
                     log_str("error", error));
        }
        arena_free(&arena);
        return false;
    }
    arena_free(&peer->arena);
    free(peer->urls_text);
    peer->arena = arena;
    peer->urls = urls;
    peer->urls_text = mem_strdup(text);
    peer->url_at = 0;
    return true;
}

static void free_memory(struct peer *peer)
{
    if (!peer->remote) {
        for (unsigned i = 0; i < STREAM_KINDS; i++) {
            stream_in_free(&peer->in[i]);
        }
    }
    arena_free(&peer->arena);
    free(peer->urls_text);
    free(peer);
}

static void free_peer(struct loop_later *later)
{
    free_memory(container_of(later, struct peer, freeing));
}

/* A member or a remote without connections yet; NULL: its URLs cannot be used. */
static struct peer *new_peer(struct peer_transport *t, uint64_t id, const char *urls, bool remote)
{
    struct peer *peer = mem_zalloc(sizeof *peer);
    peer->transport = t;
    peer->id = id;
    peer->remote = remote;
    snprintf(peer->hex, sizeof peer->hex, "%" PRIx64, id);
    if (!set_urls(peer, urls)) {
        arena_free(&peer->arena);
        free(peer);
        return NULL;
    }
    pipeline_init(&peer->pipeline, peer);
    list_push_back(&t->peers, &peer->node);
    t->remote_count += remote;
    return peer;
}

static void close_peer(struct peer *peer)
{
    struct peer_transport *t = peer->transport;
    list_remove(&peer->node);
    peer->gone = true;
    t->remote_count -= peer->remote;
    for (unsigned i = 0; i < STREAM_KINDS && !peer->remote; i++) {
        stream_out_close(&peer->out[i]);
        stream_in_close(&peer->in[i]);
    }
    if (!peer->remote) {
        probe_close(&peer->probe);
    }
    pipeline_close(&peer->pipeline);
    image_out_close(t, peer);
    loop_later(t->config.loop, &peer->freeing, free_peer);
}

void peer_add(struct peer_transport *t, uint64_t id, const char *urls)
{
    CHECK(id != RAFT_NONE && id != t->config.member_id, "no peer of its own");
    struct peer *peer = peer_find(t, id);
    if (peer != NULL && peer->remote) {
        close_peer(peer);
        peer = NULL;
    }
    if (peer != NULL) {
        if (strcmp(peer->urls_text, urls) != 0) {
            set_urls(peer, urls);
        }
        return;
    }
    peer = new_peer(t, id, urls, false);
    if (peer == NULL) {
        return;
    }
    for (unsigned i = 0; i < STREAM_KINDS; i++) {
        stream_out_init(&peer->out[i], peer, (enum stream_kind)i);
        stream_in_start(&peer->in[i], peer, (enum stream_kind)i);
    }
    probe_init(&peer->probe, peer);
    log_info("added remote peer", log_hex("local-member-id", t->config.member_id), log_hex("remote-peer-id", id),
             log_str("remote-peer-urls", urls));
}

void peer_remove(struct peer_transport *t, uint64_t id)
{
    struct peer *peer = peer_find(t, id);
    if (peer != NULL) {
        log_info("removed remote peer", log_hex("local-member-id", t->config.member_id),
                 log_hex("removed-remote-peer-id", id));
        close_peer(peer);
    }
}

bool peer_known(const struct peer_transport *t, uint64_t id)
{
    const struct peer *peer = peer_find(t, id);
    return peer != NULL && !peer->remote;
}

void peer_add_remote(struct peer_transport *t, uint64_t id, const char *urls)
{
    if (id != RAFT_NONE && id != t->config.member_id && peer_find(t, id) == NULL &&
        t->remote_count < PEER_REMOTES_MAX) {
        new_peer(t, id, urls, true);
    }
}

/* --- where they are --- */

const struct url *peer_url(const struct peer *peer)
{
    return &peer->urls.items[peer->url_at];
}

void peer_next_url(struct peer *peer)
{
    peer->url_at = (peer->url_at + 1) % peer->urls.count;
}

void peer_address(const struct url *url, struct http1_ask *ask)
{
    bool is_path = url->scheme == URL_UNIX || url->scheme == URL_UNIXS;
    ask->host = url->host;
    ask->port = is_path ? -1 : url->port;
}

/* --- what is known of them --- */

void peer_active(struct peer *peer)
{
    if (peer->active_since_ms == 0) {
        uint64_t now = loop_now_ms(peer->transport->config.loop);
        peer->active_since_ms = now == 0 ? 1 : now;
        log_info("peer became active", log_hex("peer-id", peer->id));
    }
}

void peer_inactive(struct peer *peer, const char *action, const char *why)
{
    if (peer->active_since_ms != 0) {
        char text[512];
        snprintf(text, sizeof text, "failed to %s %s (%s)", action, peer->hex, why);
        peer->active_since_ms = 0;
        log_warn("peer became inactive (message send to peer failed)", log_hex("peer-id", peer->id),
                 log_str("error", text));
    }
}

uint64_t peer_active_since_ms(const struct peer_transport *t, uint64_t id)
{
    const struct peer *peer = peer_find(t, id);
    return peer == NULL ? 0 : peer->active_since_ms;
}

uint64_t peer_round_trip_ns(const struct peer_transport *t, uint64_t id)
{
    const struct peer *peer = peer_find(t, id);
    return peer == NULL ? 0 : peer->round_trip_ns;
}

/* Peers may come and go in the callbacks: each round looks for the first that is left to tell. */
static void tell_unreachable(struct loop_later *later)
{
    struct peer_transport *t = container_of(later, struct peer_transport, telling);
    bool more = true;
    t->telling_queued = false;
    while (more) {
        more = false;
        list_each(node, &t->peers)
        {
            struct peer *peer = container_of(node, struct peer, node);
            if (peer->unreachable) {
                peer->unreachable = false;
                t->config.events->unreachable(t->config.owner, peer->id);
                more = true;
                break;
            }
        }
    }
    loop_again(t->config.loop); /* whoever was told may have something to do */
}

void peer_unreachable(struct peer *peer)
{
    struct peer_transport *t = peer->transport;
    peer->unreachable = true;
    if (!t->telling_queued) {
        t->telling_queued = true;
        loop_later(t->config.loop, &t->telling, tell_unreachable);
    }
}

/* --- messages --- */

static void send_one(struct peer_transport *t, const struct raft_message *m)
{
    CHECK(m->type != RAFT_MSG_SNAPSHOT, "an image goes by peer_send_image");
    struct peer *peer = m->to == RAFT_NONE ? NULL : peer_find(t, m->to);
    if (peer == NULL) {
        return;
    }
    if (!peer->remote && m->type == RAFT_MSG_APPEND && stream_out_send(&peer->out[STREAM_MSGAPP], m)) {
        return;
    }
    if (!peer->remote && stream_out_send(&peer->out[STREAM_MESSAGE], m)) {
        return;
    }
    pipeline_send(&peer->pipeline, m);
}

void peer_send(struct peer_transport *t, const struct raft_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        send_one(t, &messages[i]);
    }
}

/* Entries of an append follow one another, and no term goes back: what breaks that would break the log. */
static bool entries_follow(const struct raft_message *m)
{
    uint64_t term = m->log_term;
    if (m->index > UINT64_MAX - m->entry_count) {
        return false;
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = &m->entries[i];
        if (e->index != m->index + 1 + i || e->term < term || e->term > m->term) {
            return false;
        }
        term = e->term;
    }
    return true;
}

/* Term 0 means "local" in raft: from outside only what is passed on comes without a term (raft.md "Message fields"). */
static bool needs_term(const struct raft_message *m)
{
    return m->type != RAFT_MSG_PROPOSE && m->type != RAFT_MSG_READ_INDEX && m->type != RAFT_MSG_TRANSFER_LEADER;
}

int peer_deliver(struct peer_transport *t, const struct raft_message *m)
{
    const struct peer_config *config = &t->config;
    if (m->from == RAFT_NONE || (m->term == 0 && needs_term(m)) || (m->type == RAFT_MSG_APPEND && !entries_follow(m))) {
        return ERR_MALFORMED;
    }
    if (m->to != config->member_id || m->type == RAFT_MSG_SNAPSHOT ||
        config->events->was_removed(config->owner, m->from)) {
        return ERR_ABSENT;
    }
    config->events->message(config->owner, m);
    return 0;
}

/* --- begin and end --- */

static void on_probe(struct loop_timer *timer)
{
    struct peer_transport *t = container_of(timer, struct peer_transport, probe_timer);
    list_each(node, &t->peers)
    {
        struct peer *peer = container_of(node, struct peer, node);
        if (!peer->remote) {
            probe_send(&peer->probe);
        }
    }
    loop_timer_set(t->config.loop, &t->probe_timer, loop_now_ms(t->config.loop) + PEER_PROBE_MS);
}

struct peer_transport *peer_transport_new(const struct peer_config *config)
{
    struct peer_transport *t = mem_zalloc(sizeof *t);
    t->config = *config;
    t->urls = mem_strdup(config->urls);
    snprintf(t->cluster_hex, sizeof t->cluster_hex, "%" PRIx64, config->cluster_id);
    list_init(&t->peers);
    list_init(&t->images_out);
    list_init(&t->images_in);
    list_init(&t->posts_in);
    list_init(&t->calls);
    list_init(&t->spare_calls);
    peer_pool_init(&t->pool);
    peer_make_headers(t);
    t->probe_timer.fire = on_probe;
    loop_timer_set(config->loop, &t->probe_timer, loop_now_ms(config->loop) + PEER_PROBE_MS);
    return t;
}

void peer_set_urls(struct peer_transport *t, const char *urls)
{
    free(t->urls);
    t->urls = mem_strdup(urls);
    peer_make_headers(t);
}

/* Peers that are freed later must not outlive what they point to. */
static void free_peers(struct peer_transport *t)
{
    while (!list_empty(&t->peers)) {
        struct peer *peer = list_first(&t->peers, struct peer, node);
        close_peer(peer);
    }
}

static void free_transport(struct loop_later *later)
{
    struct peer_transport *t = container_of(later, struct peer_transport, telling);
    peer_pool_free(&t->pool);
    buffer_free(&t->headers);
    free(t->urls);
    free(t);
}

void peer_transport_free(struct peer_transport *t)
{
    if (t == NULL) {
        return;
    }
    image_out_close(t, NULL);
    image_in_close_all(t);
    post_in_close_all(t);
    call_close_all(t);
    free_peers(t);
    loop_timer_stop(t->config.loop, &t->probe_timer);
    if (t->telling_queued) {
        list_remove(&t->telling.node);
    }
    loop_later(t->config.loop, &t->telling, free_transport);
}
