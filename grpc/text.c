#include "grpc/text.h"
#include "base/error.h"
#include "base/pb.h"
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

/* The escape of one byte as strconv.Quote writes it, into out (at most 4 bytes); 0 = as it is. */
static size_t quote_byte(uint8_t c, bool text_is_utf8, char *out)
{
    static const char named[] = "\a\b\f\n\r\t\v\"\\";
    static const char names[] = "abfnrtv\"\\";
    const char *at = c == 0 ? NULL : strchr(named, c);
    if (at != NULL) {
        out[0] = '\\';
        out[1] = names[at - named];
        return 2;
    }
    if (c >= ' ' && c != 0x7f && (c < 0x80 || text_is_utf8)) {
        return 0;
    }
    return (size_t)snprintf(out, 5, "\\x%02x", c);
}

struct bytes text_quote(struct bytes text, struct arena *arena)
{
    bool utf8 = utf8_valid(text);
    uint8_t *out = arena_alloc(arena, text.len * 4 + 2);
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < text.len; i++) {
        char escape[5];
        size_t len = quote_byte(text.data[i], utf8, escape);
        if (len == 0) {
            out[n++] = text.data[i];
        } else {
            memcpy(out + n, escape, len);
            n += len;
        }
    }
    out[n++] = '"';
    return bytes_of(out, n);
}
