/* Whatever is asked of other members' peer ports beside raft's own: the member's URLs one after the other until one
 * answers. A follower may pass on a thousand keepalives a second, so connections are kept for the next call. */
#include "base/check.h"
#include "base/error.h"
#include "raft/peer/peer_impl.h"
#include <stdlib.h>

#define ANSWER_BYTES ((size_t)1 << 20)
#define SPARE_MAX 16

struct exchange {
    struct list node; /* of transport.calls, or of transport.spare_calls */
    struct peer_transport *transport;
    struct loop *loop;
    struct peer_call *call; /* NULL: none is under way */
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

static void close_exchange(struct exchange *x)
{
    list_remove(&x->node);
    loop_timer_stop(x->loop, &x->refusal);
    http1_client_close(&x->client);
    loop_later(x->loop, &x->freeing, free_exchange);
}

/* The call is over: keeps the exchange for its connection, if there is one. */
static void retire(struct exchange *x)
{
    struct peer_transport *t = x->transport;
    if (t == NULL || x->client.connection == NULL) {
        close_exchange(x);
        return;
    }
    arena_reset(&x->arena);
    buffer_free(&x->answer);
    list_remove(&x->node);
    list_push_front(&t->spare_calls, &x->node);
    if (++t->spare_call_count > SPARE_MAX) {
        t->spare_call_count--;
        close_exchange(container_of(t->spare_calls.prev, struct exchange, node));
    }
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
    list_remove(&x->node);
    call->exchange = NULL;
    x->call = NULL;
    call->done(call, error);
    retire(x);
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
static int find_urls(const struct peer_transport *t, const struct peer_call *call, struct arena *arena,
                     struct url_list *urls, size_t *url_at)
{
    const char *text = call->urls;
    if (text == NULL) {
        const struct peer *peer = peer_find(t, call->to);
        if (peer == NULL) {
            return ERR_ABSENT;
        }
        text = peer->urls_text;
        *url_at = peer->url_at;
    }
    if (peer_parse_urls(arena, text, urls) != NULL) {
        return ERR_IO;
    }
    *url_at %= urls->count;
    return 0;
}

/* One whose connection leads to the URL that is asked first, or a new one. */
static struct exchange *new_exchange(struct peer_transport *t, struct loop *loop, const struct url *url)
{
    struct http1_ask ask = {0};
    if (t != NULL && url != NULL) {
        peer_address(url, &ask);
        list_each(node, &t->spare_calls)
        {
            struct exchange *x = container_of(node, struct exchange, node);
            if (x->client.connection != NULL && x->client.port == ask.port && strcmp(x->client.host, ask.host) == 0) {
                list_remove(&x->node);
                t->spare_call_count--;
                return x;
            }
        }
    }
    struct exchange *x = mem_zalloc(sizeof *x);
    x->transport = t;
    x->loop = loop;
    x->client = (struct http1_client){.loop = loop, .owner = x, .on_data = on_data, .on_done = on_done};
    x->refusal.fire = on_refusal;
    list_init(&x->node);
    return x;
}

void peer_call_start(struct peer_transport *t, struct peer_call *call)
{
    struct arena arena = {0};
    struct url_list urls = {0};
    size_t url_at = 0;
    CHECK(t != NULL || (call->urls != NULL && call->loop != NULL));
    int error = find_urls(t, call, &arena, &urls, &url_at);
    struct exchange *x =
        new_exchange(t, t != NULL ? t->config.loop : call->loop, error == 0 ? &urls.items[url_at] : NULL);
    arena_free(&x->arena);
    x->arena = arena;
    x->urls = urls;
    x->url_at = url_at;
    x->tried = 0;
    x->call = call;
    x->until_ms = loop_now_ms(x->loop) + call->timeout_ms;
    call->exchange = x;
    if (t != NULL) {
        list_push_back(&t->calls, &x->node);
    }
    if (error != 0) {
        x->refusal_error = error;
        loop_timer_set(x->loop, &x->refusal, loop_now_ms(x->loop));
        return;
    }
    ask(x);
}

void peer_call_cancel(struct peer_call *call)
{
    struct exchange *x = call->exchange;
    if (x != NULL) {
        call->exchange = NULL;
        close_exchange(x);
    }
}

void call_close_all(struct peer_transport *t)
{
    while (!list_empty(&t->calls)) {
        struct exchange *x = list_first(&t->calls, struct exchange, node);
        http1_client_close(&x->client);
        done(x, ERR_STOPPED, NULL);
    }
    while (!list_empty(&t->spare_calls)) {
        close_exchange(list_first(&t->spare_calls, struct exchange, node));
    }
}
