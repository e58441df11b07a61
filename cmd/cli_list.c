#include "cmd/cli_list.h"
#include "base/check.h"
#include <stdlib.h>

const char *cli_type_name(enum cli_type type)
{
    static const char *const names[] = {
        [CLI_BOOL] = "",     [CLI_STRING] = "string", [CLI_STRINGS] = "strings", [CLI_INT] = "int",
        [CLI_INT64] = "int", [CLI_UINT] = "uint",     [CLI_UINT64] = "uint",     [CLI_DURATION] = "duration",
    };
    return names[type];
}

static int compare_flags(const void *a, const void *b)
{
    return strcmp((*(const struct cli_flag *const *)a)->name, (*(const struct cli_flag *const *)b)->name);
}

void cli_list_add(struct cli_flag_list *list, const struct cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        CHECK(list->count < sizeof list->flags / sizeof list->flags[0]);
        list->flags[list->count++] = flags;
    }
    if (list->count > 0) {
        qsort(list->flags, list->count, sizeof list->flags[0], compare_flags);
    }
}

struct cli_flag_list cli_flags_of(const struct cli_program *program, const struct cli_command *command)
{
    struct cli_flag_list list = {0};
    const struct cli_command *parent = command == NULL ? NULL : cli_parent(program, command);
    if (parent != NULL && parent->pass_flags) {
        cli_list_add(&list, parent->flags);
    }
    if (command != NULL) {
        cli_list_add(&list, command->flags);
    }
    return list;
}
