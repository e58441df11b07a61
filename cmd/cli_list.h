/* What the texts made from a table of commands share: lists of flags, and their words. */
#ifndef CMD_CLI_LIST_H
#define CMD_CLI_LIST_H

#include "cmd/cli.h"

struct cli_flag_list {
    const struct cli_flag *flags[80];
    size_t count;
};

/* Adds them, and sorts all by name. */
void cli_list_add(struct cli_flag_list *list, const struct cli_flag *flags);
/* The flags of a command and those that its parent passes on; NULL = none. */
struct cli_flag_list cli_flags_of(const struct cli_program *program, const struct cli_command *command);
/* "string", "" for a switch. */
const char *cli_type_name(enum cli_type type);

#endif
