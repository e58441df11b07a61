#include "grpc/json_scan.h"

#include "base/error.h"

struct scan {
    const uint8_t *at, *end;
    struct arena *arena;
    const char *reason;
    unsigned depth;
    uint64_t objects[JSON_SCAN_DEPTH / 64 + 1]; /* bit d: is level d an object? */
};

/* --- what is wrong --- */

/* The byte as Go quotes a character: each byte above ASCII stands for the character of that number. */
static const char *quote(uint8_t c, struct arena *arena)
{
    static const char named[] = "\a\b\f\n\r\t\v", letters[] = "abfnrtv";
    const char *found = c != 0 ? strchr(named, c) : NULL;
    if (c == '\'' || c == '\\') {
        return arena_printf(arena, "'\\%c'", c);
    }
    if (found != NULL) {
        return arena_printf(arena, "'\\%c'", letters[found - named]);
    }
    if (c < 0x20 || c == 0x7f) {
        return arena_printf(arena, "'\\x%02x'", c);
    }
    if (c < 0x80) {
        return arena_printf(arena, "'%c'", c);
    }
    if (c <= 0xa0 || c == 0xad) {
        return arena_printf(arena, "'\\u%04x'", c);
    }
    return arena_printf(arena, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 63));
}

static bool fail(struct scan *s, const char *where)
{
    s->reason = s->at == s->end ? "unexpected EOF"
                                : arena_printf(s->arena, "invalid character %s %s", quote(*s->at, s->arena), where);
    return false;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r')) {
        s->at++;
    }
}

static bool next_is(struct scan *s, uint8_t c)
{
    skip_space(s);
    return s->at < s->end && *s->at == c;
}

/* --- scalars --- */

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool escape(struct scan *s)
{
    if (s->at == s->end || *s->at == 0 || strchr("\"\\/bfnrtu", *s->at) == NULL) {
        return fail(s, "in string escape code");
    }
    if (*s->at++ != 'u') {
        return true;
    }
    for (int i = 0; i < 4; i++, s->at++) {
        if (s->at == s->end || !is_hex(*s->at)) {
            return fail(s, "in \\u hexadecimal character escape");
        }
    }
    return true;
}

static bool string(struct scan *s)
{
    s->at++;
    while (s->at < s->end && *s->at != '"') {
        if (*s->at < 0x20) {
            return fail(s, "in string literal");
        }
        if (*s->at++ == '\\' && !escape(s)) {
            return false;
        }
    }
    if (s->at == s->end) {
        return fail(s, "");
    }
    s->at++;
    return true;
}

static bool digits(struct scan *s, const char *where)
{
    if (s->at == s->end || *s->at < '0' || *s->at > '9') {
        return fail(s, where);
    }
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return true;
}

static bool number(struct scan *s)
{
    if (*s->at == '-') {
        s->at++;
    }
    if (s->at < s->end && *s->at == '0') {
        s->at++;
    } else if (!digits(s, "in numeric literal")) {
        return false;
    }
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!digits(s, "after decimal point in numeric literal")) {
            return false;
        }
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) {
            s->at++;
        }
        return digits(s, "in exponent of numeric literal");
    }
    return true;
}

static bool literal(struct scan *s, const char *word)
{
    for (const char *p = word; *p != '\0'; p++, s->at++) {
        if (s->at == s->end || *s->at != (uint8_t)*p) {
            return fail(s, arena_printf(s->arena, "in literal %s (expecting %s)", word, quote((uint8_t)*p, s->arena)));
        }
    }
    return true;
}

/* --- objects and arrays, by a stack of bits --- */

static bool in_object(const struct scan *s)
{
    return s->objects[s->depth / 64] >> s->depth % 64 & 1;
}

static bool open(struct scan *s)
{
    uint64_t bit = (uint64_t)1 << (s->depth + 1) % 64;
    if (s->depth == JSON_SCAN_DEPTH) {
        return fail(s, "exceeded max depth");
    }
    s->depth++;
    s->objects[s->depth / 64] = (s->objects[s->depth / 64] & ~bit) | (*s->at == '{' ? bit : 0);
    s->at++;
    return true;
}

/* "name": of the next member */
static bool name(struct scan *s)
{
    if (!next_is(s, '"')) {
        return fail(s, "looking for beginning of object key string");
    }
    if (!string(s)) {
        return false;
    }
    if (!next_is(s, ':')) {
        return fail(s, "after object key");
    }
    s->at++;
    return true;
}

static bool scalar(struct scan *s)
{
    if (s->at < s->end) {
        switch (*s->at) {
        case '"':
            return string(s);
        case 't':
            return literal(s, "true");
        case 'f':
            return literal(s, "false");
        case 'n':
            return literal(s, "null");
        default:
            if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9')) {
                return number(s);
            }
        }
    }
    return fail(s, "looking for beginning of value");
}

/* What opens is followed by the begin of its first value; what has nothing in it is closed at once. */
static bool begin_value(struct scan *s)
{
    skip_space(s);
    while (s->at < s->end && (*s->at == '{' || *s->at == '[')) {
        if (!open(s)) {
            return false;
        }
        if (next_is(s, in_object(s) ? '}' : ']')) {
            s->at++;
            s->depth--;
            return true;
        }
        if (in_object(s) && !name(s)) {
            return false;
        }
        skip_space(s);
    }
    return scalar(s);
}

/* After a value: closes what ends, and says in *more whether another value comes. */
static bool after_value(struct scan *s, bool *more)
{
    *more = false;
    while (s->depth > 0) {
        if (next_is(s, ',')) {
            s->at++;
            *more = true;
            return !in_object(s) || name(s);
        }
        if (!next_is(s, in_object(s) ? '}' : ']')) {
            return fail(s, in_object(s) ? "after object key:value pair" : "after array element");
        }
        s->at++;
        s->depth--;
    }
    return true;
}

int json_scan(struct bytes text, struct arena *arena, size_t *length, const char **reason)
{
    *length = 0;
    if (text.len == 0) {
        return 0;
    }
    struct scan s = {.at = text.data, .end = text.data + text.len, .arena = arena};
    bool good = true;
    skip_space(&s);
    if (s.at == s.end) {
        return 0;
    }
    for (bool more = true; good && more;) {
        good = begin_value(&s) && after_value(&s, &more);
    }
    *length = (size_t)(s.at - text.data);
    *reason = s.reason;
    return good ? 0 : ERR_INVALID;
}
