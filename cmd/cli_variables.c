/* Inherited flags from variables, as etcd's pkg/flags takes them. */
#include "base/log.h"
#include "cmd/cli.h"
#include <ctype.h>

static const char *variable_of(struct arena *arena, const struct cli_program *program, const char *flag)
{
    char *name = arena_printf(arena, "%s_%s", program->variables, flag);
    for (char *p = name; *p != '\0'; p++) {
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    }
    return name;
}

static struct cli_value *value_of_variable(struct cli_call *call, const char *name, size_t len)
{
    for (size_t i = 0; i < call->value_count; i++) {
        const char *variable = variable_of(&call->arena, call->program, call->values[i].flag->name);
        if (call->values[i].inherited && strlen(variable) == len && memcmp(variable, name, len) == 0) {
            return &call->values[i];
        }
    }
    return NULL;
}

static bool is_known(const char *const *known, const char *name)
{
    for (; known != NULL && *known != NULL; known++) {
        if (strcmp(*known, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A value that does not fit is left out, as etcdctl does; but we say so. */
static void take_variable(struct cli_call *call, struct cli_value *value, const char *name, const char *text)
{
    struct cli_value fresh = {.flag = value->flag, .inherited = true};
    const char *error = cli_assign(&call->arena, &fresh, text);
    if (error != NULL) {
        log_warn("ignored environment variable with an invalid value", log_str("environment-variable", name),
                 log_str("error", error));
        return;
    }
    *value = fresh;
}

bool cli_take_variables(struct cli_call *call, const char *const *known)
{
    bool good = true;
    size_t prefix = strlen(call->program->variables);
    for (char **entry = call->env; *entry != NULL; entry++) {
        size_t len = strcspn(*entry, "=");
        if (strncmp(*entry, call->program->variables, prefix) != 0 || (*entry)[prefix] != '_' || (*entry)[len] == 0) {
            continue;
        }
        const char *name = arena_printf(&call->arena, "%.*s", (int)len, *entry), *text = *entry + len + 1;
        struct cli_value *value = value_of_variable(call, name, len);
        if (value != NULL && value->given) {
            good = false;
            log_line(LOG_FATAL,
                     "conflicting environment variable is shadowed by corresponding command-line flag (either unset "
                     "environment variable or disable flag))",
                     log_str("environment-variable", name));
        } else if (value != NULL && *text != '\0') {
            take_variable(call, value, name, text);
        } else if (!is_known(known, name)) {
            log_warn("unrecognized environment variable", log_str("environment-variable", *entry));
        }
    }
    return good;
}

bool cli_check_later(const struct cli_call *call)
{
    for (size_t i = 0; i < call->value_count; i++) {
        const struct cli_value *value = &call->values[i];
        bool preset = value->flag->type == CLI_BOOL ? value->truth == (strcmp(value->flag->preset, "true") == 0)
                                                    : strcmp(value->text, value->flag->preset) == 0;
        if (value->flag->later && !preset) {
            cli_fail(CLI_BAD_FEATURE, "--%s: not supported by kedge yet", value->flag->name);
            return false;
        }
    }
    return true;
}
