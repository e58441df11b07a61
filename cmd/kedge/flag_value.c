/* From a flag's text to its value in the config. */
#include "base/gotext.h"
#include "cmd/kedge/flags.h"
#include <ctype.h>
#include <stdlib.h>

const char FLAG_UNSUPPORTED[] = "not supported by kedge yet";

/* A parsed value; which member counts follows from the flag's type. */
struct value {
    const char *text;
    bool truth;
    int64_t number;
    uint64_t natural;
    struct url_list urls;
    struct string_list strings;
};

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void parse_strings(struct arena *arena, const char *text, struct string_list *out)
{
    size_t room = 1;
    for (const char *p = text; *p != '\0'; p++) {
        room += *p == ',';
    }
    out->items = arena_alloc(arena, room * sizeof *out->items);
    out->count = 0;
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        out->items[out->count++] = arena_printf(arena, "%.*s", (int)len, p);
        p += len;
        if (*p == '\0') {
            break;
        }
    }
    qsort(out->items, out->count, sizeof *out->items, compare_texts);
    size_t kept = 1;
    for (size_t i = 1; i < out->count; i++) {
        if (strcmp(out->items[i], out->items[kept - 1]) != 0) {
            out->items[kept++] = out->items[i];
        }
    }
    out->count = kept;
}

static const char *parse_origins(struct arena *arena, const char *text, struct string_list *out)
{
    struct url_list urls;
    if (*text == '\0' || strcmp(text, "*") == 0) {
        parse_strings(arena, "*", out);
        return NULL;
    }
    const char *error = url_list_parse(arena, text, &urls);
    if (error == NULL) {
        parse_strings(arena, url_list_text(arena, &urls), out);
    }
    return error;
}

static bool is_allowed(const char *allowed, const char *word, size_t len)
{
    for (const char *p = allowed; *p != '\0';) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, word, len) == 0) {
            return true;
        }
        p += n + (p[n] == '|');
    }
    return false;
}

static const char *check_enums(struct arena *arena, const struct flag_info *flag, const char *text)
{
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        if (!is_allowed(flag->allowed, p, len)) {
            return arena_printf(arena, "invalid value %s",
                                gotext_quoted(arena, arena_printf(arena, "%.*s", (int)len, p)));
        }
        p += len;
        if (*p == '\0') {
            return NULL;
        }
    }
}

/* --- feature gates ------------------------------------------------------------------------------------------------ */

static const struct gate {
    const char *name;
    bool preset;
} gates[] = {
    {"AllAlpha", false},
    {"AllBeta", false},
    {"CompactHashCheck", false},
    {"FastLeaseKeepAlive", true},
    {"InitialCorruptCheck", false},
    {"LeaseCheckpoint", false},
    {"LeaseCheckpointPersist", false},
    {"PriorityRequest", false},
    {"SetMemberLocalAddr", false},
    {"StopGRPCServiceOnDefrag", false},
    {"TxnModeWriteWithSharedBuffer", true},
};

static const struct gate *find_gate(const char *name)
{
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        if (strcmp(gates[i].name, name) == 0) {
            return &gates[i];
        }
    }
    return NULL;
}

static char *trimmed(struct arena *arena, const char *text, size_t len)
{
    while (len > 0 && isspace((unsigned char)*text)) {
        text++;
        len--;
    }
    while (len > 0 && isspace((unsigned char)text[len - 1])) {
        len--;
    }
    return arena_printf(arena, "%.*s", (int)len, text);
}

/* One "Name=bool". A gate may be given the state that it has, no other. */
static const char *check_gate(struct arena *arena, const char *text, size_t len)
{
    bool on;
    const char *equals = memchr(text, '=', len);
    if (equals == NULL) {
        return arena_printf(arena, "missing bool value for %s", trimmed(arena, text, len));
    }
    const char *name = trimmed(arena, text, (size_t)(equals - text));
    const char *state = trimmed(arena, equals + 1, len - (size_t)(equals + 1 - text));
    const char *error = gotext_bool(arena, state, &on);
    if (error != NULL) {
        return arena_printf(arena, "invalid value of %s=%s, err: %s", name, state, error);
    }
    const struct gate *gate = find_gate(name);
    if (gate == NULL) {
        return arena_printf(arena, "unrecognized feature gate: %s", name);
    }
    return on == gate->preset ? NULL : arena_printf(arena, "%s: %s", name, FLAG_UNSUPPORTED);
}

static const char *check_gates(struct arena *arena, const char *text)
{
    for (const char *p = text; *p != '\0'; p += *p == ',') {
        size_t len = strcspn(p, ",");
        const char *error = len == 0 ? NULL : check_gate(arena, p, len);
        if (error != NULL) {
            return error;
        }
        p += len;
    }
    return NULL;
}

/* --- any flag ----------------------------------------------------------------------------------------------------- */

/* Package flag says only "parse error" or "value out of range" about numbers. */
static const char *shorten(const char *error)
{
    if (error == NULL) {
        return NULL;
    }
    return gotext_is_range_error(error) ? "value out of range" : "parse error";
}

static const char *parse_value(struct arena *arena, const struct flag_info *flag, const char *text, struct value *out)
{
    *out = (struct value){.text = arena_printf(arena, "%s", text)};
    switch (flag->type) {
    case FLAG_BOOL:
        return shorten(gotext_bool(arena, text, &out->truth));
    case FLAG_INT:
        return shorten(gotext_int(arena, text, 0, 64, &out->number));
    case FLAG_UINT:
        return shorten(gotext_uint(arena, text, 0, 64, &out->natural));
    case FLAG_UINT32:
        return gotext_uint(arena, text, 0, 32, &out->natural);
    case FLAG_DURATION:
        return shorten(gotext_duration(arena, text, &out->number));
    case FLAG_URLS:
        return *text == '\0' ? NULL : url_list_parse(arena, text, &out->urls);
    case FLAG_ORIGINS:
        return parse_origins(arena, text, &out->strings);
    case FLAG_STRINGS:
        parse_strings(arena, text, &out->strings);
        return NULL;
    case FLAG_ENUM:
        return is_allowed(flag->allowed, text, strlen(text)) ? NULL : "invalid value";
    case FLAG_ENUMS:
        return *text == '\0' ? NULL : check_enums(arena, flag, text);
    case FLAG_GATES:
        return check_gates(arena, text);
    case FLAG_STRING:
    case FLAG_IGNORED:
        return NULL;
    }
    return NULL;
}

static bool same_value(const struct flag_info *flag, const struct value *a, const struct value *b)
{
    switch (flag->type) {
    case FLAG_BOOL:
        return a->truth == b->truth;
    case FLAG_INT:
    case FLAG_DURATION:
        return a->number == b->number;
    case FLAG_UINT:
    case FLAG_UINT32:
        return a->natural == b->natural;
    case FLAG_URLS:
        return url_list_equal(&a->urls, &b->urls);
    case FLAG_GATES: /* checked one by one */
        return true;
    default:
        return strcmp(a->text, b->text) == 0;
    }
}

static void store_value(struct config *c, const struct flag_info *flag, const struct value *value)
{
    void *field = (char *)c + flag->field;
    switch (flag->type) {
    case FLAG_BOOL:
        *(bool *)field = value->truth;
        break;
    case FLAG_INT:
    case FLAG_DURATION:
        *(int64_t *)field = value->number;
        break;
    case FLAG_UINT:
    case FLAG_UINT32:
        *(uint64_t *)field = value->natural;
        break;
    case FLAG_URLS: /* an empty text, as of a script's variable that is not set, leaves what there was */
        if (*value->text != '\0') {
            *(struct url_list *)field = value->urls;
        }
        break;
    case FLAG_ORIGINS:
    case FLAG_STRINGS:
        *(struct string_list *)field = value->strings;
        break;
    default:
        *(const char **)field = value->text;
        break;
    }
}

const char *flags_set(struct config *c, const struct flag_info *flag, const char *text)
{
    struct value value, preset;
    const char *error = parse_value(&c->arena, flag, text, &value);
    if (error != NULL) {
        return error;
    }
    if (flag->state == FLAG_LATER) {
        parse_value(&c->arena, flag, flag->preset, &preset);
        return same_value(flag, &value, &preset) ? NULL : FLAG_UNSUPPORTED;
    }
    if (flag->field != FLAG_NO_FIELD) {
        store_value(c, flag, &value);
    }
    return NULL;
}

void flags_set_defaults(struct config *c)
{
    for (size_t i = 0; i < flag_count; i++) {
        if (flag_table[i].state != FLAG_LATER) {
            flags_set(c, &flag_table[i], flag_table[i].preset);
        }
    }
}
