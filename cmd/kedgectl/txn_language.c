/* The language of txn's standard input: words and quotes as Go's Sscanf and strconv read them, compares, operations. */
#include "base/gotext.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/session.h"
#include <ctype.h>

/* --- quoted texts ------------------------------------------------------------------------------------------------- */

static void append_rune(struct buffer *out, uint32_t rune)
{
    uint8_t bytes[4];
    size_t len = 1;
    if (rune < 0x80) {
        bytes[0] = (uint8_t)rune;
    } else if (rune < 0x800) {
        bytes[0] = (uint8_t)(0xc0 | rune >> 6);
        bytes[1] = (uint8_t)(0x80 | (rune & 0x3f));
        len = 2;
    } else if (rune < 0x10000) {
        bytes[0] = (uint8_t)(0xe0 | rune >> 12);
        bytes[1] = (uint8_t)(0x80 | (rune >> 6 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (rune & 0x3f));
        len = 3;
    } else {
        bytes[0] = (uint8_t)(0xf0 | rune >> 18);
        bytes[1] = (uint8_t)(0x80 | (rune >> 12 & 0x3f));
        bytes[2] = (uint8_t)(0x80 | (rune >> 6 & 0x3f));
        bytes[3] = (uint8_t)(0x80 | (rune & 0x3f));
        len = 4;
    }
    buffer_append(out, bytes, len);
}

/* `digits` digits of the base at *p. */
static bool read_digits(const char **p, int digits, uint32_t base, uint32_t *out)
{
    *out = 0;
    for (; digits > 0; digits--, (*p)++) {
        uint32_t digit = isdigit((unsigned char)**p)    ? (uint32_t)(**p - '0')
                         : isxdigit((unsigned char)**p) ? (uint32_t)(tolower((unsigned char)**p) - 'a' + 10)
                                                        : 99;
        if (digit >= base) {
            return false;
        }
        *out = *out * base + digit;
    }
    return true;
}

/* The escape after a backslash. */
static bool read_escape(const char **p, struct buffer *out)
{
    static const char named[] = "a\ab\bf\fn\nr\rt\tv\v\\\\\"\"";
    char c = *(*p)++;
    uint32_t value;
    for (const char *n = named; *n != '\0'; n += 2) {
        if (c == *n) {
            buffer_append(out, n + 1, 1);
            return true;
        }
    }
    if (c >= '0' && c <= '7') {
        (*p)--;
        c = 'o';
    }
    int digits = c == 'x' ? 2 : c == 'o' ? 3 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0 || !read_digits(p, digits, c == 'o' ? 8 : 16, &value)) {
        return false;
    }
    if (c == 'u' || c == 'U') {
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
            return false;
        }
        append_rune(out, value);
        return true;
    }
    uint8_t byte = (uint8_t)value;
    buffer_append(out, &byte, 1);
    return value <= 0xff;
}

static bool read_double_quoted(const char **p, struct buffer *out)
{
    for ((*p)++; **p != '"';) {
        if (**p == '\0' || **p == '\n') {
            return false;
        }
        if (**p != '\\') {
            buffer_append(out, (*p)++, 1);
            continue;
        }
        (*p)++;
        if (**p == '\0' || !read_escape(p, out)) {
            return false;
        }
    }
    (*p)++;
    return true;
}

bool ops_unquote(struct arena *arena, const char **cursor, struct bytes *out)
{
    struct buffer text = {0};
    bool good = false;
    if (**cursor == '"') {
        good = read_double_quoted(cursor, &text);
    } else if (**cursor == '`') {
        const char *end = strchr(*cursor + 1, '`');
        if (end != NULL) {
            buffer_append(&text, *cursor + 1, (size_t)(end - *cursor - 1));
            *cursor = end + 1;
            good = true;
        }
    }
    buffer_append(&text, "", 1); /* a zero after it, for those who take it as a C string */
    *out = good ? arena_copy(arena, buffer_bytes(&text)) : (struct bytes){0};
    out->len -= good;
    buffer_free(&text);
    return good;
}

/* --- words -------------------------------------------------------------------------------------------------------- */

/* The end of the quoted word at p, or NULL when it has none. */
static const char *quoted_end(const char *p)
{
    char quote = *p;
    for (p++; *p != '\0'; p++) {
        if (*p == quote) {
            return p + 1;
        }
        if (quote == '"' && *p == '\\' && *++p == '\0') {
            return NULL;
        }
    }
    return NULL;
}

static void add_word(struct ops_words *words, struct bytes text)
{
    words->bytes[words->count] = text;
    words->texts[words->count++] = (char *)(uintptr_t)text.data;
}

/* A copy with a zero behind it. */
static struct bytes copy_word(struct arena *arena, const char *p, size_t len)
{
    return (struct bytes){(const uint8_t *)arena_printf(arena, "%.*s", (int)len, p), len};
}

bool ops_split(struct arena *arena, const char *line, struct ops_words *out)
{
    size_t room = strlen(line) + 2;
    *out = (struct ops_words){.texts = arena_zalloc(arena, room * sizeof *out->texts),
                              .bytes = arena_zalloc(arena, room * sizeof *out->bytes)};
    for (const char *p = line; *p != '\0';) {
        char quote = (char)(*p == '"' || *p == '\'' ? *p : 0);
        const char *end = quote != 0 ? quoted_end(p) : p;
        struct bytes text;
        if (isspace((unsigned char)*p) || end == NULL) {
            p++;
        } else if (quote == '"') {
            if (!ops_unquote(arena, &p, &text)) {
                return false;
            }
            add_word(out, text);
            p = end;
        } else if (quote == '\'') {
            add_word(out, copy_word(arena, p + 1, (size_t)(end - p - 2)));
            p = end;
        } else {
            size_t len = strcspn(p, " \t\n\v\f\r");
            add_word(out, copy_word(arena, p, len));
            p += len;
        }
    }
    return true;
}

/* --- compares ----------------------------------------------------------------------------------------------------- */

struct parts {
    struct bytes key, value;
    const char *op;
    int count; /* how many of the three could be read */
};

static bool skip_spaces(const char **p)
{
    const char *start = *p;
    while (**p == ' ' || **p == '\t') {
        (*p)++;
    }
    return *p > start;
}

/* "key") op "value" */
static struct parts read_parts(struct arena *arena, const char *p)
{
    struct parts parts = {.op = "", .key = bytes_str(""), .value = bytes_str("")};
    struct bytes text;
    skip_spaces(&p);
    if (!ops_unquote(arena, &p, &text)) {
        return parts;
    }
    parts.key = text;
    parts.count = 1;
    if (*p++ != ')' || !skip_spaces(&p) || *p == '\0') {
        return parts;
    }
    size_t len = strcspn(p, " \t\n\v\f\r");
    parts.op = arena_printf(arena, "%.*s", (int)len, p);
    parts.count = 2;
    p += len;
    if (skip_spaces(&p) && ops_unquote(arena, &p, &text)) {
        parts.value = text;
        parts.count = 3;
    }
    return parts;
}

static bool find_target(const char *name, Etcdserverpb__Compare *out)
{
    static const struct {
        const char *name;
        Etcdserverpb__Compare__CompareTarget target;
        Etcdserverpb__Compare__TargetUnionCase field;
    } targets[] = {
#define TARGET(name, t) {name, ETCDSERVERPB__COMPARE__COMPARE_TARGET__##t, ETCDSERVERPB__COMPARE__TARGET_UNION_##t}
#define TARGET2(name, t, f)                                                                                            \
    {                                                                                                                  \
        name, ETCDSERVERPB__COMPARE__COMPARE_TARGET__##t, ETCDSERVERPB__COMPARE__TARGET_UNION_##f                      \
    }
        TARGET("ver", VERSION),
        TARGET("version", VERSION),
        TARGET2("c", CREATE, CREATE_REVISION),
        TARGET2("create", CREATE, CREATE_REVISION),
        TARGET2("m", MOD, MOD_REVISION),
        TARGET2("mod", MOD, MOD_REVISION),
        TARGET("val", VALUE),
        TARGET("value", VALUE),
        TARGET("lease", LEASE),
    };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (strcmp(targets[i].name, name) == 0) {
            out->target = targets[i].target;
            out->target_union_case = targets[i].field;
            return true;
        }
    }
    return false;
}

static bool find_result(const char *op, Etcdserverpb__Compare *out)
{
    static const char *const ops[] = {"=", ">", "<", "!="};
    for (int i = 0; i < 4; i++) {
        if (strcmp(ops[i], op) == 0) {
            out->result = (Etcdserverpb__Compare__CompareResult)i;
            return true;
        }
    }
    return false;
}

static ProtobufCBinaryData binary(struct bytes text)
{
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text.data, .len = text.len};
}

static const char *quoted(struct arena *arena, struct bytes text)
{
    struct buffer out = {0};
    gotext_quote(&out, text);
    const char *copy = arena_printf(arena, "%.*s", (int)out.len, (const char *)out.data);
    buffer_free(&out);
    return copy;
}

int ops_compare(struct arena *arena, const char *line, Etcdserverpb__Compare *out)
{
    const char *paren = strchr(line, '(');
    etcdserverpb__compare__init(out);
    if (paren == NULL) {
        return cli_fail(CLI_INVALID_INPUT, "malformed comparison: %s", line);
    }
    const char *target = arena_printf(arena, "%.*s", (int)(paren - line), line);
    struct parts parts = read_parts(arena, paren + 1);
    if (parts.count < 3) {
        return cli_fail(CLI_INVALID_INPUT, "malformed comparison: %s; got %s(%s) %s %s", line, target,
                        quoted(arena, parts.key), parts.op, quoted(arena, parts.value));
    }
    if (!find_target(target, out)) {
        return cli_fail(CLI_INVALID_INPUT, "malformed comparison: %s (unknown target %s)", line, target);
    }
    if (!find_result(parts.op, out)) {
        return cli_fail(CLI_INVALID_INPUT, "malformed comparison: %s (unknown operator %s)", line, parts.op);
    }
    out->key = binary(parts.key);
    if (out->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE) {
        out->value = binary(parts.value);
        return 0;
    }
    /* Leases are written in hexadecimal wherever a user gives one. */
    int base = out->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE ? 16 : 10;
    if (gotext_int(arena, (const char *)parts.value.data, base, 64, &out->version) != NULL) {
        return cli_fail(CLI_INVALID_INPUT, "invalid txn compare request: %s", line);
    }
    return 0;
}

/* --- operations --------------------------------------------------------------------------------------------------- */

static int fill_request(struct cli_call *call, Etcdserverpb__RequestOp *out)
{
    const char *name = call->command->path;
    if (strcmp(name, "put") == 0) {
        out->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        out->request_put = arena_zalloc(&call->arena, sizeof *out->request_put);
        return ops_put(call, NULL, out->request_put);
    }
    if (strcmp(name, "get") == 0) {
        out->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        out->request_range = arena_zalloc(&call->arena, sizeof *out->request_range);
        return ops_get(call, out->request_range);
    }
    out->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    out->request_delete_range = arena_zalloc(&call->arena, sizeof *out->request_delete_range);
    return ops_delete(call, out->request_delete_range);
}

/* put, get or del, or a beginning of one of these names. */
static const struct cli_command *find_operation(const struct cli_program *program, const char *word)
{
    static const char *const names[] = {"put", "get", "del"};
    for (int i = 0; i < 3; i++) {
        if (*word != '\0' && strncmp(names[i], word, strlen(word)) == 0) {
            return cli_find(program, names[i]);
        }
    }
    return NULL;
}

int ops_request(struct cli_call *call, const char *line, Etcdserverpb__RequestOp *out)
{
    struct cli_program own_flags = *call->program; /* a line has the flags of its operation, not the program's */
    struct cli_call one = {.program = &own_flags, .env = call->env};
    struct ops_words words;
    const char *error;
    own_flags.globals = NULL;
    etcdserverpb__request_op__init(out);
    if (!ops_split(&call->arena, line, &words)) {
        return cli_fail(CLI_INVALID_INPUT, "invalid syntax");
    }
    if (words.count < 2) {
        return cli_fail(CLI_INVALID_INPUT, "invalid txn compare request: %s", line);
    }
    const struct cli_command *command = find_operation(call->program, words.texts[0]);
    one.arena = call->arena; /* borrowed: what is made here lives as long as the transaction */
    one.words = words.bytes;
    one.word_count = words.count;
    bool good = command != NULL && cli_parse(&one, command, words.count - 1, words.texts + 1, &error);
    int status = good ? fill_request(&one, out) : cli_fail(CLI_INVALID_INPUT, "invalid txn request: %s", line);
    call->arena = one.arena;
    return status;
}
