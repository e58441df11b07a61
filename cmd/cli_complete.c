/* Shell completion: a small script that asks the program, which looks into its table of commands. The answers have
 * cobra's form (a candidate a line, then ":4", no file names), so scripts made by etcdctl work too. */
#include "base/check.h"
#include "cmd/cli.h"
#include <stdio.h>

static void add(struct buffer *out, const char *word, const char *dashes, const char *candidate)
{
    struct buffer text = {0};
    buffer_printf(&text, "%s%s", dashes, candidate);
    if (text.len >= strlen(word) && strncmp((const char *)text.data, word, strlen(word)) == 0) {
        buffer_printf(out, "%.*s\n", (int)text.len, (const char *)text.data);
    }
    buffer_free(&text);
}

static void add_flags(struct buffer *out, const char *word, const struct cli_flag *flags)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        add(out, word, "--", flags->name);
    }
}

static void add_allowed(struct buffer *out, const char *word, const char *allowed)
{
    while (*allowed != '\0') {
        size_t len = strcspn(allowed, "|");
        char item[64];
        snprintf(item, sizeof item, "%.*s", (int)len, allowed);
        add(out, word, "", item);
        allowed += len + (allowed[len] == '|');
    }
}

static const struct cli_flag *find_flag(const struct cli_flag *flags, const char *name)
{
    for (; flags != NULL && flags->name != NULL; flags++) {
        if (strcmp(flags->name, name) == 0) {
            return flags;
        }
    }
    return NULL;
}

/* Follows the words that are commands. */
static const struct cli_command *walk(const struct cli_program *program, int count, char **words)
{
    const struct cli_command *command = NULL;
    for (int i = 0; i < count; i++) {
        for (size_t j = 0; j < program->command_count; j++) {
            const struct cli_command *c = &program->commands[j];
            if (cli_is_child(command, c) && strcmp(cli_name(c), words[i]) == 0) {
                command = c;
                break;
            }
        }
    }
    return command;
}

void cli_complete(const struct cli_program *program, int count, char **words, struct buffer *out)
{
    CHECK(program->commands != NULL);
    const char *word = count == 0 ? "" : words[count - 1];
    const char *before = count < 2 ? "" : words[count - 2];
    const struct cli_command *command = walk(program, count - 1, words);
    const struct cli_command *parent = command == NULL ? NULL : cli_parent(program, command);
    if (strncmp(before, "--", 2) == 0) {
        const struct cli_flag *flag = find_flag(command == NULL ? NULL : command->flags, before + 2);
        flag = flag != NULL ? flag : find_flag(program->globals, before + 2);
        if (flag != NULL && flag->type != CLI_BOOL) {
            add_allowed(out, word, flag->allowed == NULL ? "" : flag->allowed);
            return;
        }
    }
    if (*word == '-') {
        add_flags(out, word, command == NULL ? NULL : command->flags);
        add_flags(out, word, parent != NULL && parent->pass_flags ? parent->flags : NULL);
        add_flags(out, word, program->globals);
        return;
    }
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        if (cli_is_child(command, c) && !c->hidden) {
            add(out, word, "", cli_name(c));
        }
    }
}

void cli_print_bash(const struct cli_program *program, struct buffer *out)
{
    buffer_printf(out,
                  "# bash completion for %1$s: source it, or put it into the folder of completions\n"
                  "_%1$s() {\n"
                  "    local line\n"
                  "    COMPREPLY=()\n"
                  "    while IFS= read -r line; do\n"
                  "        [[ $line == :* ]] || COMPREPLY+=(\"$line\")\n"
                  "    done < <(\"${COMP_WORDS[0]}\" __completeNoDesc \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
                  "}\n"
                  "complete -o default -F _%1$s %1$s\n",
                  program->name);
}

/* --- the commands that every program has -------------------------------------------------------------------------- */

static int put_out(struct buffer *text)
{
    fwrite(text->data, 1, text->len, stdout);
    buffer_free(text);
    return CLI_OK;
}

int cli_run_complete(struct cli_call *call)
{
    struct buffer text = {0};
    cli_complete(call->program, call->arg_count, call->args, &text);
    buffer_printf(&text, ":4\n");
    return put_out(&text);
}

int cli_run_markdown(struct cli_call *call)
{
    struct buffer text = {0};
    cli_print_markdown(call->program, &text);
    return put_out(&text);
}

int cli_run_options(struct cli_call *call)
{
    struct buffer text = {0};
    cli_print_globals(call->program, &text);
    return put_out(&text);
}

int cli_run_help(struct cli_call *call)
{
    struct buffer text = {0}, path = {0};
    for (int i = 0; i < call->arg_count; i++) {
        buffer_printf(&path, "%s%s", i == 0 ? "" : " ", call->args[i]);
    }
    const char *wanted = arena_printf(&call->arena, "%.*s", (int)path.len, (const char *)path.data);
    const struct cli_command *command = cli_find(call->program, wanted);
    buffer_free(&path);
    if (command == NULL && call->arg_count > 0) {
        printf("Unknown help topic [%s]\n", wanted);
        cli_print_usage(call->program, NULL, &text);
    } else {
        cli_print_help(call->program, command, &text);
    }
    return put_out(&text);
}

int cli_run_completion(struct cli_call *call)
{
    struct buffer text = {0};
    if (call->arg_count != 1) {
        cli_fail(CLI_ERROR, "accepts 1 arg(s), received %d", call->arg_count);
        cli_print_usage(call->program, call->command, &text);
        fwrite(text.data, 1, text.len, stderr);
        buffer_free(&text);
        return CLI_ERROR;
    }
    if (strcmp(call->args[0], "bash") != 0) {
        return cli_fail(CLI_ERROR, "completion for %s: not supported by kedge yet", call->args[0]);
    }
    cli_print_bash(call->program, &text);
    return put_out(&text);
}
