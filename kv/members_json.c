/* A reader and a writer for one shape of JSON. The reader takes any document that Go's would take for this shape: it
 * comes from other members through the log, and what it says must be the same on all. */
#include "kv/members_json.h"
#include "base/gojson.h"
#include "base/pb.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define DEPTH_MAX 64

struct reader {
    const uint8_t *at, *end;
    struct arena *arena;
    bool failed;
};

static bool fail(struct reader *r)
{
    r->failed = true;
    return false;
}

static int peek(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) {
        r->at++;
    }
    return r->at < r->end ? *r->at : -1;
}

static bool take(struct reader *r, char c)
{
    if (peek(r) != c) {
        return false;
    }
    r->at++;
    return true;
}

static bool take_word(struct reader *r, const char *word)
{
    size_t n = strlen(word);
    peek(r);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

/* --- strings --- */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int32_t take_hex4(struct reader *r)
{
    int32_t v = 0;
    if (r->end - r->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(*r->at++);
        if (digit < 0) {
            return -1;
        }
        v = v << 4 | digit;
    }
    return v;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (uint8_t)c;
    } else if (c < 0x800) {
        *out++ = (uint8_t)(0xc0 | c >> 6);
        *out++ = (uint8_t)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *out++ = (uint8_t)(0xe0 | c >> 12);
        *out++ = (uint8_t)(0x80 | (c >> 6 & 63));
        *out++ = (uint8_t)(0x80 | (c & 63));
    } else {
        *out++ = (uint8_t)(0xf0 | c >> 18);
        *out++ = (uint8_t)(0x80 | (c >> 12 & 63));
        *out++ = (uint8_t)(0x80 | (c >> 6 & 63));
        *out++ = (uint8_t)(0x80 | (c & 63));
    }
    return out;
}

/* Behind "\u". A high surrogate joins the low one that follows; a lone one becomes U+FFFD, as in Go. */
static bool take_unicode(struct reader *r, uint8_t **out)
{
    int32_t c = take_hex4(r);
    if (c < 0) {
        return false;
    }
    uint32_t code = (uint32_t)c;
    if (c >= 0xd800 && c < 0xe000) {
        code = 0xfffd;
        if (c < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
            struct reader ahead = *r;
            ahead.at += 2;
            int32_t low = take_hex4(&ahead);
            if (low >= 0xdc00 && low < 0xe000) {
                code = 0x10000 + ((uint32_t)(c - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
                r->at = ahead.at;
            }
        }
    }
    *out = put_utf8(*out, code);
    return true;
}

static bool take_escape(struct reader *r, uint8_t **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end) {
        return false;
    }
    uint8_t c = *r->at++;
    if (c == 'u') {
        return take_unicode(r, out);
    }
    const char *which = c == 0 ? NULL : strchr(from, c);
    if (which == NULL) {
        return false;
    }
    *(*out)++ = (uint8_t)to[which - from];
    return true;
}

/* Room for what stands up to the closing quote. Unescaping never makes a string longer, but a byte that is no UTF-8
 * becomes U+FFFD, three bytes. */
static size_t string_room(const struct reader *r)
{
    const uint8_t *p = r->at;
    size_t high = 0;
    while (p < r->end && *p != '"') {
        high += *p >= 0x80;
        p += *p == '\\' && r->end - p > 1 ? 2 : 1;
    }
    return (size_t)(p - r->at) + 2 * high;
}

/* A character outside of ASCII, the first byte of which was taken: U+FFFD for a byte that begins none, as Go reads it.
 */
static void take_high(struct reader *r, uint8_t **out)
{
    const uint8_t *first = r->at - 1;
    for (size_t n = 2; n <= 4 && n <= (size_t)(r->end - first); n++) {
        if (utf8_valid(bytes_of(first, n))) {
            memcpy(*out, first, n);
            *out += n;
            r->at += n - 1;
            return;
        }
    }
    *out = put_utf8(*out, 0xfffd);
}

/* A string without NUL in it: none of the fields can hold one. */
static char *take_string(struct reader *r)
{
    if (!take(r, '"')) {
        fail(r);
        return NULL;
    }
    uint8_t *text = arena_alloc(r->arena, string_room(r) + 1), *out = text;
    while (r->at < r->end && *r->at != '"') {
        uint8_t c = *r->at++;
        if (c < 0x20 || (c == '\\' && !take_escape(r, &out))) {
            fail(r);
            return NULL;
        }
        if (c >= 0x80) {
            take_high(r, &out);
        } else if (c != '\\') {
            *out++ = c;
        }
    }
    if (r->at == r->end || memchr(text, 0, (size_t)(out - text)) != NULL) {
        fail(r);
        return NULL;
    }
    r->at++;
    *out = 0;
    return (char *)text;
}

/* --- values --- */

static bool skip_scalar(struct reader *r)
{
    int c = peek(r);
    if (c == '"') {
        return take_string(r) != NULL;
    }
    if (take_word(r, "null") || take_word(r, "true") || take_word(r, "false")) {
        return true;
    }
    const uint8_t *start = r->at;
    while (r->at < r->end && (strchr("+-.eE", *r->at) != NULL || (*r->at >= '0' && *r->at <= '9')) && *r->at != 0) {
        r->at++;
    }
    return r->at > start || fail(r);
}

/* Skips a value of any kind; brackets are kept on a stack of bits. */
static bool skip_value(struct reader *r)
{
    uint64_t objects = 0;
    unsigned depth = 0;
    for (;;) {
        int c = peek(r);
        bool opened = c == '{' || c == '[';
        if (opened) {
            if (depth == DEPTH_MAX) {
                return fail(r);
            }
            r->at++;
            objects = objects << 1 | (c == '{');
            depth++;
        } else if (!skip_scalar(r)) {
            return false;
        }
        /* behind a value, or inside a bracket just opened: close what closes */
        bool first = opened;
        while (depth > 0 && take(r, objects & 1 ? '}' : ']')) {
            objects >>= 1;
            depth--;
            first = false;
        }
        if (depth == 0) {
            return true;
        }
        if (!first && !take(r, ',')) {
            return fail(r);
        }
        if ((objects & 1) && (take_string(r) == NULL || !take(r, ':'))) {
            return fail(r);
        }
    }
}

static bool take_bool(struct reader *r, bool *out)
{
    if (take_word(r, "null")) {
        return true;
    }
    bool yes = take_word(r, "true");
    if (!yes && !take_word(r, "false")) {
        return fail(r);
    }
    *out = yes;
    return true;
}

static bool take_id(struct reader *r, uint64_t *out)
{
    if (take_word(r, "null")) {
        return true;
    }
    uint64_t v = 0;
    peek(r);
    const uint8_t *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*r->at - '0'), &v)) {
            return fail(r);
        }
        r->at++;
    }
    *out = v;
    return r->at > start || fail(r);
}

static bool take_strings(struct reader *r, char *const **out, size_t *count, bool *null)
{
    *out = NULL;
    *count = 0;
    *null = take_word(r, "null");
    if (*null) {
        return true;
    }
    if (!take(r, '[')) {
        return fail(r);
    }
    size_t capacity = 0;
    char **list = NULL;
    if (take(r, ']')) {
        return true;
    }
    do {
        if (*count == capacity) {
            capacity = capacity == 0 ? 4 : capacity * 2;
            char **grown = arena_alloc(r->arena, capacity * sizeof list[0]);
            memcpy(grown, list == NULL ? grown : list, *count * sizeof list[0]);
            list = grown;
        }
        char *text = take_string(r);
        if (text == NULL) {
            return false;
        }
        list[(*count)++] = text;
    } while (take(r, ','));
    *out = list;
    return take(r, ']') || fail(r);
}

static bool take_member(struct reader *r, const char *name, struct members_json *out)
{
    struct kv_member *member = &out->member;
    bool null;
    if (strcasecmp(name, "id") == 0) {
        return take_id(r, &member->id);
    }
    if (strcasecmp(name, "peerURLs") == 0) {
        return take_strings(r, &member->peer_urls, &member->peer_url_count, &out->peer_urls_null);
    }
    if (strcasecmp(name, "clientURLs") == 0) {
        return take_strings(r, &member->client_urls, &member->client_url_count, &null);
    }
    if (strcasecmp(name, "isLearner") == 0) {
        return take_bool(r, &member->learner);
    }
    if (strcasecmp(name, "isPromote") == 0) {
        return take_bool(r, &out->is_promote);
    }
    if (strcasecmp(name, "name") != 0) {
        return skip_value(r);
    }
    if (!take_word(r, "null")) {
        member->name = take_string(r);
    }
    return member->name != NULL;
}

static bool take_object(struct reader *r, struct members_json *out)
{
    *out = (struct members_json){.member.name = "", .peer_urls_null = true};
    if (!take(r, '{')) {
        return false;
    }
    if (take(r, '}')) {
        return true;
    }
    do {
        char *name = take_string(r);
        if (name == NULL || !take(r, ':') || !take_member(r, name, out) || r->failed) {
            return false;
        }
    } while (take(r, ','));
    return take(r, '}');
}

int members_json_read(struct bytes text, struct arena *arena, struct members_json *out)
{
    struct reader r = {.at = text.data, .end = text.data + text.len, .arena = arena};
    return take_object(&r, out) && peek(&r) == -1 ? 0 : ERR_MALFORMED;
}

int members_json_read_list(struct bytes text, struct arena *arena, struct kv_member **out, size_t *count)
{
    struct reader r = {.at = text.data, .end = text.data + text.len, .arena = arena};
    size_t room = 1;
    for (size_t i = 0; i < text.len; i++) {
        room += text.data[i] == '{';
    }
    *out = arena_alloc(arena, room * sizeof **out);
    *count = 0;
    if (!take(&r, '[')) {
        return ERR_MALFORMED;
    }
    if (!take(&r, ']')) {
        do {
            struct members_json json;
            if (!take_object(&r, &json)) {
                return ERR_MALFORMED;
            }
            (*out)[(*count)++] = json.member;
        } while (take(&r, ','));
        if (!take(&r, ']')) {
            return ERR_MALFORMED;
        }
    }
    return peek(&r) == -1 ? 0 : ERR_MALFORMED;
}

/* --- writing --- */

static void put_strings(struct buffer *out, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, i == 0 ? "[" : ",", 1);
        gojson_string(out, bytes_str(texts[i]));
    }
    buffer_append(out, "]", 1);
}

void members_json_write(struct buffer *out, const struct kv_member *member)
{
    buffer_printf(out, "{\"id\":%llu,\"peerURLs\":", (unsigned long long)member->id);
    if (member->peer_url_count == 0) {
        buffer_printf(out, "null");
    } else {
        put_strings(out, member->peer_urls, member->peer_url_count);
    }
    if (member->learner) {
        buffer_printf(out, ",\"isLearner\":true");
    }
    if (member->name[0] != 0) {
        buffer_printf(out, ",\"name\":");
        gojson_string(out, bytes_str(member->name));
    }
    if (member->client_url_count > 0) {
        buffer_printf(out, ",\"clientURLs\":");
        put_strings(out, member->client_urls, member->client_url_count);
    }
    buffer_append(out, "}", 1);
}

void members_json_promote(struct buffer *out, uint64_t id)
{
    buffer_printf(out, "{\"id\":%llu,\"peerURLs\":null,\"isPromote\":true}", (unsigned long long)id);
}

void members_json_list(struct buffer *out, const struct kv_member *members, size_t count)
{
    buffer_append(out, "[", 1);
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, ",", i > 0);
        members_json_write(out, &members[i]);
    }
    buffer_append(out, "]", 1);
}
