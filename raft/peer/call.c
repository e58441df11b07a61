/* Whatever is asked of other members' peer ports beside raft's own: one connection a call, the member's URLs one after
 * the other until one answers. */
#include "base/check.h"
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <stdlib.h>

#define ANSWER_BYTES ((size_t)1 << 20)

struct exchange {
    struct list node; /* of transport.calls */
    struct peer_transport *transport;
    struct loop *loop;
    struct peer_call *call; /* NULL: cancelled */
    struct http1_client client;
    struct arena arena;
    struct url_list urls;
    size_t url_at, tried;
    uint64_t until_ms;
    struct buffer answer;
    bool too_long;
    struct loop_timer refusal;
    int refusal_error;
    struct loop_later freeing;
};

static void ask(struct exchange *x);

static void free_exchange(struct loop_later *later)
{
    struct exchange *x = container_of(later, struct exchange, freeing);
    arena_free(&x->arena);
    buffer_free(&x->answer);
    free(x);
}

/* Stops everything; what the exchange holds lives until the end of the turn. */
static void close_exchange(struct exchange *x)
{
    list_remove(&x->node);
    loop_timer_stop(x->loop, &x->refusal);
    if (x->call != NULL) {
        x->call->exchange = NULL;
        x->call = NULL;
    }
    loop_later(x->loop, &x->freeing, free_exchange);
}

static void done(struct exchange *x, int error, const char *failure)
{
    struct peer_call *call = x->call;
    call->status = error == 0 ? x->client.status : 0;
    call->answer = error == 0 ? buffer_bytes(&x->answer) : (struct bytes){0};
    call->failure = failure;
    call->cluster_id = 0;
    if (error == 0) {
        peer_hexadecimal(http1_client_header(&x->client, "x-etcd-cluster-id"), &call->cluster_id);
    }
    close_exchange(x);
    call->done(call, error);
    http1_client_close(&x->client);
}

static void on_data(struct http1_client *client, struct bytes data)
{
    struct exchange *x = client->owner;
    size_t limit = x->call->max_body_bytes == 0 ? ANSWER_BYTES : x->call->max_body_bytes;
    if (data.len > limit - x->answer.len) {
        x->too_long = true;
    } else {
        buffer_append(&x->answer, data.data, data.len);
    }
}

static void on_done(struct http1_client *client, const char *failure)
{
    struct exchange *x = client->owner;
    if (failure == NULL && x->too_long) {
        done(x, ERR_IO, "the answer is too long");
    } else if (failure == NULL) {
        done(x, 0, NULL);
    } else if (loop_now_ms(x->loop) >= x->until_ms) {
        done(x, ERR_TIMEOUT, failure);
    } else if (++x->tried < x->urls.count && !client->answered) {
        x->url_at = (x->url_at + 1) % x->urls.count;
        ask(x);
    } else {
        done(x, ERR_IO, failure);
    }
}

static void ask(struct exchange *x)
{
    const struct peer_call *call = x->call;
    struct buffer headers = {0};
    if (x->transport != NULL) {
        buffer_append(&headers, x->transport->headers.data, x->transport->headers.len);
    }
    if (call->content_type != NULL) {
        buffer_printf(&headers, "Content-Type: %s\r\n", call->content_type);
    }
    if (call->token != NULL) {
        buffer_printf(&headers, "Authorization: %s\r\n", call->token);
    }
    uint64_t now = loop_now_ms(x->loop), left = x->until_ms > now ? x->until_ms - now : 1;
    struct http1_ask request = {.method = call->method,
                                .target = call->path,
                                .headers = buffer_bytes(&headers),
                                .body = call->body,
                                .dial_ms = left,
                                .total_ms = left};
    x->answer.len = 0;
    x->too_long = false;
    peer_address(&x->urls.items[x->url_at], &request);
    http1_client_start(&x->client, &request);
    buffer_free(&headers);
}

static void on_refusal(struct loop_timer *timer)
{
    struct exchange *x = container_of(timer, struct exchange, refusal);
    done(x, x->refusal_error, x->refusal_error == ERR_IO ? "no usable URL" : NULL);
}

/* The URLs to ask, and where to begin. */
static int find_urls(struct exchange *x, const struct peer_call *call)
{
    const char *text = call->urls;
    if (text == NULL) {
        const struct peer *peer = x->transport == NULL ? NULL : peer_find(x->transport, call->to);
        if (peer == NULL) {
            return ERR_ABSENT;
        }
        text = peer->urls_text;
        x->url_at = peer->url_at;
    }
    if (url_list_parse(&x->arena, text, &x->urls) != NULL || x->urls.count == 0) {
        return ERR_IO;
    }
    x->url_at %= x->urls.count;
    return 0;
}

void peer_call_start(struct peer_transport *t, struct peer_call *call)
{
    struct exchange *x = mem_zalloc(sizeof *x);
    CHECK(t != NULL || (call->urls != NULL && call->loop != NULL));
    *x = (struct exchange){.transport = t, .loop = t != NULL ? t->config.loop : call->loop, .call = call};
    x->client = (struct http1_client){.loop = x->loop, .owner = x, .on_data = on_data, .on_done = on_done};
    x->refusal.fire = on_refusal;
    x->until_ms = loop_now_ms(x->loop) + call->timeout_ms;
    call->exchange = x;
    list_init(&x->node);
    if (t != NULL) {
        list_push_back(&t->calls, &x->node);
    }
    x->refusal_error = find_urls(x, call);
    if (x->refusal_error != 0) {
        loop_timer_set(x->loop, &x->refusal, loop_now_ms(x->loop));
        return;
    }
    ask(x);
}

void peer_call_cancel(struct peer_call *call)
{
    struct exchange *x = call->exchange;
    if (x != NULL) {
        close_exchange(x);
        http1_client_close(&x->client);
    }
}

void call_close_all(struct peer_transport *t)
{
    list_each(node, &t->calls)
    {
        done(container_of(node, struct exchange, node), ERR_STOPPED, NULL);
    }
}
