/* A stream that another member has asked for: the answer to its GET never ends. Messages wait in a queue by reference
 * and are encoded in the place where they go out, when the connection has room. A stream whose other side takes nothing
 * for 5 s is cut, and so is an older one when the same member asks again. */
#include "base/check.h"
#include "raft/peer/peer_impl.h"

static const char *kind_name(enum stream_kind kind)
{
    return kind == STREAM_MSGAPP ? "stream MsgApp v2" : "stream Message";
}

static uint64_t now_ms(const struct stream_out *out)
{
    return loop_now_ms(out->peer->transport->config.loop);
}

static void set_timer(struct stream_out *out)
{
    loop_timer_set(out->peer->transport->config.loop, &out->timer, now_ms(out) + PEER_LINK_HEARTBEAT_MS);
}

/* Forgets the connection and what was waiting for it. */
static void detach(struct stream_out *out)
{
    struct peer_pool *pool = &out->peer->transport->pool;
    out->request = NULL;
    loop_timer_stop(out->peer->transport->config.loop, &out->timer);
    peer_item_free(pool, out->item);
    out->item = NULL;
    peer_queue_clear(&out->queue, pool);
}

/* The connection is lost: what it had taken may be lost as well. */
static void lost(struct stream_out *out, const char *why)
{
    log_warn("lost TCP streaming connection with remote peer", log_str("stream-writer-type", kind_name(out->kind)),
             log_hex("local-member-id", out->peer->transport->config.member_id),
             log_hex("remote-peer-id", out->peer->id), log_str("error", why));
    detach(out);
    peer_unreachable(out->peer);
}

static void on_abort(struct http1_request *request)
{
    lost(request->state, "EOF");
}

/* Is there anything to write but a heartbeat? Makes it the writer's. */
static bool next_message(struct stream_out *out)
{
    if (!stream_write_done(&out->writer)) {
        return true;
    }
    struct peer_pool *pool = &out->peer->transport->pool;
    peer_item_free(pool, out->item);
    out->item = peer_queue_pop(&out->queue);
    if (out->item == NULL) {
        return false;
    }
    stream_write_begin(&out->writer, &out->item->message);
    return true;
}

static size_t on_room(struct http1_request *request, uint8_t *buffer, size_t cap)
{
    struct stream_out *out = request->state;
    size_t n = 0;
    while (n < cap && next_message(out)) {
        n += stream_write(&out->writer, buffer + n, cap - n);
        out->said = true;
    }
    if (out->beat && stream_write_done(&out->writer) && cap - n >= STREAM_HEARTBEAT_MAX) {
        n += stream_heartbeat(out->kind, buffer + n);
        out->beat = false;
    }
    if (!stream_write_done(&out->writer) || out->queue.count > 0) {
        http1_stream_ask(request);
    }
    return n;
}

/* Each 5/3 s: a heartbeat if nothing else was said, and a look at whether the other side still takes anything. */
static void on_timer(struct loop_timer *timer)
{
    struct stream_out *out = container_of(timer, struct stream_out, timer);
    uint64_t sent = http1_sent_bytes(out->request);
    bool stopped = now_ms(out) > out->looked_ms + 2 * PEER_LINK_HEARTBEAT_MS; /* this process, for a while */
    out->looked_ms = now_ms(out);
    if (sent != out->sent_bytes || !http1_blocked(out->request) || stopped) {
        out->sent_bytes = sent;
        out->moved_ms = now_ms(out);
    } else if (now_ms(out) >= out->moved_ms + PEER_DEADLINE_MS) {
        struct http1_request *request = out->request;
        peer_inactive(out->peer, "write", "i/o timeout");
        lost(out, "i/o timeout");
        http1_stream_cut(request);
        return;
    }
    if (!out->said) {
        out->beat = true;
        http1_stream_ask(out->request);
    }
    out->said = false;
    set_timer(out);
}

void stream_out_init(struct stream_out *out, struct peer *peer, enum stream_kind kind)
{
    *out = (struct stream_out){.peer = peer, .kind = kind, .timer.fire = on_timer};
    peer_queue_init(&out->queue);
}

void stream_out_close(struct stream_out *out)
{
    struct http1_request *request = out->request;
    if (request != NULL) {
        detach(out);
        http1_stream_cut(request);
    }
}

void stream_out_attach(struct stream_out *out, struct http1_request *request)
{
    if (out->request != NULL) {
        bool losing = out->queue.count > 0 || !stream_write_done(&out->writer);
        log_warn("closed TCP streaming connection with remote peer",
                 log_str("stream-writer-type", kind_name(out->kind)),
                 log_hex("local-member-id", out->peer->transport->config.member_id),
                 log_hex("remote-peer-id", out->peer->id));
        stream_out_close(out);
        if (losing) {
            peer_unreachable(out->peer);
        }
    }
    out->request = request;
    out->writer = (struct stream_writer){.kind = out->kind};
    out->beat = out->said = false;
    out->moved_ms = out->looked_ms = now_ms(out);
    out->sent_bytes = http1_sent_bytes(request);
    request->state = out;
    request->on_abort = on_abort;
    request->on_room = on_room;
    http1_stream_begin(request, 200, NULL);
    http1_urgent(request, PEER_DEADLINE_MS);
    set_timer(out);
    log_info(
        "established TCP streaming connection with remote peer", log_str("stream-writer-type", kind_name(out->kind)),
        log_hex("local-member-id", out->peer->transport->config.member_id), log_hex("remote-peer-id", out->peer->id));
}

bool stream_out_send(struct stream_out *out, const struct raft_message *m)
{
    if (out->request == NULL) {
        return false;
    }
    if (peer_queue_push(&out->queue, &out->peer->transport->pool, m, PEER_STREAM_QUEUE)) {
        http1_stream_ask(out->request);
        return true;
    }
    if (!out->peer->unreachable) { /* one line for many */
        log_warn("dropped internal Raft message since sending buffer is full",
                 log_str("message-type", raft_message_type_name(m->type)),
                 log_hex("local-member-id", out->peer->transport->config.member_id), log_hex("from", m->from),
                 log_hex("remote-peer-id", out->peer->id),
                 log_bool("remote-peer-active", out->peer->active_since_ms != 0));
    }
    peer_unreachable(out->peer);
    return true;
}
