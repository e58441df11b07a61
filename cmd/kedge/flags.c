/* Reading flags from the command line and the environment, as Go's package flag and etcd's pkg/flags do it. */
#include "cmd/kedge/flags.h"
#include "base/gotext.h"
#include "cmd/wrap.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

static const size_t NONE = (size_t)-1;

static size_t find_place(const char *name, size_t len)
{
    for (size_t i = 0; i < flag_count; i++) {
        if (strlen(flag_table[i].name) == len && memcmp(flag_table[i].name, name, len) == 0) {
            return i;
        }
    }
    return NONE;
}

const struct flag_info *flags_find(const char *name, size_t len)
{
    size_t place = find_place(name, len);
    return place == NONE ? NULL : &flag_table[place];
}

const char *flags_variable(struct arena *arena, const struct flag_info *flag)
{
    char *name = arena_printf(arena, "%s_%s", flag->state == FLAG_OWN ? "KEDGE" : "ETCD", flag->name);
    for (char *p = name; *p != '\0'; p++) {
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
    return name;
}

/* --- command line ------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static int refuse(const char *format, ...)
{
    struct buffer usage = {0};
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    flags_print_usage(&usage);
    fprintf(stderr, "\n%.*s", (int)usage.len, (const char *)usage.data);
    buffer_free(&usage);
    return 2;
}

static int set_given(struct config *c, const struct flag_info *flag, const char *value)
{
    const char *error = flags_set(c, flag, value);
    if (error == NULL) {
        return 0;
    }
    if (error == FLAG_UNSUPPORTED) {
        return refuse("--%s: %s", flag->name, error);
    }
    const char *quoted = gotext_quoted(&c->arena, value);
    if (flag->type == FLAG_BOOL) {
        return refuse("invalid boolean value %s for -%s: %s", quoted, flag->name, error);
    }
    return refuse("invalid value %s for flag -%s: %s", quoted, flag->name, error);
}

/* One flag at argv[*at]; steps over its value if that stands in the next argument. */
static int parse_one(struct config *c, int argc, char **argv, int *at, struct flags_given *given)
{
    const char *name = argv[*at] + 1;
    name += *name == '-';
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    if (len == 0 || *name == '-') {
        return refuse("bad flag syntax: %s", argv[*at]);
    }
    size_t place = find_place(name, len);
    if (place == NONE) {
        given->help = (len == 4 && memcmp(name, "help", 4) == 0) || (len == 1 && *name == 'h');
        return given->help ? 0 : refuse("flag provided but not defined: -%.*s", (int)len, name);
    }
    const struct flag_info *flag = &flag_table[place];
    if (value == NULL && (flag->type == FLAG_BOOL || flag->type == FLAG_IGNORED)) {
        value = "true";
    } else if (value == NULL) {
        if (*at + 1 >= argc) {
            return refuse("flag needs an argument: -%s", flag->name);
        }
        value = argv[++*at];
    }
    given->set[place] = true;
    return set_given(c, flag, value);
}

int flags_parse(struct config *c, int argc, char **argv, struct flags_given *given, const char **error)
{
    for (int at = 1; at < argc && !given->help; at++) {
        const char *arg = argv[at];
        if (strcmp(arg, "--") == 0) {
            at++;
        } else if (arg[0] == '-' && arg[1] != '\0') {
            int status = parse_one(c, argc, argv, &at, given);
            if (status != 0) {
                return status;
            }
            continue;
        }
        if (at < argc) {
            *error = arena_printf(&c->arena, "%s is not a valid flag", gotext_quoted(&c->arena, argv[at]));
            return 1;
        }
    }
    return 0;
}

/* --- environment -------------------------------------------------------------------------------------------------- */

static const char *lookup(char **env, const char *name)
{
    size_t len = strlen(name);
    for (; *env != NULL; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=') {
            return *env + len + 1;
        }
    }
    return NULL;
}

static const char *take_variable(struct config *c, const struct flag_info *flag, const char *variable,
                                 const char *value)
{
    const char *error = flags_set(c, flag, value);
    if (error == FLAG_UNSUPPORTED) {
        return arena_printf(&c->arena, "%s=%s: --%s is %s", variable, value, flag->name, error);
    }
    if (error != NULL) {
        return arena_printf(&c->arena, "invalid value %s for %s: %s", gotext_quoted(&c->arena, value), variable, error);
    }
    log_info("recognized and used environment variable", log_str("variable-name", variable),
             log_str("variable-value", value));
    return NULL;
}

/* The place of the flag that a variable "NAME=value" belongs to. */
static size_t place_of_variable(struct arena *arena, const char *entry)
{
    size_t len = strcspn(entry, "=");
    for (size_t i = 0; i < flag_count; i++) {
        const char *variable = flags_variable(arena, &flag_table[i]);
        if (strlen(variable) == len && memcmp(variable, entry, len) == 0) {
            return i;
        }
    }
    return NONE;
}

static void warn_of_others(struct config *c, char **env, const struct flags_given *given, bool *conflict)
{
    for (; *env != NULL; env++) {
        bool foreign = strncmp(*env, "ETCD_", 5) != 0 && strncmp(*env, "KEDGE_", 6) != 0;
        if (foreign || strncmp(*env, "ETCD_VERSION=", 13) == 0) {
            continue;
        }
        size_t place = place_of_variable(&c->arena, *env);
        const char *variable = arena_printf(&c->arena, "%.*s", (int)strcspn(*env, "="), *env);
        if (place != NONE && given->set[place]) {
            *conflict = true;
            log_line(LOG_FATAL,
                     "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
                     "environment variable or disable flag))",
                     log_str("environment-variable", variable));
        } else if (place == NONE || (*env)[strlen(variable) + 1] == '\0') {
            log_warn("unrecognized environment variable", log_str("environment-variable", *env));
        }
    }
}

const char *flags_from_environment(struct config *c, char **env, struct flags_given *given, bool *conflict)
{
    const char *error = NULL;
    const char *version = lookup(env, "ETCD_VERSION");
    *conflict = false;
    if (version != NULL && *version != '\0') {
        log_warn("cannot set special environment variable", log_str("key", "ETCD_VERSION"), log_str("value", version));
    }
    warn_of_others(c, env, given, conflict);
    for (size_t i = 0; i < flag_count && !*conflict; i++) {
        const struct flag_info *flag = &flag_table[i];
        const char *variable = flags_variable(&c->arena, flag);
        const char *value =
            given->set[i] || flag->field == offsetof(struct config, print_version) ? NULL : lookup(env, variable);
        if (value == NULL || *value == '\0') {
            continue;
        }
        const char *wrong = take_variable(c, flag, variable, value);
        if (wrong == NULL) {
            given->set[i] = true;
        } else {
            error = wrong;
        }
    }
    return error;
}

/* --- usage -------------------------------------------------------------------------------------------------------- */

void flags_print_usage(struct buffer *out)
{
    buffer_printf(out, "Usage:\n\n"
                       "  kedge [flags]\n    Start a member.\n\n"
                       "  kedge --version\n    Show the version.\n\n"
                       "  kedge -h | --help\n    Show all flags.\n");
}

static void print_help_of(struct buffer *out, const struct flag_info *flag)
{
    bool later = flag->state == FLAG_LATER;
    buffer_printf(out, "  --%s '%s'\n    ", flag->name, flag->preset);
    wrap_words(out, flag->help == NULL ? "" : flag->help, 4, 4);
    buffer_printf(out, "%s\n", later ? "(known from etcd, not supported by kedge yet)" : "");
}

void flags_print_help(struct buffer *out)
{
    const char *section = NULL;
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag_info *flag = &flag_table[i];
        if (flag->section == NULL) {
            continue;
        }
        if (section != flag->section) {
            section = flag->section;
            buffer_printf(out, "\n%s:\n", section);
        }
        print_help_of(out, flag);
    }
}

static void print_markdown_flag(struct buffer *out, const struct flag_info *flag)
{
    static const char *const types[] = {
        [FLAG_STRING] = "text",     [FLAG_BOOL] = "bool",     [FLAG_INT] = "number",    [FLAG_UINT] = "number",
        [FLAG_UINT32] = "number",   [FLAG_DURATION] = "time", [FLAG_URLS] = "URLs",     [FLAG_ORIGINS] = "URLs or `*`",
        [FLAG_STRINGS] = "texts",   [FLAG_ENUM] = "one of",   [FLAG_ENUMS] = "some of", [FLAG_GATES] = "Name=bool",
        [FLAG_IGNORED] = "nothing",
    };
    const char *quote = *flag->preset == '\0' ? "" : "`";
    buffer_printf(out, "| `--%s` | %s | %s%s%s | %s |\n", flag->name, types[flag->type], quote, flag->preset, quote,
                  flag->help);
}

void flags_print_markdown(struct buffer *out)
{
    const char *section = NULL;
    buffer_printf(
        out, "# kedge: flags\n\n"
             "The flags are etcd's, with its names, defaults and variables: `--max-wals` is `ETCD_MAX_WALS`, used if\n"
             "the flag is not given. kedge's own begin with `KEDGE_`. This page is made from the table of flags\n"
             "(`UPDATE_DOCS=1` with the unit test `config_test`).\n");
    for (size_t i = 0; i < flag_count; i++) {
        const struct flag_info *flag = &flag_table[i];
        if (flag->section == NULL || flag->state == FLAG_LATER) {
            continue;
        }
        if (section != flag->section) {
            section = flag->section;
            buffer_printf(out, "\n## %s\n\n| flag | value | default | |\n|---|---|---|---|\n", section);
        }
        print_markdown_flag(out, flag);
    }
    buffer_printf(out, "\n## Known from etcd, not supported yet\n\n"
                       "These are refused by name, unless they are given their default.\n\n");
    for (size_t i = 0; i < flag_count; i++) {
        if (flag_table[i].state == FLAG_LATER) {
            buffer_printf(out, "- `--%s`\n", flag_table[i].name);
        }
    }
}
