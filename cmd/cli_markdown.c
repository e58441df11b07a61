/* The documentation page of a program, from the table of commands. */
#include "cmd/cli.h"
#include "cmd/cli_list.h"
#include <stdio.h>

/* In a table cell "|" would begin the next cell, and "<" a tag. */
static void print_cell(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        buffer_printf(out, *text == '|' || *text == '<' ? "\\%c" : "%c", *text);
    }
}

static void print_flag_row(struct buffer *out, const struct cli_flag *flag)
{
    char shorthand[8] = "";
    if (flag->shorthand != 0) {
        snprintf(shorthand, sizeof shorthand, "`-%c`, ", flag->shorthand);
    }
    buffer_printf(out, "| %s`--%s` | %s | %s%s%s | ", shorthand, flag->name, cli_type_name(flag->type),
                  *flag->preset == '\0' ? "" : "`", flag->preset, *flag->preset == '\0' ? "" : "`");
    print_cell(out, flag->help);
    if (flag->allowed != NULL) {
        buffer_printf(out, " (");
        print_cell(out, flag->allowed);
        buffer_printf(out, ")");
    }
    buffer_printf(out, "%s |\n", flag->later ? "; not supported yet" : "");
}

static void print_flag_table(struct buffer *out, const struct cli_flag_list *list)
{
    if (list->count == 0) {
        return;
    }
    buffer_printf(out, "\n| flag | type | default | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < list->count; i++) {
        print_flag_row(out, list->flags[i]);
    }
}

static void print_command_section(struct buffer *out, const struct cli_program *program,
                                  const struct cli_command *command)
{
    struct cli_flag_list list = cli_flags_of(program, command);
    buffer_printf(out, "\n## %s\n\n    %s %s%s%s\n\n%s.\n", command->path, program->name, command->path,
                  *command->args == '\0' ? "" : " ", command->args, command->brief);
    if (command->about != NULL) {
        buffer_printf(out, "\n%s\n", command->about);
    }
    print_flag_table(out, &list);
}

/* Commands with the same reason stand one after another. */
static void print_later(struct buffer *out, const struct cli_program *program)
{
    const char *reason = "";
    bool any = false;
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        if (!c->later) {
            continue;
        }
        buffer_printf(out, "%s", any ? "" : "\n## Not supported yet\n\n");
        any = true;
        if (c->about != NULL && strcmp(c->about, reason) != 0) {
            reason = c->about;
            buffer_printf(out, "%s\n\n", reason);
        }
        buffer_printf(out, "- `%s`\n", c->path);
    }
}

void cli_print_markdown(const struct cli_program *program, struct buffer *out)
{
    struct cli_flag_list globals = {0};
    cli_list_add(&globals, program->globals);
    buffer_printf(out, "# %s\n\n%s\n\nThis page is made from the program's table of commands (`%s __markdown`).\n",
                  program->name, program->brief, program->name);
    if (globals.count > 0) {
        buffer_printf(out, "\n## Flags of all commands\n");
        if (program->variables != NULL) {
            buffer_printf(out, "\nEach may also be given as a variable: `--write-out` as `%s_WRITE_OUT`.\n",
                          program->variables);
        }
        print_flag_table(out, &globals);
    }
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        if (!c->hidden && c->run != NULL) {
            print_command_section(out, program, c);
        }
    }
    print_later(out, program);
}

int cli_run_markdown(struct cli_call *call)
{
    struct buffer text = {0};
    cli_print_markdown(call->program, &text);
    fwrite(text.data, 1, text.len, stdout);
    buffer_free(&text);
    return CLI_OK;
}
