/* The tree of commands: who is whose child, and what an unknown word may have meant. */
#include "cmd/cli.h"
#include <ctype.h>
#include <stdio.h>

const struct cli_command *cli_find(const struct cli_program *program, const char *path)
{
    for (size_t i = 0; i < program->command_count; i++) {
        if (strcmp(program->commands[i].path, path) == 0) {
            return &program->commands[i];
        }
    }
    return NULL;
}

const char *cli_name(const struct cli_command *command)
{
    const char *space = strrchr(command->path, ' ');
    return space == NULL ? command->path : space + 1;
}

bool cli_is_child(const struct cli_command *a, const struct cli_command *b)
{
    const char *name = cli_name(b);
    size_t above = (size_t)(name - b->path);
    if (a == NULL) {
        return above == 0;
    }
    return above == strlen(a->path) + 1 && strncmp(b->path, a->path, above - 1) == 0;
}

const struct cli_command *cli_parent(const struct cli_program *program, const struct cli_command *command)
{
    for (size_t i = 0; i < program->command_count; i++) {
        if (cli_is_child(&program->commands[i], command)) {
            return &program->commands[i];
        }
    }
    return NULL;
}

const struct cli_command *cli_child(const struct cli_program *program, const struct cli_command *parent,
                                    const char *word)
{
    const struct cli_command *found = NULL;
    size_t len = strlen(word), matches = 0;
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        if (!cli_is_child(parent, c)) {
            continue;
        }
        if (strcmp(cli_name(c), word) == 0) {
            return c;
        }
        if (!c->hidden && len > 0 && strncmp(cli_name(c), word, len) == 0) {
            found = c;
            matches++;
        }
    }
    return matches == 1 ? found : NULL;
}

/* Levenshtein's distance without regard to case, for names shorter than 32 bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t row[33], len = strlen(b);
    if (len > 32) {
        return len;
    }
    for (size_t j = 0; j <= len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t above = row[j];
            size_t best = corner + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));
            best = above + 1 < best ? above + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            corner = above;
        }
    }
    return row[len];
}

int cli_fail_unknown(const struct cli_program *program, const char *word)
{
    struct buffer similar = {0};
    bool told = false;
    for (size_t i = 0; i < program->command_count; i++) {
        const struct cli_command *c = &program->commands[i];
        bool close = distance(word, cli_name(c)) <= 2 || strncasecmp(cli_name(c), word, strlen(word)) == 0;
        if (cli_is_child(NULL, c) && !c->hidden && close) {
            buffer_printf(&similar, "\t%s\n", cli_name(c));
        }
    }
    buffer_append(&similar, "", 1);
    const char *hint = similar.len > 1 ? "\n\nDid you mean this?\n" : "";
    for (int times = program->repeats_errors ? 2 : 1; times > 0; times--) {
        cli_fail(CLI_ERROR, "unknown command \"%s\" for \"%s\"%s%s", word, program->name, hint,
                 (const char *)similar.data);
        if (!told) {
            fprintf(stderr, "Run '%s --help' for usage.\n", program->name);
        }
        told = true;
    }
    buffer_free(&similar);
    return CLI_ERROR;
}
