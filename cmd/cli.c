/* Finding the command, parsing its flags, running it: the rules of cobra and pflag, whose texts users know. */
#include "cmd/cli.h"
#include "base/check.h"
#include "base/gotext.h"
#include "cmd/wrap.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int cli_fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fputs(wrap_coloured(stderr) ? "\033[1;31mError:\033[0m " : "Error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return status;
}

int cli_fail_usage(const struct cli_call *call, const char *format, ...)
{
    struct buffer usage = {0};
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_print_usage(call->program, call->command, &usage);
    buffer_append(&usage, "\n", 1);
    cli_fail(CLI_ERROR, "%s", text);
    wrap_put(stderr, &usage);
    buffer_free(&usage);
    return call->program->repeats_errors ? cli_fail(CLI_ERROR, "%s", text) : CLI_ERROR;
}

int cli_require(const struct cli_call *call, const char *const *names)
{
    struct buffer missing = {0};
    int status = 0;
    for (; *names != NULL; names++) {
        if (!cli_given(call, *names)) {
            buffer_printf(&missing, "%s\"%s\"", missing.len == 0 ? "" : ", ", *names);
        }
    }
    if (missing.len > 0) {
        status = cli_fail_usage(call, "required flag(s) %.*s not set", (int)missing.len, (const char *)missing.data);
    }
    buffer_free(&missing);
    return status;
}

int cli_expect_args(const struct cli_call *call, int count)
{
    return call->arg_count == count ? 0
                                    : cli_fail_usage(call, "accepts %d arg(s), received %d", count, call->arg_count);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static const struct cli_flag help_flag[] = {{"help", 'h', CLI_BOOL, "false", NULL, false, NULL}, {0}};

static struct cli_value *find_value(const struct cli_call *call, const char *name, size_t len)
{
    for (size_t i = 0; i < call->value_count; i++) {
        if (strlen(call->values[i].flag->name) == len && memcmp(call->values[i].flag->name, name, len) == 0) {
            return &call->values[i];
        }
    }
    return NULL;
}

static struct cli_value *find_shorthand(const struct cli_call *call, char letter)
{
    for (size_t i = 0; i < call->value_count; i++) {
        if (call->values[i].flag->shorthand == letter) {
            return &call->values[i];
        }
    }
    return NULL;
}

static const struct cli_value *need_value(const struct cli_call *call, const char *name)
{
    const struct cli_value *value = find_value(call, name, strlen(name));
    CHECK(value != NULL, "no flag --%s", name);
    return value;
}

bool cli_bool(const struct cli_call *call, const char *name)
{
    return need_value(call, name)->truth;
}

bool cli_given(const struct cli_call *call, const char *name)
{
    return need_value(call, name)->given;
}

const char *cli_string(const struct cli_call *call, const char *name)
{
    return need_value(call, name)->text;
}

int64_t cli_number(const struct cli_call *call, const char *name)
{
    const struct cli_value *value = need_value(call, name);
    bool is_unsigned = value->flag->type == CLI_UINT || value->flag->type == CLI_UINT64;
    return is_unsigned ? (int64_t)value->natural : value->number;
}

const char *const *cli_strings(const struct cli_call *call, const char *name)
{
    return need_value(call, name)->items;
}

struct bytes cli_arg(const struct cli_call *call, int place)
{
    const char *text = call->args[place];
    for (int i = 0; i < call->word_count; i++) {
        if ((const char *)call->words[i].data == text) {
            return call->words[i];
        }
    }
    return bytes_str(text);
}

static void append_item(struct arena *arena, struct cli_value *value, struct bytes item)
{
    const char **more = arena_alloc(arena, (value->item_count + 2) * sizeof *more);
    if (value->item_count > 0) {
        memcpy(more, value->items, value->item_count * sizeof *more);
    }
    value->items = more;
    value->items[value->item_count++] = arena_printf(arena, "%.*s", (int)item.len, (const char *)item.data);
    value->items[value->item_count] = NULL;
}

/* Up to the quote that ends it, of which two stand for one. Returns what is behind that; NULL = there is none. */
static const char *read_quoted(const char *p, struct buffer *out)
{
    for (; *p != '\0'; p++) {
        if (*p == '"' && *++p != '"') {
            return p;
        }
        buffer_append(out, p, 1);
    }
    return NULL;
}

#define BAD_QUOTED "extraneous or missing \" in quoted-field"

static const char *bad_list(struct arena *arena, size_t column, const char *why)
{
    return arena_printf(arena, "parse error on line 1, column %zu: %s", column, why);
}

/* Adds the parts to the list: one line of CSV, of whose parts some may be in quotes; "" has none. */
static const char *append_items(struct arena *arena, struct cli_value *value, const char *text)
{
    const char *p = text, *error = NULL;
    for (bool more = *text != '\0'; more && error == NULL; more = *p++ == ',') {
        struct buffer item = {0};
        if (*p == '"') {
            const char *end = read_quoted(p + 1, &item);
            if (end == NULL || strchr(",\n", *end) == NULL) {
                error = bad_list(arena, end == NULL ? strlen(text) + 1 : (size_t)(end - text), BAD_QUOTED);
            }
            p = end == NULL ? p : end;
        } else {
            size_t len = strcspn(p, ",\n");
            const char *quote = memchr(p, '"', len);
            if (quote != NULL) {
                error = bad_list(arena, (size_t)(quote - text) + 1, "bare \" in non-quoted-field");
            }
            buffer_append(&item, p, len);
            p += len;
        }
        append_item(arena, value, buffer_bytes(&item));
        buffer_free(&item);
    }
    return error;
}

const char *cli_assign(struct arena *arena, struct cli_value *value, const char *text)
{
    value->text = text;
    switch (value->flag->type) {
    case CLI_BOOL:
        return gotext_bool(arena, text, &value->truth);
    case CLI_INT:
    case CLI_INT64:
        return gotext_int(arena, text, 0, 64, &value->number);
    case CLI_UINT:
    case CLI_UINT64:
        return gotext_uint(arena, text, 0, 64, &value->natural);
    case CLI_DURATION:
        return gotext_duration(arena, text, &value->number);
    case CLI_STRINGS:
        return append_items(arena, value, text);
    case CLI_STRING:
        return NULL;
    }
    return NULL;
}

static void add_flags(struct cli_call *call, const struct cli_flag *flags, bool inherited)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        struct cli_value *value = &call->values[call->value_count++];
        *value = (struct cli_value){.flag = flags, .inherited = inherited};
        const char *error = cli_assign(&call->arena, value, flags->preset);
        CHECK(error == NULL, "%s: %s", flags->name, error);
    }
}

#define MAX_FLAGS 64

/* Gives the call all flags that hold for the command, with their defaults. */
static void prepare(struct cli_call *call, const struct cli_command *command)
{
    call->command = command;
    call->values = arena_zalloc(&call->arena, MAX_FLAGS * sizeof *call->values);
    call->value_count = 0;
    add_flags(call, help_flag, false);
    add_flags(call, call->program->globals, true);
    if (command == NULL) {
        return;
    }
    const struct cli_command *parent = cli_parent(call->program, command);
    if (parent != NULL && parent->pass_flags) {
        add_flags(call, parent->flags, true);
    }
    add_flags(call, command->flags, false);
    CHECK(call->value_count <= MAX_FLAGS);
}

/* --- flags on the command line ------------------------------------------------------------------------------------ */

struct cursor {
    char **argv;
    int argc, at;
    const char *error;
};

static bool set_value(struct cli_call *call, struct cli_value *value, const char *text, struct cursor *c)
{
    bool first = !value->given;
    if (first) { /* the default of a list goes when the first value comes */
        value->item_count = 0;
        value->items = arena_zalloc(&call->arena, sizeof *value->items);
    }
    value->given = true;
    const char *error = cli_assign(&call->arena, value, text);
    if (error == NULL) {
        return true;
    }
    char short_name[8] = "";
    if (value->flag->shorthand != 0) {
        snprintf(short_name, sizeof short_name, "-%c, ", value->flag->shorthand);
    }
    c->error = arena_printf(&call->arena, "invalid argument %s for \"%s--%s\" flag: %s",
                            gotext_quoted(&call->arena, text), short_name, value->flag->name, error);
    return false;
}

static bool parse_long(struct cli_call *call, struct cursor *c)
{
    const char *name = c->argv[c->at] + 2;
    size_t len = strcspn(name, "=");
    if (len == 0 || *name == '-') {
        c->error = arena_printf(&call->arena, "bad flag syntax: %s", c->argv[c->at]);
        return false;
    }
    struct cli_value *value = find_value(call, name, len);
    if (value == NULL) {
        c->error = arena_printf(&call->arena, "unknown flag: --%.*s", (int)len, name);
        return false;
    }
    if (name[len] == '=') {
        return set_value(call, value, name + len + 1, c);
    }
    if (value->flag->type == CLI_BOOL) {
        return set_value(call, value, "true", c);
    }
    if (c->at + 1 >= c->argc) {
        c->error = arena_printf(&call->arena, "flag needs an argument: --%s", value->flag->name);
        return false;
    }
    return set_value(call, value, c->argv[++c->at], c);
}

/* "-i", "-wjson", "-w=json", "-w json", "-iw json". */
static bool parse_short(struct cli_call *call, struct cursor *c)
{
    const char *group = c->argv[c->at] + 1;
    for (const char *p = group; *p != '\0'; p++) {
        struct cli_value *value = find_shorthand(call, *p);
        if (value == NULL) {
            c->error = arena_printf(&call->arena, "unknown shorthand flag: '%c' in -%s", *p, group);
            return false;
        }
        if (p[1] == '=') {
            return set_value(call, value, p + 2, c);
        }
        if (value->flag->type == CLI_BOOL) {
            if (!set_value(call, value, "true", c)) {
                return false;
            }
            continue;
        }
        if (p[1] != '\0') {
            return set_value(call, value, p + 1, c);
        }
        if (c->at + 1 >= c->argc) {
            c->error = arena_printf(&call->arena, "flag needs an argument: '%c' in -%s", *p, group);
            return false;
        }
        return set_value(call, value, c->argv[++c->at], c);
    }
    return true;
}

static bool parse_all(struct cli_call *call, struct cursor *c)
{
    call->args = arena_zalloc(&call->arena, ((size_t)c->argc + 1) * sizeof *call->args);
    call->arg_count = 0;
    for (; c->at < c->argc; c->at++) {
        char *arg = c->argv[c->at];
        if (strcmp(arg, "--") == 0) {
            for (c->at++; c->at < c->argc; c->at++) {
                call->args[call->arg_count++] = c->argv[c->at];
            }
            break;
        }
        if (arg[0] != '-' || arg[1] == '\0') {
            call->args[call->arg_count++] = arg;
        } else if (!(arg[1] == '-' ? parse_long(call, c) : parse_short(call, c))) {
            return false;
        }
    }
    return true;
}

bool cli_parse(struct cli_call *call, const struct cli_command *command, int argc, char **argv, const char **error)
{
    struct cursor cursor = {.argv = argv, .argc = argc};
    prepare(call, command);
    bool good = parse_all(call, &cursor);
    *error = cursor.error;
    return good;
}

/* --- finding the command ------------------------------------------------------------------------------------------ */

/* Does this argument, a flag, have its value in the next one? An unknown flag counts as one that does, as in cobra. */
static bool takes_next(const struct cli_call *call, const char *arg)
{
    if (strchr(arg, '=') != NULL) {
        return false;
    }
    const struct cli_value *value = arg[1] == '-'    ? find_value(call, arg + 2, strlen(arg + 2))
                                    : arg[2] == '\0' ? find_shorthand(call, arg[1])
                                                     : NULL;
    if (arg[1] != '-' && arg[2] != '\0') {
        return false;
    }
    return value == NULL || value->flag->type != CLI_BOOL;
}

/* Index of the first argument that is no flag, or argc. */
static int first_plain(const struct cli_call *call, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            return argc;
        }
        if (argv[i][0] != '-' || argv[i][1] == '\0') {
            return i;
        }
        i += takes_next(call, argv[i]);
    }
    return argc;
}

/* Takes the words of the command's path out of argv. Returns the command; NULL = none was named (*unknown stays NULL)
 * or *unknown is none. */
static const struct cli_command *find_command(struct cli_call *call, int *argc, char **argv, const char **unknown)
{
    const struct cli_command *command = NULL;
    *unknown = NULL;
    for (;;) {
        int at = first_plain(call, *argc, argv);
        const struct cli_command *child = at == *argc ? NULL : cli_child(call->program, command, argv[at]);
        if (child == NULL) {
            *unknown = command == NULL && at < *argc ? argv[at] : NULL;
            return command;
        }
        memmove(&argv[at], &argv[at + 1], (size_t)(*argc - at - 1) * sizeof *argv);
        *argc -= 1;
        command = child;
        prepare(call, command);
    }
}

static int show_help(const struct cli_call *call)
{
    struct buffer text = {0};
    cli_print_help(call->program, call->command, &text);
    wrap_put(stdout, &text);
    buffer_free(&text);
    return CLI_OK;
}

/* Refused by its name, with what its table row tells of when it comes. */
static int fail_later(const struct cli_program *program, const struct cli_command *command)
{
    bool more = command->about != NULL;
    return cli_fail(CLI_BAD_FEATURE, "%s %s: not supported by kedge yet%s%s", program->name, command->path,
                    more ? ". " : "", more ? command->about : "");
}

static int dispatch(struct cli_call *call, int argc, char **argv)
{
    const char *unknown, *error;
    prepare(call, NULL);
    const struct cli_command *command = find_command(call, &argc, argv, &unknown);
    if (command != NULL && strncmp(command->path, "__", 2) == 0) { /* completion gets flags as they are */
        call->args = argv;
        call->arg_count = argc;
        return command->run(call);
    }
    if (unknown != NULL) { /* comes before whatever else is wrong */
        return cli_fail_unknown(call->program, unknown);
    }
    bool good = cli_parse(call, command, argc, argv, &error);
    if (command != NULL && command->later && !(good && cli_bool(call, "help"))) {
        return fail_later(call->program, command);
    }
    if (!good) {
        return cli_fail_usage(call, "%s", error);
    }
    if (cli_bool(call, "help")) {
        return show_help(call);
    }
    return command == NULL || command->run == NULL ? show_help(call) : command->run(call);
}

/* Scripts that know etcd's tools look for their names, in "etcdctl version: 3.7.1" for instance. */
static bool called_by_other_name(const struct cli_program *program, int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = argc > 0 ? (slash == NULL ? argv[0] : slash + 1) : "";
    return program->other_name != NULL && strcmp(name, program->other_name) == 0;
}

int cli_main(const struct cli_program *program, int argc, char **argv, char **env)
{
    struct cli_program named = *program;
    struct cli_call call = {.program = &named, .all_count = argc, .all = argv, .env = env};
    named.name = called_by_other_name(program, argc, argv) ? program->other_name : program->name;
    int count = argc > 0 ? argc - 1 : 0;
    char **words = arena_zalloc(&call.arena, ((size_t)count + 1) * sizeof *words);
    memcpy(words, argv + (argc > 0), (size_t)count * sizeof *words);
    int status = dispatch(&call, count, words);
    if (fflush(stdout) != 0 && status == CLI_OK) {
        status = CLI_ERROR;
    }
    arena_free(&call.arena);
    return status;
}
