/* The target of a downgrade as etcd's clients may write it: a version as go-semver reads it, or such a one without its
 * last number. */
#include "kv/version.h"

#include <ctype.h>
#include <stdlib.h>

/* What stands behind the first `mark` is a name of letters, digits, '-' and '.', or empty; it is cut off. */
static bool cut_off(struct bytes *text, char mark)
{
    const uint8_t *at = text->len == 0 ? NULL : memchr(text->data, mark, text->len);
    if (at == NULL) {
        return true;
    }
    size_t len = (size_t)(at - text->data);
    for (size_t i = len + 1; i < text->len; i++) {
        if (!isalnum(text->data[i]) && text->data[i] != '-' && text->data[i] != '.') {
            return false;
        }
    }
    text->len = len;
    return true;
}

static bool take_number(struct bytes *text, int64_t *out)
{
    size_t n = 0;
    int64_t value = 0;
    for (; n < text->len && isdigit(text->data[n]); n++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text->data[n] - '0', &value)) {
            return false;
        }
    }
    *text = bytes_skip(*text, n);
    *out = value;
    return n > 0;
}

static bool take_dot(struct bytes *text)
{
    if (text->len == 0 || text->data[0] != '.') {
        return false;
    }
    *text = bytes_skip(*text, 1);
    return true;
}

static bool parse_whole(const char *version, int64_t *major, int64_t *minor)
{
    struct bytes text = bytes_str(version);
    int64_t patch;
    return cut_off(&text, '+') && cut_off(&text, '-') && take_number(&text, major) && take_dot(&text) &&
           take_number(&text, minor) && take_dot(&text) && take_number(&text, &patch) && text.len == 0;
}

bool version_parse_target(const char *text, int64_t *major, int64_t *minor)
{
    if (parse_whole(text, major, minor)) {
        return true;
    }
    char *longer = mem_printf("%s.0", text);
    bool good = parse_whole(longer, major, minor);
    free(longer);
    return good;
}
