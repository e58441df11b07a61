#include "base/gojson.h"
#include "base/gotext.h"

static void escape_rune(struct buffer *out, uint32_t rune, struct bytes raw)
{
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    if (gotext_escape_named(out, rune, named)) {
        return;
    }
    if (rune < 0x20 || rune == '<' || rune == '>' || rune == '&' || rune == 0x2028 || rune == 0x2029) {
        buffer_printf(out, "\\u%04x", rune);
    } else {
        buffer_append(out, raw.data, raw.len);
    }
}

void gojson_string(struct buffer *out, struct bytes text)
{
    buffer_append(out, "\"", 1);
    for (size_t i = 0; i < text.len;) {
        uint32_t rune = 0;
        size_t len = gotext_decode_rune(bytes_of(text.data + i, text.len - i), &rune);
        if (len == 0) {
            buffer_printf(out, "\\ufffd");
            i++;
        } else {
            escape_rune(out, rune, bytes_of(text.data + i, len));
            i += len;
        }
    }
    buffer_append(out, "\"", 1);
}

void gojson_bytes(struct buffer *out, struct bytes content)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *p = buffer_reserve(out, content.len / 3 * 4 + 6), *start = p;
    *p++ = '"';
    for (size_t i = 0; i < content.len; i += 3) {
        size_t left = content.len - i;
        uint32_t group = (uint32_t)content.data[i] << 16 | (left > 1 ? (uint32_t)content.data[i + 1] << 8 : 0) |
                         (left > 2 ? content.data[i + 2] : 0);
        *p++ = (uint8_t)alphabet[group >> 18];
        *p++ = (uint8_t)alphabet[group >> 12 & 63];
        *p++ = left > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
        *p++ = left > 2 ? (uint8_t)alphabet[group & 63] : '=';
    }
    *p++ = '"';
    out->len += (size_t)(p - start);
}
