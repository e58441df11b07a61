#include "grpc/gateway_stream.h"

#include "base/check.h"
#include "base/pb.h"
#include "grpc/json.h"
#include <stdlib.h>

#define SLICE_BYTES ((size_t)32 * 1024)
#define STALL_MS 30000 /* a reader that takes nothing for so long holds no revision any more (design.md "Pin") */
#define READ_BYTES ((size_t)16 * 1024) /* call.h: what source->read may be asked for */

struct gateway_stream {
    struct http1_request *request;
    const ProtobufCMessageDescriptor *type;
    struct call_source *source;
    struct loop *loop;
    struct loop_flush slice;
    struct loop_timer stall;
    uint64_t left;         /* bytes that are still to come from the source */
    struct buffer encoded; /* fields that are not complete yet */
    unsigned open_list;    /* number of the repeated field whose ']' is not written yet; 0 = none */
    bool begun;
    void (*on_end)(void *owner);
    void *owner;
};

static void finish(struct gateway_stream *s)
{
    s->source->end(s->source);
    loop_flush_cancel(&s->slice);
    loop_timer_stop(s->loop, &s->stall);
    buffer_free(&s->encoded);
    s->on_end(s->owner);
    free(s);
}

static void go_on(struct gateway_stream *s)
{
    loop_flush_ask(s->loop, &s->slice);
    loop_again(s->loop);
}

static void aborted(struct http1_request *request)
{
    finish(request->state);
}

static void writable(struct http1_request *request)
{
    go_on(request->state);
}

void gateway_stream_cut(struct gateway_stream *s)
{
    struct http1_request *request = s->request;
    finish(s);
    http1_stream_abort(request);
}

static void stalled(struct loop_timer *timer)
{
    gateway_stream_cut(container_of(timer, struct gateway_stream, stall));
}

void gateway_stream_ready(struct gateway_stream *s)
{
    go_on(s);
}

/* --- cutting the encoding into fields --- */

/* Bytes of the first field of `in`, 0 if it is not complete. *number is its number. */
static size_t field_size(struct bytes in, unsigned *number)
{
    uint64_t tag, value;
    size_t n = varint_get(in, &tag);
    if (n == 0) {
        return 0;
    }
    *number = (unsigned)(tag >> 3);
    size_t m = varint_get(bytes_of(in.data + n, in.len - n), &value);
    if (m == 0 || (tag & 7) == 0) {
        return m == 0 ? 0 : n + m;
    }
    return value <= in.len - n - m ? n + m + (size_t)value : 0; /* our answers have varints and lengths only */
}

/* All complete fields at the front: their bytes, and the numbers of the first and the last one. */
static size_t complete(struct bytes in, unsigned *first, unsigned *last)
{
    size_t n = 0, size;
    unsigned number;
    while ((size = field_size(bytes_of(in.data + n, in.len - n), &number)) > 0) {
        *first = n == 0 ? number : *first;
        *last = number;
        n += size;
    }
    return n;
}

/* --- writing --- */

static bool is_repeated(const struct gateway_stream *s, unsigned number)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(s->type, number);
    return field != NULL && field->label == PROTOBUF_C_LABEL_REPEATED;
}

/* `text` is a whole object of some of the fields. Its braces go; a list that the last piece left open is gone on with,
 * or closed; a list at its end is left open. */
static void join(struct gateway_stream *s, struct bytes text, unsigned first, unsigned last)
{
    struct bytes inner = bytes_of(text.data + 1, text.len - 2);
    const char *between = s->begun ? "," : "{";
    if (s->open_list != 0 && s->open_list == first) {
        const uint8_t *bracket = memchr(inner.data, '[', inner.len);
        inner = bytes_of(bracket + 1, inner.len - (size_t)(bracket + 1 - inner.data));
    } else if (s->open_list != 0) {
        between = "],";
    }
    s->open_list = is_repeated(s, last) ? last : 0;
    inner.len -= s->open_list != 0 ? 1 : 0;
    struct buffer out = {0};
    buffer_append(&out, between, strlen(between));
    buffer_append(&out, inner.data, inner.len);
    s->begun = true;
    http1_stream_write(s->request, buffer_bytes(&out));
    buffer_free(&out);
}

/* False: what came from the source is no message. */
static bool transcode(struct gateway_stream *s)
{
    unsigned first = 0, last = 0;
    size_t len = complete(buffer_bytes(&s->encoded), &first, &last);
    if (len == 0) {
        return s->left > 0 || s->encoded.len == 0;
    }
    struct arena arena = {0};
    struct buffer text = {0};
    const ProtobufCMessage *message = pb_unpack(s->type, bytes_of(s->encoded.data, len), &arena, NULL);
    if (message != NULL) {
        json_print_message(message, &text);
        if (text.len > 2) {
            join(s, buffer_bytes(&text), first, last);
        }
        buffer_consume(&s->encoded, len);
    }
    buffer_free(&text);
    arena_free(&arena);
    return message != NULL;
}

/* Negative: the source failed. 0: it has nothing now, or there is no more. */
static ssize_t read_slice(struct gateway_stream *s)
{
    size_t from = s->encoded.len;
    while (s->encoded.len < from + SLICE_BYTES && s->left > 0) {
        size_t cap = s->left < READ_BYTES ? (size_t)s->left : READ_BYTES;
        ssize_t n = s->source->read(s->source, buffer_reserve(&s->encoded, cap), cap);
        if (n < 0) {
            return n;
        }
        if (n == 0) {
            break;
        }
        s->encoded.len += (size_t)n;
        s->left -= (uint64_t)n;
    }
    return (ssize_t)(s->encoded.len - from);
}

static void end(struct gateway_stream *s)
{
    struct http1_request *request = s->request;
    const char *tail = s->open_list != 0 ? "]}" : s->begun ? "}" : "{}";
    http1_stream_write(request, bytes_str(tail));
    finish(s);
    http1_stream_end(request);
}

static void run(struct loop_flush *flush)
{
    struct gateway_stream *s = container_of(flush, struct gateway_stream, slice);
    if (!http1_writable(s->request)) {
        return; /* on_writable comes */
    }
    ssize_t n = read_slice(s);
    if (n < 0 || !transcode(s)) {
        gateway_stream_cut(s);
    } else if (s->left == 0) {
        end(s);
    } else {
        loop_timer_set(s->loop, &s->stall, loop_now_ms(s->loop) + STALL_MS);
        if (n > 0) {
            go_on(s);
        } /* else gateway_stream_ready comes */
    }
}

struct gateway_stream *gateway_stream_begin(struct http1_request *request, const ProtobufCMessageDescriptor *type,
                                            uint64_t length, struct call_source *source, void (*on_end)(void *owner),
                                            void *owner)
{
    struct gateway_stream *s = mem_zalloc(sizeof *s);
    *s = (struct gateway_stream){.request = request,
                                 .type = type,
                                 .source = source,
                                 .loop = request->loop,
                                 .left = length,
                                 .on_end = on_end,
                                 .owner = owner};
    request->state = s;
    request->on_abort = aborted;
    request->on_writable = writable;
    http1_stream_begin(request, 200, "application/json");
    loop_flush_init(&s->slice, run);
    s->stall.fire = stalled;
    loop_timer_set(s->loop, &s->stall, loop_now_ms(s->loop) + STALL_MS);
    go_on(s);
    return s;
}
