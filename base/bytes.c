#include "base/bytes.h"
#include "base/check.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- allocation that cannot fail ---------------------------------------------------------------------------------- */

void *mem_alloc(size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);
    CHECK(p != NULL, "out of memory (%zu bytes)", size);
    return p;
}

void *mem_zalloc(size_t size)
{
    void *p = calloc(1, size == 0 ? 1 : size);
    CHECK(p != NULL, "out of memory (%zu bytes)", size);
    return p;
}

void *mem_realloc(void *old, size_t size)
{
    void *p = realloc(old, size == 0 ? 1 : size);
    CHECK(p != NULL, "out of memory (%zu bytes)", size);
    return p;
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(mem_alloc(size), text, size);
}

char *mem_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    va_end(args);
    CHECK(n >= 0, "out of memory (format %s)", format);
    return text;
}

/* --- shared buffers ----------------------------------------------------------------------------------------------- */

struct shared *shared_new(size_t len)
{
    CHECK(len <= SIZE_MAX / 2);
    struct shared *buffer = mem_alloc(sizeof *buffer + len);
    atomic_init(&buffer->refs, 1);
    buffer->len = len;
    return buffer;
}

struct shared *shared_copy(struct bytes content)
{
    struct shared *buffer = shared_new(content.len);
    if (content.len > 0) {
        memcpy(buffer->data, content.data, content.len);
    }
    return buffer;
}

struct shared *shared_ref(struct shared *buffer)
{
    unsigned before = atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
    CHECK(before > 0 && before < UINT_MAX);
    return buffer;
}

void shared_unref(struct shared *buffer)
{
    if (buffer == NULL) {
        return;
    }
    /* Release what this thread did with the content, acquire what the others did, before it is freed. */
    unsigned before = atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel);
    CHECK(before > 0);
    if (before == 1) {
        free(buffer);
    }
}

/* --- growing buffers ---------------------------------------------------------------------------------------------- */

uint8_t *buffer_reserve(struct buffer *b, size_t extra)
{
    if (extra > b->capacity - b->len || b->data == NULL) {
        CHECK(extra <= SIZE_MAX / 4 && b->len <= SIZE_MAX / 4);
        size_t capacity = b->capacity < 64 ? 64 : b->capacity * 2;
        if (capacity < b->len + extra) {
            capacity = b->len + extra;
        }
        b->data = mem_realloc(b->data, capacity);
        b->capacity = capacity;
    }
    return b->data + b->len;
}

void buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(buffer_reserve(b, len), data, len);
        b->len += len;
    }
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    uint8_t *room = buffer_reserve(b, 64);
    int n = vsnprintf((char *)room, b->capacity - b->len, format, args);
    va_end(args);
    CHECK(n >= 0, "bad format: %s", format);
    if ((size_t)n >= b->capacity - b->len) {
        room = buffer_reserve(b, (size_t)n + 1);
        vsnprintf((char *)room, (size_t)n + 1, format, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

void buffer_consume(struct buffer *b, size_t len)
{
    CHECK(len <= b->len);
    b->len -= len;
    if (b->len > 0 && len > 0) {
        memmove(b->data, b->data + len, b->len);
    }
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

/* --- varints ------------------------------------------------------------------------------------------------------ */

size_t varint_put(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

size_t varint_get(struct bytes in, uint64_t *out)
{
    uint64_t v = 0;
    size_t limit = in.len < 10 ? in.len : 10;
    for (size_t i = 0; i < limit; i++) {
        uint8_t byte = in.data[i];
        if (i == 9 && byte > 1) {
            return 0; /* more than 64 bits */
        }
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = v;
            return i + 1;
        }
    }
    return 0;
}
