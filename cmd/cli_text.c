/* Usage and help from the table of commands, in 80 columns. */
#include "cmd/cli.h"
#include "cmd/cli_list.h"
#include "cmd/wrap.h"
#include <stdio.h>

/* --- flags -------------------------------------------------------------------------------------------------------- */

static void print_default(struct buffer *out, const struct cli_flag *flag)
{
    const char *form = flag->type == CLI_STRING    ? " (default \"%s\")"
                       : flag->type == CLI_STRINGS ? " (default [%s])"
                                                   : " (default %s)";
    char text[256];
    bool none = *flag->preset == '\0' || strcmp(flag->preset, "0") == 0 || strcmp(flag->preset, "false") == 0 ||
                strcmp(flag->preset, "0s") == 0;
    if (!none) {
        snprintf(text, sizeof text, form, flag->preset);
        buffer_printf(out, "%s", text);
    }
}

static int left_width(const struct cli_flag *flag)
{
    const char *type = cli_type_name(flag->type);
    return (int)(8 + strlen(flag->name) + (*type == '\0' ? 0 : 1 + strlen(type)));
}

/* All that is said of a flag, in one line. */
static void describe(struct buffer *out, const struct cli_flag *flag)
{
    buffer_printf(out, "%s", flag->help);
    if (flag->allowed != NULL && strlen(flag->allowed) > 3) { /* "l|s" is told by its help */
        buffer_printf(out, " (%s)", flag->allowed);
    }
    print_default(out, flag);
    buffer_printf(out, "%s", flag->later ? " (not supported by kedge yet)" : "");
    buffer_append(out, "", 1);
}

static void print_flag(struct buffer *out, const struct cli_flag *flag, int width)
{
    const char *type = cli_type_name(flag->type);
    char shorthand[8] = "    ";
    struct buffer text = {0};
    if (flag->shorthand != 0) {
        snprintf(shorthand, sizeof shorthand, "-%c, ", flag->shorthand);
    }
    buffer_printf(out, "  %s--%s%s%s%*s", shorthand, flag->name, *type == '\0' ? "" : " ", type,
                  width - left_width(flag) + 3, "");
    describe(&text, flag);
    wrap_words(out, (const char *)text.data, width + 3, width + 3);
    buffer_append(out, "\n", 1);
    buffer_free(&text);
}

static void print_flags(struct buffer *out, const struct cli_flag_list *list)
{
    int width = 0;
    for (size_t i = 0; i < list->count; i++) {
        width = left_width(list->flags[i]) > width ? left_width(list->flags[i]) : width;
    }
    for (size_t i = 0; i < list->count; i++) {
        print_flag(out, list->flags[i], width);
    }
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static bool has_children(const struct cli_program *program, const struct cli_command *command)
{
    for (size_t i = 0; i < program->command_count; i++) {
        if (cli_is_child(command, &program->commands[i])) {
            return true;
        }
    }
    return false;
}

/* A group none of whose commands is there yet isn't either. */
static bool is_later(const struct cli_program *program, const struct cli_command *command)
{
    bool all = has_children(program, command);
    for (size_t i = 0; i < program->command_count && all; i++) {
        all = !cli_is_child(command, &program->commands[i]) || program->commands[i].later;
    }
    return command->later || all;
}

static int name_width(const struct cli_program *program, const struct cli_command *parent)
{
    int width = 10;
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *child = &program->commands[i];
        int len = (int)strlen(cli_name(child));
        width = cli_is_child(parent, child) && !child->hidden && len > width ? len : width;
    }
    return width;
}

static void print_child(struct buffer *out, const struct cli_command *child, bool later, int width)
{
    char text[256];
    snprintf(text, sizeof text, "%s%s", child->brief, later ? " (not yet)" : "");
    buffer_printf(out, "  %-*s  ", width, cli_name(child));
    wrap_words(out, text, width + 4, width + 4);
    buffer_append(out, "\n", 1);
}

static void print_children(const struct cli_program *program, const struct cli_command *command, struct buffer *out)
{
    const char *group = NULL;
    int width = name_width(program, command);
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *child = &program->commands[i];
        if (!cli_is_child(command, child) || child->hidden) {
            continue;
        }
        if (group == NULL || (child->group != NULL && strcmp(group, child->group) != 0)) {
            group = child->group == NULL ? "Commands" : child->group;
            buffer_printf(out, "\n%s:\n", group);
        }
        print_child(out, child, is_later(program, child), width);
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
    struct cli_flag_list list = cli_flags_of(program, command);
    buffer_printf(out, "Usage:\n");
    print_usage_line(program, command, out);
    print_children(program, command, out);
    if (list.count > 0) {
        buffer_printf(out, "\nFlags:\n");
        print_flags(out, &list);
    }
    if (program->globals != NULL && cli_find(program, "options") == NULL) {
        struct cli_flag_list globals = {0};
        cli_list_add(&globals, program->globals);
        buffer_printf(out, "\nFlags of all commands:\n");
        print_flags(out, &globals);
    }
    if (has_children(program, command)) {
        buffer_printf(out, "\nUse \"%s%s%s [command] --help\" for more about a command.\n", program->name,
                      command == NULL ? "" : " ", command == NULL ? "" : command->path);
    }
}

void cli_print_help(const struct cli_program *program, const struct cli_command *command, struct buffer *out)
{
    bool options = program->globals != NULL && cli_find(program, "options") != NULL;
    wrap_text(out, command == NULL ? program->brief : command->brief);
    if (command != NULL && command->about != NULL) {
        buffer_append(out, "\n", 1);
        wrap_text(out, command->about);
    }
    if (command != NULL && command->later) {
        buffer_append(out, "\n", 1);
        wrap_text(out, "Not supported by kedge yet.");
    }
    buffer_append(out, "\n", 1);
    cli_print_usage(program, command, out);
    if (options) {
        buffer_printf(out, "%sUse \"%s options\" for the flags that all commands have.\n",
                      has_children(program, command) ? "" : "\n", program->name);
    }
}

void cli_print_globals(const struct cli_program *program, struct buffer *out)
{
    struct cli_flag_list list = cli_flags_of(program, NULL);
    buffer_printf(out, "Flags that can be given to any command:\n\n");
    cli_list_add(&list, program->globals);
    print_flags(out, &list);
}
