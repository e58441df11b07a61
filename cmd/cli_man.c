/* The manual page of a program, from the table of commands. */
#include "cmd/cli.h"
#include "cmd/cli_list.h"
#include "cmd/roff.h"
#include <ctype.h>
#include <stdio.h>

/* A heading or a brief as a sentence's beginning or a whole sentence. */
static void print_sentence(struct buffer *out, const char *text)
{
    struct buffer sentence = {0};
    size_t len = strlen(text);
    buffer_printf(&sentence, "%s%s", text, len > 0 && text[len - 1] == '.' ? "" : ".");
    buffer_append(&sentence, "", 1);
    roff_text(out, (const char *)sentence.data);
    buffer_free(&sentence);
}

static void print_flag(struct buffer *out, const struct cli_flag *flag)
{
    struct buffer term = {0}, text = {0};
    const char *type = cli_type_name(flag->type);
    if (flag->shorthand != 0) {
        buffer_printf(&term, "-%c, ", flag->shorthand);
    }
    buffer_printf(&term, "--%s", flag->name);
    buffer_append(&term, "", 1);
    buffer_printf(&text, "%c%s.", toupper((unsigned char)flag->help[0]), flag->help + 1);
    if (flag->allowed != NULL) {
        buffer_printf(&text, " One of %s.", flag->allowed);
    }
    if (*flag->preset != '\0' && flag->type != CLI_BOOL) {
        buffer_printf(&text, " Default: %s.", flag->preset);
    } else if (flag->type == CLI_BOOL && strcmp(flag->preset, "true") == 0) {
        buffer_printf(&text, " On unless =false is given.");
    }
    buffer_printf(&text, "%s", flag->later ? " Not supported by kedge yet." : "");
    buffer_append(&text, "", 1);
    roff_entry(out, (const char *)term.data, *type == '\0' ? NULL : type, (const char *)text.data);
    buffer_free(&term);
    buffer_free(&text);
}

static void print_flags(struct buffer *out, const struct cli_flag_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        print_flag(out, list->flags[i]);
    }
}

static void print_command(struct buffer *out, const struct cli_program *program, const struct cli_command *c)
{
    struct buffer title = {0};
    struct cli_flag_list list = cli_flags_of(program, c);
    buffer_printf(&title, "%s%s%s", c->path, *c->args == '\0' ? "" : " ", c->args);
    buffer_append(&title, "", 1);
    roff_subsection(out, (const char *)title.data);
    buffer_free(&title);
    print_sentence(out, c->brief);
    if (c->about != NULL) {
        buffer_printf(out, ".PP\n");
        roff_text(out, c->about);
    }
    if (c->later) {
        buffer_printf(out, ".PP\n");
        roff_text(out, "Not supported by kedge yet.");
    }
    print_flags(out, &list);
}

static void print_commands(struct buffer *out, const struct cli_program *program)
{
    const char *group = NULL;
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        if (c->group != NULL && !c->hidden && (group == NULL || strcmp(group, c->group) != 0)) {
            group = c->group;
            roff_section(out, group);
        }
        if (!c->hidden && (c->run != NULL || c->later)) {
            print_command(out, program, c);
        }
    }
}

static void print_exits(struct buffer *out)
{
    static const struct {
        const char *status, *meaning;
    } exits[] = {
        {"0", "It worked."},
        {"1", "It failed; the reason is on standard error."},
        {"2", "No connection."},
        {"3", "The input cannot be used."},
        {"4", "A flag's value that is not known, or what is not supported."},
        {"5", "The command was ended before it was done."},
        {"128", "Wrong arguments."},
    };
    roff_section(out, "exit status");
    for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++) {
        roff_entry(out, exits[i].status, NULL, exits[i].meaning);
    }
}

static void print_environment(struct buffer *out, const struct cli_program *program)
{
    roff_section(out, "environment");
    if (program->variables != NULL) {
        char name[64], text[160];
        snprintf(name, sizeof name, "%s_*", program->variables);
        snprintf(text, sizeof text,
                 "A flag of all commands that is not given is taken from its variable: --write-out from %s_WRITE_OUT.",
                 program->variables);
        roff_entry(out, name, NULL, text);
    }
    roff_entry(out, "NO_COLOR", NULL, "If it is set, nothing is coloured, on a terminal either.");
}

void cli_print_man(const struct cli_program *program, struct buffer *out)
{
    struct cli_flag_list globals = {0};
    char brief[128];
    size_t len = strlen(program->brief);
    cli_list_add(&globals, program->globals);
    snprintf(brief, sizeof brief, "%.*s", (int)(len > 0 && program->brief[len - 1] == '.' ? len - 1 : len),
             program->brief);
    roff_begin(out, program->name, brief);
    roff_section(out, "synopsis");
    buffer_printf(out, "\\fB%s\\fR \\fIcommand\\fR [\\fIargument\\fR ...] [\\fIflag\\fR ...]\n", program->name);
    roff_section(out, "description");
    roff_text(out, "Flags may stand anywhere, as --name value or --name=value; \"--\" ends them. A beginning of a "
                   "command's name that no other begins with is enough.\n");
    print_commands(out, program);
    roff_section(out, "flags of all commands");
    print_flags(out, &globals);
    print_environment(out, program);
    print_exits(out);
    roff_see_also(out, program->name);
}
