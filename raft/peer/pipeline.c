/* POST /raft: one message each, up to four at the same time, on connections that stay. For messages that no stream
 * takes: before streams stand, and to remotes. */
#include "raft/peer/peer_impl.h"

static void start_next(struct pipeline_slot *slot);

static void failed(struct pipeline_slot *slot, const char *why)
{
    peer_inactive(slot->peer, "post", why);
    peer_unreachable(slot->peer);
    peer_next_url(slot->peer);
}

static void on_done(struct http1_client *client, const char *failure)
{
    struct pipeline_slot *slot = client->owner;
    struct peer *peer = slot->peer;
    struct peer_transport *t = peer->transport;
    bool removed = failure == NULL && client->status == 403;
    if (failure == NULL && client->status == 204) {
        peer_active(peer);
    } else {
        failed(slot, failure != NULL ? failure : "unexpected http status");
    }
    if (failure == NULL && client->status == 412) {
        peer_refusal(peer, 412, "");
    }
    start_next(slot);
    if (removed) {
        t->config.events->removed(t->config.owner);
    }
}

static void start_next(struct pipeline_slot *slot)
{
    struct peer *peer = slot->peer;
    struct peer_transport *t = peer->transport;
    struct peer_item *item = peer_queue_pop(&peer->pipeline.queue);
    if (item == NULL) {
        buffer_free(&slot->body);
        return;
    }
    slot->body.len = 0;
    raft_message_encode(&slot->body, &item->message);
    peer_item_free(&t->pool, item);
    struct buffer headers = {0};
    buffer_append(&headers, t->headers.data, t->headers.len);
    buffer_printf(&headers, "Content-Type: application/protobuf\r\n");
    struct http1_ask ask = {.method = "POST",
                            .target = "/raft",
                            .headers = buffer_bytes(&headers),
                            .body = buffer_bytes(&slot->body),
                            .dial_ms = 1000 + t->config.election_ms,
                            .idle_ms = PEER_DEADLINE_MS};
    peer_address(peer_url(peer), &ask);
    http1_client_start(&slot->client, &ask);
    buffer_free(&headers);
}

void pipeline_init(struct pipeline *pipeline, struct peer *peer)
{
    peer_queue_init(&pipeline->queue);
    for (size_t i = 0; i < PEER_PIPELINE_SLOTS; i++) {
        struct pipeline_slot *slot = &pipeline->slots[i];
        *slot = (struct pipeline_slot){.peer = peer};
        slot->client = (struct http1_client){.loop = peer->transport->config.loop, .owner = slot, .on_done = on_done};
    }
}

void pipeline_close(struct pipeline *pipeline)
{
    peer_queue_clear(&pipeline->queue, &pipeline->slots[0].peer->transport->pool);
    for (size_t i = 0; i < PEER_PIPELINE_SLOTS; i++) {
        http1_client_close(&pipeline->slots[i].client);
        buffer_free(&pipeline->slots[i].body);
    }
}

void pipeline_send(struct pipeline *pipeline, const struct raft_message *m)
{
    struct peer *peer = pipeline->slots[0].peer;
    struct peer_transport *t = peer->transport;
    if (!peer_queue_push(&pipeline->queue, &t->pool, m, PEER_PIPELINE_QUEUE)) {
        if (!peer->unreachable) {
            log_warn("dropped Raft message since sending buffer is full (overloaded network)",
                     log_str("message-type", raft_message_type_name(m->type)),
                     log_hex("local-member-id", t->config.member_id), log_hex("from", m->from),
                     log_hex("remote-peer-id", peer->id), log_bool("remote-peer-active", peer->active_since_ms != 0));
        }
        peer_unreachable(peer);
        return;
    }
    for (size_t i = 0; i < PEER_PIPELINE_SLOTS; i++) {
        if (!http1_client_busy(&pipeline->slots[i].client)) {
            start_next(&pipeline->slots[i]);
            return;
        }
    }
}
