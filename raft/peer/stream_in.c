/* A stream that this member has asked for: dial, ask, read until it breaks, and dial again, at most once in 100 ms. */
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <inttypes.h>
#include <stdio.h>

static const char *kind_name(enum stream_kind kind)
{
    return kind == STREAM_MSGAPP ? "stream MsgApp v2" : "stream Message";
}

static void dial(struct stream_in *in);

static void redial_later(struct stream_in *in)
{
    struct loop *loop = in->client.loop;
    uint64_t at = in->tried_ms + PEER_REDIAL_MS;
    loop_timer_set(loop, &in->redial, at > loop_now_ms(loop) ? at : loop_now_ms(loop));
}

static void on_redial(struct loop_timer *timer)
{
    dial(container_of(timer, struct stream_in, redial));
}

/* --- the answer --- */

static void established(struct stream_in *in)
{
    stream_reader_free(&in->reader);
    in->reader = (struct stream_reader){
        .kind = in->kind, .local = in->peer->transport->config.member_id, .remote = in->peer->id};
    in->established = true;
    peer_active(in->peer);
    log_info(
        "established TCP streaming connection with remote peer", log_str("stream-reader-type", kind_name(in->kind)),
        log_hex("local-member-id", in->peer->transport->config.member_id), log_hex("remote-peer-id", in->peer->id));
}

static void refused(struct stream_in *in)
{
    in->answer[in->answer_len] = '\0';
    in->answer[strcspn(in->answer, "\r\n")] = '\0';
    peer_refusal(in->peer, in->client.status, in->answer);
    peer_inactive(in->peer, "dial", in->answer);
    peer_next_url(in->peer);
}

static void on_head(struct http1_client *client)
{
    struct stream_in *in = client->owner;
    in->answer_len = 0;
    in->refused = client->status != 200;
    if (!in->refused && !peer_has_streams(http1_client_header(client, "x-server-version"))) {
        in->refused = true;
        in->answer_len = (size_t)snprintf(in->answer, sizeof in->answer, "unsupported stream type");
        http1_client_close(client); /* there is no end of such an answer */
        refused(in);
        redial_later(in);
    } else if (!in->refused) {
        established(in);
    }
}

static void keep_answer(struct stream_in *in, struct bytes data)
{
    size_t room = sizeof in->answer - 1 - in->answer_len;
    size_t n = data.len < room ? data.len : room;
    memcpy(in->answer + in->answer_len, data.data, n);
    in->answer_len += n;
}

static void lost(struct stream_in *in, const char *why, bool failed)
{
    log_warn("lost TCP streaming connection with remote peer", log_str("stream-reader-type", kind_name(in->kind)),
             log_hex("local-member-id", in->peer->transport->config.member_id), log_hex("remote-peer-id", in->peer->id),
             log_str("error", why));
    if (failed) {
        peer_inactive(in->peer, "read", why);
    }
    in->established = false;
}

static void on_data(struct http1_client *client, struct bytes data)
{
    struct stream_in *in = client->owner;
    struct raft_message message;
    int result = 0;
    if (in->refused) {
        keep_answer(in, data);
        return;
    }
    while (!in->closed && (result = stream_read(&in->reader, &data, &message)) == 1) {
        result = peer_deliver(in->peer->transport, &message);
        if (result == ERR_MALFORMED) {
            break;
        }
    }
    if (!in->closed && result == ERR_MALFORMED) { /* nothing that follows can be trusted */
        http1_client_close(client);
        lost(in, "malformed message", true);
        redial_later(in);
    }
}

static void on_done(struct http1_client *client, const char *failure)
{
    struct stream_in *in = client->owner;
    if (in->established) {
        bool ended = failure == NULL || strcmp(failure, "EOF") == 0 || strcmp(failure, "unexpected EOF") == 0;
        lost(in, failure == NULL ? "EOF" : failure, !ended);
    } else if (in->refused) { /* its text may be cut off */
        refused(in);
    } else {
        peer_inactive(in->peer, "dial", failure != NULL ? failure : "EOF");
        peer_next_url(in->peer);
    }
    redial_later(in);
    if (in->refused && client->status == 410) {
        in->peer->transport->config.events->removed(in->peer->transport->config.owner);
    }
}

/* --- asking --- */

static void dial(struct stream_in *in)
{
    struct peer *peer = in->peer;
    struct peer_transport *t = peer->transport;
    char target[64];
    struct buffer headers = {0};
    buffer_append(&headers, t->headers.data, t->headers.len);
    buffer_printf(&headers, "X-Raft-To: %s\r\n", peer->hex);
    snprintf(target, sizeof target, "/raft/stream/%s/%" PRIx64, in->kind == STREAM_MSGAPP ? "msgapp" : "message",
             t->config.member_id);
    in->tried_ms = loop_now_ms(t->config.loop);
    in->established = in->refused = false;
    struct http1_ask ask = {.method = "GET",
                            .target = target,
                            .headers = buffer_bytes(&headers),
                            .dial_ms = 1000 + t->config.election_ms,
                            .idle_ms = PEER_DEADLINE_MS};
    peer_address(peer_url(peer), &ask);
    http1_client_start(&in->client, &ask);
    buffer_free(&headers);
}

void stream_in_start(struct stream_in *in, struct peer *peer, enum stream_kind kind)
{
    *in = (struct stream_in){.peer = peer,
                             .kind = kind,
                             .client = {.loop = peer->transport->config.loop,
                                        .owner = in,
                                        .on_head = on_head,
                                        .on_data = on_data,
                                        .on_done = on_done},
                             .redial.fire = on_redial};
    dial(in);
}

void stream_in_close(struct stream_in *in)
{
    in->closed = true;
    loop_timer_stop(in->client.loop, &in->redial);
    http1_client_close(&in->client);
}

void stream_in_free(struct stream_in *in)
{
    stream_reader_free(&in->reader);
}
