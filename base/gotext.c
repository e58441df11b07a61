#include "base/gotext.h"
#include "base/unicode_print.h"
#include <stdlib.h>

#define RANGE_TEXT "value out of range"

static const char *number_error(struct arena *arena, const char *function, const char *text, const char *reason)
{
    return arena_printf(arena, "strconv.%s: parsing %s: %s", function, gotext_quoted(arena, text), reason);
}

bool gotext_is_range_error(const char *error)
{
    size_t len = strlen(error);
    return len >= strlen(RANGE_TEXT) && strcmp(error + len - strlen(RANGE_TEXT), RANGE_TEXT) == 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* Base 0: finds the base by the prefix and steps over it. A lone "0" stays a decimal digit. */
static const char *skip_base_prefix(const char *digits, int *base)
{
    *base = 10;
    if (digits[0] != '0' || digits[1] == '\0') {
        return digits;
    }
    switch (digits[1] | 0x20) {
    case 'x':
        *base = 16;
        return digits + 2;
    case 'o':
        *base = 8;
        return digits + 2;
    case 'b':
        *base = 2;
        return digits + 2;
    default:
        *base = 8;
        return digits + 1;
    }
}

enum number_fault { NUMBER_OK, NUMBER_SYNTAX, NUMBER_RANGE };

/* The digits of a number without a sign, up to the first thing that is wrong. In base 0 one underscore may stand
 * between two of them, and behind the prefix; that they stand well is looked at last. */
static enum number_fault parse_digits(const char *text, int base, int bits, uint64_t *out)
{
    uint64_t value = 0, max = UINT64_MAX >> (64 - bits);
    const char *digits = base == 0 ? skip_base_prefix(text, &base) : NULL;
    bool spaced = digits != NULL, may_space = spaced && digits != text, astray = false;
    text = spaced ? digits : text;
    if (*text == '\0') {
        return NUMBER_SYNTAX;
    }
    for (; *text != '\0'; text++) {
        if (spaced && *text == '_') {
            astray |= !may_space;
            may_space = false;
            continue;
        }
        int digit = digit_value(*text);
        if (digit >= base) {
            return NUMBER_SYNTAX;
        }
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value) || value > max) {
            return NUMBER_RANGE;
        }
        may_space = true;
    }
    *out = value;
    return may_space && !astray ? NUMBER_OK : NUMBER_SYNTAX;
}

const char *gotext_uint(struct arena *arena, const char *text, int base, int bits, uint64_t *out)
{
    uint64_t value = 0;
    enum number_fault fault = parse_digits(text, base, bits, &value);
    if (fault != NUMBER_OK) {
        return number_error(arena, "ParseUint", text, fault == NUMBER_SYNTAX ? "invalid syntax" : RANGE_TEXT);
    }
    *out = value;
    return NULL;
}

const char *gotext_int(struct arena *arena, const char *text, int base, int bits, int64_t *out)
{
    uint64_t magnitude = 0;
    bool negative = text[0] == '-';
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    enum number_fault fault = parse_digits(digits, base, bits, &magnitude);
    uint64_t limit = UINT64_C(1) << (bits - 1);
    if (fault == NUMBER_OK && (negative ? magnitude > limit : magnitude >= limit)) {
        fault = NUMBER_RANGE;
    }
    if (fault != NUMBER_OK) {
        return number_error(arena, "ParseInt", text, fault == NUMBER_SYNTAX ? "invalid syntax" : RANGE_TEXT);
    }
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return NULL;
}

const char *gotext_bool(struct arena *arena, const char *text, bool *out)
{
    static const char *const words[] = {"1", "t", "T", "true",  "TRUE",  "True",
                                        "0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < 12; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i < 6;
            return NULL;
        }
    }
    return number_error(arena, "ParseBool", text, "invalid syntax");
}

/* --- durations ---------------------------------------------------------------------------------------------------- */

static const struct unit {
    const char *name;
    uint64_t ns;
} units[] = {
    {"ns", 1},       {"us", 1000},      {"\u00b5s", 1000},  {"\u03bcs", 1000},
    {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000},
};

static const char *duration_error(struct arena *arena, const char *what, const char *text)
{
    return arena_printf(arena, "time: %s duration %s", what, gotext_quoted(arena, text));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const struct unit *find_unit(struct bytes name)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (bytes_equal(name, bytes_str(units[i].name))) {
            return &units[i];
        }
    }
    return NULL;
}

struct decimal {
    uint64_t whole;
    uint64_t fraction;
    double scale; /* of the fraction */
};

/* One number such as "1", "1.5" or ".5". False when there is none or it is too large. */
static bool parse_decimal(const char **cursor, struct decimal *out)
{
    const char *p = *cursor;
    bool digits = false;
    *out = (struct decimal){.scale = 1};
    for (; is_digit(*p); p++, digits = true) {
        if (__builtin_mul_overflow(out->whole, UINT64_C(10), &out->whole) ||
            __builtin_add_overflow(out->whole, (uint64_t)(*p - '0'), &out->whole) || out->whole > UINT64_C(1) << 63) {
            return false;
        }
    }
    if (*p == '.') {
        for (p++; is_digit(*p); p++, digits = true) {
            if (out->fraction < INT64_MAX / 10 - 9) { /* further digits are below a nanosecond */
                out->fraction = out->fraction * 10 + (uint64_t)(*p - '0');
                out->scale *= 10;
            }
        }
    }
    *cursor = p;
    return digits;
}

/* Adds one "number unit" pair to the total. */
static const char *parse_part(struct arena *arena, const char *text, const char **cursor, uint64_t *total)
{
    struct decimal number;
    if (!parse_decimal(cursor, &number)) {
        return duration_error(arena, "invalid", text);
    }
    size_t len = strcspn(*cursor, ".0123456789");
    if (len == 0) {
        return duration_error(arena, "missing unit in", text);
    }
    struct bytes name = bytes_of(*cursor, len);
    const struct unit *unit = find_unit(name);
    if (unit == NULL) {
        char *copy = arena_printf(arena, "%.*s", (int)len, *cursor);
        return arena_printf(arena, "time: unknown unit %s in duration %s", gotext_quoted(arena, copy),
                            gotext_quoted(arena, text));
    }
    uint64_t part;
    if (__builtin_mul_overflow(number.whole, unit->ns, &part) || part > UINT64_C(1) << 63) {
        return duration_error(arena, "invalid", text);
    }
    part += (uint64_t)((double)number.fraction * ((double)unit->ns / number.scale));
    if (part > UINT64_C(1) << 63 || (*total += part) > UINT64_C(1) << 63) {
        return duration_error(arena, "invalid", text);
    }
    *cursor += len;
    return NULL;
}

const char *gotext_duration(struct arena *arena, const char *text, int64_t *out_ns)
{
    const char *p = text;
    bool negative = *p == '-';
    uint64_t total = 0;
    p += *p == '-' || *p == '+';
    if (strcmp(p, "0") == 0) {
        *out_ns = 0;
        return NULL;
    }
    if (*p == '\0') {
        return duration_error(arena, "invalid", text);
    }
    while (*p != '\0') {
        const char *error = parse_part(arena, text, &p, &total);
        if (error != NULL) {
            return error;
        }
    }
    if (total > INT64_MAX && !(negative && total == UINT64_C(1) << 63)) {
        return duration_error(arena, "invalid", text);
    }
    *out_ns = negative ? (int64_t)(0 - total) : (int64_t)total;
    return NULL;
}

/* Appends value / 10^digits without trailing zeros in the fraction. */
static void print_fraction(struct buffer *out, uint64_t value, int digits)
{
    uint64_t power = 1;
    for (int i = 0; i < digits; i++) {
        power *= 10;
    }
    buffer_printf(out, "%llu", (unsigned long long)(value / power));
    uint64_t fraction = value % power;
    if (fraction == 0) {
        return;
    }
    for (; fraction % 10 == 0; digits--) {
        fraction /= 10;
    }
    buffer_printf(out, ".%0*llu", digits, (unsigned long long)fraction);
}

void gotext_print_duration(struct buffer *out, int64_t ns)
{
    uint64_t rest = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (ns == 0) {
        buffer_append(out, "0s", 2);
        return;
    }
    if (ns < 0) {
        buffer_append(out, "-", 1);
    }
    if (rest < 1000) {
        buffer_printf(out, "%lluns", (unsigned long long)rest);
    } else if (rest < 1000000) {
        print_fraction(out, rest, 3);
        buffer_printf(out, "\u00b5s");
    } else if (rest < 1000000000) {
        print_fraction(out, rest, 6);
        buffer_printf(out, "ms");
    } else {
        uint64_t hours = rest / 3600000000000, minutes = rest / 60000000000 % 60;
        if (hours > 0) {
            buffer_printf(out, "%lluh", (unsigned long long)hours);
        }
        if (hours > 0 || minutes > 0) {
            buffer_printf(out, "%llum", (unsigned long long)minutes);
        }
        print_fraction(out, rest % 60000000000, 9);
        buffer_printf(out, "s");
    }
}

/* --- quoting ------------------------------------------------------------------------------------------------------ */

size_t gotext_decode_rune(struct bytes text, uint32_t *rune)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.data[0];
    size_t len = first < 0x80 ? 1 : first >= 0xf0 && first < 0xf8 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 0;
    if (len == 0 || first >= 0xf8 || text.len < len) {
        return 0;
    }
    uint32_t value = len == 1 ? first : first & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text.data[i] & 0x3f);
    }
    if (value < smallest[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
        return 0;
    }
    *rune = value;
    return len;
}

bool gotext_is_print(uint32_t rune)
{
    if (rune < 0x7f) {
        return rune >= 0x20;
    }
    size_t low = 0, high = unicode_print_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (unicode_print[middle].last < rune) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < unicode_print_count && unicode_print[low].first <= rune;
}

bool gotext_escape_named(struct buffer *out, uint32_t rune, const char *named)
{
    for (const char *n = named; *n != '\0'; n += 2) {
        if (rune == (uint32_t)*n) {
            buffer_printf(out, "\\%c", n[1]);
            return true;
        }
    }
    return false;
}

static void quote_rune(struct buffer *out, uint32_t rune, struct bytes raw)
{
    static const char named[] = "\aa\bb\ff\nn\rr\tt\vv\"\"\\\\";
    if (gotext_escape_named(out, rune, named)) {
        return;
    }
    if (gotext_is_print(rune)) {
        buffer_append(out, raw.data, raw.len);
    } else if (rune < 0x20 || rune == 0x7f) {
        buffer_printf(out, "\\x%02x", rune);
    } else {
        buffer_printf(out, rune < 0x10000 ? "\\u%04x" : "\\U%08x", rune);
    }
}

void gotext_quote(struct buffer *out, struct bytes text)
{
    buffer_append(out, "\"", 1);
    for (size_t i = 0; i < text.len;) {
        uint32_t rune = 0;
        size_t len = gotext_decode_rune(bytes_of(text.data + i, text.len - i), &rune);
        if (len == 0) {
            buffer_printf(out, "\\x%02x", text.data[i]);
            i++;
        } else {
            quote_rune(out, rune, bytes_of(text.data + i, len));
            i += len;
        }
    }
    buffer_append(out, "\"", 1);
}

const char *gotext_quoted(struct arena *arena, const char *text)
{
    struct buffer quoted = {0};
    gotext_quote(&quoted, bytes_str(text));
    char *copy = arena_printf(arena, "%.*s", (int)quoted.len, (const char *)quoted.data);
    buffer_free(&quoted);
    return copy;
}
