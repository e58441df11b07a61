#include "grpc/json_value.h"

#include "base/pb.h"
#include <string.h>

/* --- strings --- */

static void put_utf8(struct buffer *out, uint32_t c)
{
    uint8_t b[4];
    size_t n = 0;
    if (c < 0x80) {
        b[n++] = (uint8_t)c;
    } else if (c < 0x800) {
        b[n++] = (uint8_t)(0xc0 | c >> 6);
        b[n++] = (uint8_t)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        b[n++] = (uint8_t)(0xe0 | c >> 12);
        b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        b[n++] = (uint8_t)(0x80 | (c & 63));
    } else {
        b[n++] = (uint8_t)(0xf0 | c >> 18);
        b[n++] = (uint8_t)(0x80 | (c >> 12 & 63));
        b[n++] = (uint8_t)(0x80 | (c >> 6 & 63));
        b[n++] = (uint8_t)(0x80 | (c & 63));
    }
    buffer_append(out, b, n);
}

static uint32_t hex4(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i] | 0x20;
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return v;
}

/* At "uXXXX". The second half of a pair is looked for up to `limit`, the end of the text. */
static enum json_string unicode(const uint8_t **at, const uint8_t *limit, struct buffer *out, struct bytes *escape)
{
    uint32_t c = hex4(*at + 1);
    *at += 5;
    if (c >= 0xd800 && c < 0xe000) {
        if (limit - *at < 6) {
            return JSON_STRING_SHORT;
        }
        *escape = bytes_of(*at, 6);
        if (c >= 0xdc00 || (*at)[0] != '\\' || (*at)[1] != 'u') {
            return JSON_STRING_SURROGATE;
        }
        uint32_t low = hex4(*at + 2);
        if (low < 0xdc00 || low > 0xdfff) {
            return JSON_STRING_SURROGATE;
        }
        *at += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(out, c);
    return JSON_STRING_OK;
}

enum json_string json_value_string(struct bytes quoted, struct buffer *out, struct bytes *escape)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const uint8_t *at = quoted.data + 1, *end = quoted.data + quoted.len - 1;
    size_t from = out->len;
    while (at < end) {
        const uint8_t *run = at;
        while (at < end && *at != '\\') {
            at++;
        }
        buffer_append(out, run, (size_t)(at - run));
        if (at == end) {
            break;
        }
        if (*++at != 'u') {
            buffer_append(out, &values[strchr(names, *at++) - names], 1);
            continue;
        }
        enum json_string result = unicode(&at, end, out, escape);
        if (result != JSON_STRING_OK) {
            return result;
        }
    }
    return out->len == from || utf8_valid(bytes_of(out->data + from, out->len - from)) ? JSON_STRING_OK
                                                                                       : JSON_STRING_NOT_UTF8;
}

/* --- base64 --- */

static int base64_digit(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == (url ? '-' : '+') ? 62 : c == (url ? '_' : '/') ? 63 : -1;
}

bool json_value_base64(uint8_t *data, size_t *len)
{
    bool url = *len > 0 && (memchr(data, '-', *len) != NULL || memchr(data, '_', *len) != NULL);
    size_t to = 0, digits = 0, padding = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < *len; i++) {
        if (data[i] == '\r' || data[i] == '\n') {
            continue;
        }
        if (data[i] == '=') {
            padding++;
            continue;
        }
        int digit = base64_digit(data[i], url);
        if (digit < 0 || padding > 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (digits++ % 4 != 0) {
            data[to++] = (uint8_t)(bits >> (6 - 2 * ((digits - 1) % 4)));
        }
    }
    bool padded = *len % 4 == 0;
    *len = to;
    return digits % 4 != 1 && padding == (padded ? (4 - digits % 4) % 4 : 0);
}

/* --- whole numbers --- */

struct number {
    bool negative;
    char digits[32]; /* without the point, without zeros at the front */
    size_t count;
    long exponent; /* value = digits x 10^exponent */
};

static bool ends_number(uint8_t c)
{
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z', digit = c >= '0' && c <= '9';
    return !letter && !digit && c != '-' && c != '+' && c != '.' && c != '_';
}

/* JSON's grammar of numbers; digits beyond what fits are refused, as no whole number of 64 bits has so many. */
static bool read_number(struct bytes text, struct number *out)
{
    const uint8_t *p = text.data, *end = p + text.len;
    *out = (struct number){0};
    out->negative = p < end && *p == '-';
    p += out->negative ? 1 : 0;
    if (p == end || *p < '0' || *p > '9' || (*p == '0' && p + 1 < end && p[1] >= '0' && p[1] <= '9')) {
        return false;
    }
    bool fraction = false;
    size_t zeros = 0; /* at the end so far: they count only if another digit follows */
    for (; p < end && ((*p >= '0' && *p <= '9') || (*p == '.' && !fraction)); p++) {
        if (*p == '.') {
            fraction = true;
            if (p + 1 == end || p[1] < '0' || p[1] > '9') {
                return false;
            }
            continue;
        }
        out->exponent -= fraction ? 1 : 0;
        if (*p == '0') {
            zeros += out->count > 0 ? 1 : 0;
            continue;
        }
        if (out->count + zeros >= sizeof out->digits) {
            return false;
        }
        memset(out->digits + out->count, '0', zeros);
        out->count += zeros;
        zeros = 0;
        out->digits[out->count++] = (char)*p;
    }
    out->exponent += (long)zeros;
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        bool minus = p < end && *p == '-';
        p += p < end && (*p == '-' || *p == '+') ? 1 : 0;
        if (p == end || *p < '0' || *p > '9') {
            return false;
        }
        long exponent = 0;
        for (; p < end && *p >= '0' && *p <= '9'; p++) {
            exponent = exponent < 100000 ? exponent * 10 + (*p - '0') : exponent;
        }
        out->exponent += minus ? -exponent : exponent;
    }
    return p == end || ends_number(*p);
}

bool json_value_integer(struct bytes text, bool is_signed, unsigned bits, uint64_t *out)
{
    struct number number;
    if (!read_number(text, &number)) {
        return false;
    }
    *out = 0;
    if (number.count == 0) {
        return true;
    }
    if (number.exponent < 0 || number.exponent > 20 || (number.negative && !is_signed)) {
        return false;
    }
    for (size_t i = 0; i < number.count + (size_t)number.exponent; i++) {
        uint64_t digit = i < number.count ? (uint64_t)(number.digits[i] - '0') : 0;
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, digit, out)) {
            return false;
        }
    }
    uint64_t limit = is_signed ? ((uint64_t)1 << (bits - 1)) - (number.negative ? 0 : 1) : UINT64_MAX >> (64 - bits);
    if (*out > limit) {
        return false;
    }
    *out = number.negative ? 0 - *out : *out;
    return true;
}
