/* Usage and documentation from the table of commands. */
#include "cmd/cli.h"
#include <stdio.h>
#include <stdlib.h>

static const char *const type_names[] = {
    [CLI_BOOL] = "",     [CLI_STRING] = "string", [CLI_STRINGS] = "strings", [CLI_INT] = "int",
    [CLI_INT64] = "int", [CLI_UINT] = "uint",     [CLI_UINT64] = "uint",     [CLI_DURATION] = "duration",
};

#define MAX_SHOWN 80

struct flag_list {
    const struct cli_flag *flags[MAX_SHOWN];
    size_t count;
};

static int compare_flags(const void *a, const void *b)
{
    return strcmp((*(const struct cli_flag *const *)a)->name, (*(const struct cli_flag *const *)b)->name);
}

static void collect(struct flag_list *list, const struct cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL && list->count < MAX_SHOWN; flags++) {
        list->flags[list->count++] = flags;
    }
    qsort(list->flags, list->count, sizeof list->flags[0], compare_flags);
}

/* The flags of a command and those that its parent passes on. */
static struct flag_list flags_of(const struct cli_program *program, const struct cli_command *command)
{
    struct flag_list list = {0};
    const struct cli_command *parent = command == NULL ? NULL : cli_parent(program, command);
    if (parent != NULL && parent->pass_flags) {
        collect(&list, parent->flags);
    }
    if (command != NULL) {
        collect(&list, command->flags);
    }
    return list;
}

static bool has_default(const struct cli_flag *flag)
{
    return *flag->preset != '\0' && strcmp(flag->preset, "0") != 0 && strcmp(flag->preset, "false") != 0 &&
           strcmp(flag->preset, "0s") != 0;
}

static void print_default(struct buffer *out, const struct cli_flag *flag)
{
    const char *form = flag->type == CLI_STRING    ? " (default \"%s\")"
                       : flag->type == CLI_STRINGS ? " (default [%s])"
                                                   : " (default %s)";
    if (has_default(flag)) {
        char text[256];
        snprintf(text, sizeof text, form, flag->preset);
        buffer_printf(out, "%s", text);
    }
}

static int left_width(const struct cli_flag *flag)
{
    const char *type = type_names[flag->type];
    return (int)(8 + strlen(flag->name) + (*type == '\0' ? 0 : 1 + strlen(type)));
}

static void print_flag(struct buffer *out, const struct cli_flag *flag, int width)
{
    const char *type = type_names[flag->type];
    char shorthand[8] = "    ";
    if (flag->shorthand != 0) {
        snprintf(shorthand, sizeof shorthand, "-%c, ", flag->shorthand);
    }
    buffer_printf(out, "  %s--%s%s%s%*s%s", shorthand, flag->name, *type == '\0' ? "" : " ", type,
                  width - left_width(flag) + 3, "", flag->help);
    print_default(out, flag);
    buffer_printf(out, "%s\n", flag->later ? " (not supported by kedge yet)" : "");
}

static void print_flags(struct buffer *out, const struct flag_list *list)
{
    int width = 0;
    for (size_t i = 0; i < list->count; i++) {
        width = left_width(list->flags[i]) > width ? left_width(list->flags[i]) : width;
    }
    for (size_t i = 0; i < list->count; i++) {
        print_flag(out, list->flags[i], width);
    }
}

static bool has_children(const struct cli_program *program, const struct cli_command *command)
{
    for (size_t i = 0; i < program->command_count; i++) {
        if (cli_is_child(command, &program->commands[i])) {
            return true;
        }
    }
    return false;
}

static void print_child(struct buffer *out, const struct cli_command *child)
{
    buffer_printf(out, "  %-12s%s%s\n", cli_name(child), child->brief,
                  child->later ? " (not supported by kedge yet)" : "");
}

static void print_children(const struct cli_program *program, const struct cli_command *command, struct buffer *out)
{
    const char *group = NULL;
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *child = &program->commands[i];
        if (!cli_is_child(command, child) || child->hidden) {
            continue;
        }
        if (group == NULL || (child->group != NULL && strcmp(group, child->group) != 0)) {
            group = child->group == NULL ? "Commands" : child->group;
            buffer_printf(out, "\n%s:\n", group);
        }
        print_child(out, child);
    }
}

static void print_usage_line(const struct cli_program *program, const struct cli_command *command, struct buffer *out)
{
    buffer_printf(out, "  %s", program->name);
    if (command != NULL) {
        buffer_printf(out, " %s", command->path);
    }
    if (has_children(program, command)) {
        buffer_printf(out, " [command]");
    } else if (command != NULL && *command->args != '\0') {
        buffer_printf(out, " %s", command->args);
    }
    buffer_printf(out, "%s\n", command != NULL && command->flags != NULL ? " [flags]" : "");
}

void cli_print_usage(const struct cli_program *program, const struct cli_command *command, struct buffer *out)
{
    struct flag_list list = flags_of(program, command);
    buffer_printf(out, "Usage:\n");
    print_usage_line(program, command, out);
    print_children(program, command, out);
    if (list.count > 0) {
        buffer_printf(out, "\nFlags:\n");
        print_flags(out, &list);
    }
    if (has_children(program, command)) {
        buffer_printf(out, "\nUse \"%s%s%s [command] --help\" for more information about a command.\n", program->name,
                      command == NULL ? "" : " ", command == NULL ? "" : command->path);
    }
}

void cli_print_help(const struct cli_program *program, const struct cli_command *command, struct buffer *out)
{
    buffer_printf(out, "%s\n\n", command == NULL ? program->brief : command->brief);
    if (command != NULL && command->about != NULL) {
        buffer_printf(out, "%s\n\n", command->about);
    }
    cli_print_usage(program, command, out);
    if (program->globals != NULL && cli_find(program, "options") != NULL) {
        buffer_printf(out, "Use \"%s options\" for the flags that all commands have.\n", program->name);
    }
}

void cli_print_globals(const struct cli_program *program, struct buffer *out)
{
    struct flag_list list = {0};
    collect(&list, program->globals);
    buffer_printf(out, "These flags can be given to any command:\n\n");
    print_flags(out, &list);
}

/* --- markdown ----------------------------------------------------------------------------------------------------- */

/* In a table cell "|" would begin the next cell, and "<" a tag. */
static void print_cell(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        buffer_printf(out, *text == '|' || *text == '<' ? "\\%c" : "%c", *text);
    }
}

static void print_flag_row(struct buffer *out, const struct cli_program *program, const struct cli_flag *flag)
{
    char shorthand[8] = "";
    if (flag->shorthand != 0) {
        snprintf(shorthand, sizeof shorthand, "`-%c`, ", flag->shorthand);
    }
    buffer_printf(out, "| %s`--%s` | %s | %s%s%s | ", shorthand, flag->name, type_names[flag->type],
                  *flag->preset == '\0' ? "" : "`", flag->preset, *flag->preset == '\0' ? "" : "`");
    print_cell(out, flag->help);
    if (flag->allowed != NULL) {
        buffer_printf(out, " (");
        print_cell(out, flag->allowed);
        buffer_printf(out, ")");
    }
    buffer_printf(out, "%s |\n", flag->later ? "; not supported yet" : "");
    (void)program;
}

static void print_flag_table(struct buffer *out, const struct cli_program *program, const struct flag_list *list)
{
    if (list->count == 0) {
        return;
    }
    buffer_printf(out, "\n| flag | type | default | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < list->count; i++) {
        print_flag_row(out, program, list->flags[i]);
    }
}

static void print_command_section(struct buffer *out, const struct cli_program *program,
                                  const struct cli_command *command)
{
    struct flag_list list = flags_of(program, command);
    buffer_printf(out, "\n## %s\n\n    %s %s%s%s\n\n%s.\n", command->path, program->name, command->path,
                  *command->args == '\0' ? "" : " ", command->args, command->brief);
    if (command->about != NULL) {
        buffer_printf(out, "\n%s\n", command->about);
    }
    print_flag_table(out, program, &list);
}

void cli_print_markdown(const struct cli_program *program, struct buffer *out)
{
    struct flag_list globals = {0};
    collect(&globals, program->globals);
    buffer_printf(out, "# %s\n\n%s\n\nThis page is made from the program's table of commands (`%s __markdown`).\n",
                  program->name, program->brief, program->name);
    if (globals.count > 0) {
        buffer_printf(out, "\n## Flags of all commands\n");
        if (program->variables != NULL) {
            buffer_printf(out, "\nEach may also be given as a variable: `--write-out` as `%s_WRITE_OUT`.\n",
                          program->variables);
        }
        print_flag_table(out, program, &globals);
    }
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        if (!c->hidden && c->run != NULL) {
            print_command_section(out, program, c);
        }
    }
    buffer_printf(out, "\n## Not supported yet\n\n");
    for (size_t i = 0; i < program->command_count; i++) {
        if (program->commands[i].later) {
            buffer_printf(out, "- `%s`\n", program->commands[i].path);
        }
    }
}
