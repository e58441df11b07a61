#include "cmd/kedgectl/watch_args.h"
#include "base/gotext.h"
#include <stdlib.h>

static const char bad_number[] = "bad number of arguments";
static const char bad_conflict[] = "bad number of arguments (found conflicting environment key)";
static const char bad_separator[] = "bad number of arguments (found separator --, but no commands)";

static const char *variable(const struct cli_call *call, const char *name)
{
    size_t len = strlen(name);
    for (char **entry = call->env; *entry != NULL; entry++) {
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=') {
            return *entry + len + 1;
        }
    }
    return "";
}

/* Index of "--", or -1. */
static int find_separator(int count, char *const *words)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--") == 0) {
            return i;
        }
    }
    return -1;
}

static void take_flags(const struct cli_call *call, struct watch_args *out)
{
    out->prefix = cli_bool(call, "prefix");
    out->prev_kv = cli_bool(call, "prev-kv");
    out->progress_notify = cli_bool(call, "progress-notify");
    out->revision = cli_number(call, "rev");
}

/* The call's first `count` arguments stand before "--"; `command` is what stands behind it. */
static const char *take_words(const struct cli_call *call, int count, char *const *command, struct watch_args *out)
{
    const char *key = variable(call, "ETCDCTL_WATCH_KEY"), *end = variable(call, "ETCDCTL_WATCH_RANGE_END");
    if (command != NULL && *command == NULL) {
        return bad_separator;
    }
    if (*key != '\0' && count > 0) {
        return bad_conflict;
    }
    if (*key == '\0' && count == 0) {
        return bad_number;
    }
    out->command = command;
    out->key = *key != '\0' ? bytes_str(key) : cli_arg(call, 0);
    if (*key != '\0' && *end != '\0') {
        out->range_end = bytes_str(end);
    } else if (count == 2) {
        out->range_end = cli_arg(call, 1);
    }
    if (out->range_end.data != NULL && out->prefix) {
        return "`range_end` and `--prefix` are mutually exclusive";
    }
    return NULL;
}

int watch_args_of_call(struct cli_call *call, struct watch_args *out)
{
    int separator = find_separator(call->all_count, call->all);
    char *const *command = separator < 0 ? NULL : &call->all[separator + 1];
    int behind = separator < 0 ? 0 : call->all_count - separator - 1;
    take_flags(call, out);
    const char *error = take_words(call, call->arg_count - behind, command, out);
    return error == NULL ? 0 : cli_fail(CLI_BAD_ARGS, "%s", error);
}

const char *watch_args_of_line(struct cli_call *call, int count, char **words, struct watch_args *out, bool *fatal)
{
    struct cli_program own_flags = *call->program; /* a line has the flags of watch, not the program's */
    struct cli_call line = {.program = &own_flags,
                            .env = call->env,
                            .arena = call->arena,
                            .words = call->words,
                            .word_count = call->word_count};
    int separator = find_separator(count, words);
    int before = separator < 0 ? count : separator;
    char *const *command = separator < 0 ? NULL : &words[separator + 1];
    const char *error;
    own_flags.globals = NULL;
    *fatal = true;
    bool good = cli_parse(&line, cli_find(call->program, "watch"), before - 1, words + 1, &error);
    call->arena = line.arena;
    if (!good) {
        return error;
    }
    take_flags(&line, out);
    error = take_words(&line, line.arg_count, command, out);
    *fatal = error == NULL || strncmp(error, bad_number, sizeof bad_number - 1) == 0;
    return error;
}
