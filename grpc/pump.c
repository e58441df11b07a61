#include "grpc/pump.h"
#include "base/check.h"

static void put(struct pump *p, const uint8_t *data, size_t len)
{
    size_t room = p->cap - p->len;
    size_t n = len < room ? len : room;
    memcpy(p->out + p->len, data, n);
    p->len += n;
    if (n < len) {
        buffer_append(&p->spill, data + n, len - n);
    }
}

static void put_spill(struct pump *p)
{
    size_t n = p->spill.len < p->cap ? p->spill.len : p->cap;
    memcpy(p->out, p->spill.data, n);
    p->len = n;
    buffer_consume(&p->spill, n);
    if (p->spill.len == 0) {
        buffer_free(&p->spill);
    }
}

ssize_t pump_run(struct pump *p, nghttp2_session *session, uint8_t *out, size_t cap)
{
    p->out = out;
    p->cap = cap;
    p->len = 0;
    if (p->spill.len > 0) {
        put_spill(p);
    }
    /* DATA frames pause by themselves when there is no room (pump_payload); others are short or go to the spill. */
    while (p->spill.len == 0) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(session, &data);
        if (n < 0) {
            return n;
        }
        if (n == 0) {
            break;
        }
        put(p, data, (size_t)n);
    }
    return (ssize_t)p->len;
}

uint8_t *pump_payload(struct pump *p, size_t len)
{
    if (p->cap - p->len < PUMP_FRAME_HEAD + len || p->spill.len > 0) {
        return NULL;
    }
    return p->out + p->len + PUMP_FRAME_HEAD;
}

void pump_head(struct pump *p, const uint8_t *head, size_t payload_len)
{
    CHECK(p->cap - p->len >= PUMP_FRAME_HEAD + payload_len);
    memcpy(p->out + p->len, head, PUMP_FRAME_HEAD);
    p->len += PUMP_FRAME_HEAD + payload_len;
}

void pump_free(struct pump *p)
{
    buffer_free(&p->spill);
}
