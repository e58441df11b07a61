#include "grpc/text.h"
#include "base/error.h"
#include "base/gotext.h"
#include <inttypes.h>
#include <stdio.h>

static uint64_t unit_ns(uint8_t unit)
{
    switch (unit) {
    case 'H':
        return 3600u * 1000000000ull;
    case 'M':
        return 60u * 1000000000ull;
    case 'S':
        return 1000000000ull;
    case 'm':
        return 1000000;
    case 'u':
        return 1000;
    case 'n':
        return 1;
    default:
        return 0;
    }
}

int text_timeout(struct bytes value, uint64_t *timeout_ns)
{
    if (value.len < 2 || value.len > 9) {
        return ERR_INVALID;
    }
    uint64_t unit = unit_ns(value.data[value.len - 1]);
    uint64_t number = 0;
    for (size_t i = 0; i + 1 < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9') {
            return ERR_INVALID;
        }
        number = number * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (unit == 0) {
        return ERR_INVALID;
    }
    uint64_t most = (uint64_t)INT64_MAX / unit; /* 99999999H is more than Go's Duration: it takes the longest */
    *timeout_ns = number > most ? (uint64_t)INT64_MAX : number * unit;
    return 0;
}

size_t text_put_timeout(char *out, uint64_t timeout_ms)
{
    const struct {
        uint64_t ms;
        char unit;
    } units[] = {{1, 'm'}, {1000, 'S'}, {60000, 'M'}, {3600000, 'H'}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        uint64_t number = (timeout_ms + units[i].ms - 1) / units[i].ms;
        if (number <= 99999999) {
            return (size_t)snprintf(out, 11, "%" PRIu64 "%c", number, units[i].unit);
        }
    }
    return (size_t)snprintf(out, 11, "99999999H");
}

static bool plain(uint8_t c)
{
    return c >= ' ' && c <= '~' && c != '%';
}

struct bytes text_percent_encode(struct bytes text, struct arena *arena)
{
    size_t escapes = 0;
    for (size_t i = 0; i < text.len; i++) {
        escapes += !plain(text.data[i]);
    }
    if (escapes == 0) {
        return text;
    }
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *out = arena_alloc(arena, text.len + 2 * escapes);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (plain(c)) {
            out[n++] = c;
        } else {
            out[n++] = '%';
            out[n++] = (uint8_t)digits[c >> 4];
            out[n++] = (uint8_t)digits[c & 15];
        }
    }
    return bytes_of(out, n);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (uint8_t)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct bytes text_percent_decode(struct bytes text, struct arena *arena)
{
    if (text.len == 0 || memchr(text.data, '%', text.len) == NULL) {
        return text;
    }
    uint8_t *out = arena_alloc(arena, text.len);
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '%' && i + 2 < text.len) {
            int high = hex_digit(text.data[i + 1]);
            int low = hex_digit(text.data[i + 2]);
            if (high >= 0 && low >= 0) {
                out[n++] = (uint8_t)(high << 4 | low);
                i += 2;
                continue;
            }
        }
        out[n++] = text.data[i];
    }
    return bytes_of(out, n);
}

struct bytes text_quote(struct bytes text, struct arena *arena)
{
    struct buffer quoted = {0};
    gotext_quote(&quoted, text);
    struct bytes copy = arena_copy(arena, buffer_bytes(&quoted));
    buffer_free(&quoted);
    return copy;
}

/* --- binary metadata --- */

static bool base64_byte(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '+' || c == '/';
}

/* Padding begins at `at`: right if it is one or two '=' that fill the last four characters. */
static ssize_t padding_fault(struct bytes value, size_t at)
{
    if (at % 4 < 2 || (at % 4 == 2 && value.data[at + 1] != '=')) {
        return (ssize_t)at;
    }
    size_t behind = at + 4 - at % 4;
    return behind < value.len ? (ssize_t)behind : -1;
}

ssize_t text_binary_fault(struct bytes value)
{
    bool padded = value.len % 4 == 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!base64_byte(value.data[i])) {
            return padded && value.data[i] == '=' ? padding_fault(value, i) : (ssize_t)i;
        }
    }
    return value.len % 4 == 1 ? (ssize_t)value.len - 1 : -1;
}
