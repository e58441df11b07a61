/* Byte strings: views that own nothing, and shared buffers with a reference count.
 *
 * A view (`struct bytes`) is valid as long as its owner says. A `struct shared` may be referenced from several threads:
 * the count is atomic, the content never changes after it was published. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){.data = (const uint8_t *)data, .len = len};
}

static inline struct bytes bytes_str(const char *text)
{
    return bytes_of(text, strlen(text));
}

/* Without its first n bytes. */
static inline struct bytes bytes_skip(struct bytes b, size_t n)
{
    return n == 0 ? b : bytes_of(b.data + n, b.len - n);
}

/* Order of plain unsigned bytes, a prefix before what it begins (the order of bbolt, LMDB and etcd). <0, 0, >0. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* A heap buffer with a reference count. Freed when the last reference is dropped, on whatever thread that is. */
struct shared {
    atomic_uint refs;
    size_t len;
    uint8_t data[];
};

/* A new buffer of len bytes (uninitialised) with one reference, the caller's. Never NULL: no memory ends the process.
 */
struct shared *shared_new(size_t len);
struct shared *shared_copy(struct bytes content);
struct shared *shared_ref(struct shared *buffer);
void shared_unref(struct shared *buffer); /* NULL is allowed */

static inline struct bytes shared_bytes(const struct shared *buffer)
{
    return buffer == NULL ? (struct bytes){0} : bytes_of(buffer->data, buffer->len);
}

/* A growing byte buffer of one owner. Zero-initialised is empty and valid. */
struct buffer {
    uint8_t *data;
    size_t len;
    size_t capacity;
};

/* Makes room for `extra` more bytes and returns where they begin (not yet counted in len). */
uint8_t *buffer_reserve(struct buffer *b, size_t extra);
void buffer_append(struct buffer *b, const void *data, size_t len);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *b, size_t len); /* drops the first len bytes */
void buffer_free(struct buffer *b);                /* leaves it empty and valid */

static inline struct bytes buffer_bytes(const struct buffer *b)
{
    return bytes_of(b->data, b->len);
}

/* Allocation that cannot fail: out of memory ends the process with a message (bounds keep it from happening). */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *old, size_t size);
char *mem_strdup(const char *text);
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Fixed-width integers in byte streams. */
static inline void put_be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, 8);
}

static inline uint64_t get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return v;
#else
    return __builtin_bswap64(v);
#endif
}

static inline void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, 8);
}

static inline uint64_t get_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

/* Protobuf varints. varint_put writes at most 10 bytes and returns how many. varint_get returns the number of bytes
 * read, or 0 when `in` ends too early or the varint is longer than 10 bytes or overflows 64 bits. */
size_t varint_put(uint8_t *p, uint64_t v);
size_t varint_get(struct bytes in, uint64_t *out);

static inline size_t varint_size(uint64_t v)
{
    return (size_t)((63 - __builtin_clzll(v | 1)) / 7 + 1);
}

#endif
