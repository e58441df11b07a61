/* Shell completion: what the last word of a command line may be. Scripts (cli_scripts.c) ask the program, which looks
 * into its table; the answer has cobra's form, so scripts made by etcdctl work too. */
#include "base/check.h"
#include "cmd/cli.h"
#include "cmd/cli_list.h"
#include <stdio.h>

struct completion {
    const struct cli_program *program;
    struct buffer *out;
    bool described;
    const char *word; /* the one to complete */

    /* What the words before it say. */
    const struct cli_command *command;
    char **given;
    int given_count;
    int plain;                      /* arguments that are no command */
    bool flags_over;                /* after "--" */
    bool helps;                     /* --help was given */
    const struct cli_flag *pending; /* the word is its value */
};

static const struct cli_flag help_flag[] = {{"help", 'h', CLI_BOOL, "false", NULL, false, "what the command does"},
                                            {0}};

/* --- flags -------------------------------------------------------------------------------------------------------- */

static struct cli_flag_list all_flags(const struct completion *c)
{
    struct cli_flag_list list = cli_flags_of(c->program, c->command);
    cli_list_add(&list, help_flag);
    cli_list_add(&list, c->program->globals);
    return list;
}

/* The flag that a word "--name", "--name=..." or "-n" is. */
static const struct cli_flag *flag_of(const struct completion *c, const char *word)
{
    struct cli_flag_list list = all_flags(c);
    for (size_t i = 0; i < list.count; i++) {
        const struct cli_flag *flag = list.flags[i];
        size_t len = strlen(flag->name);
        bool is_long = strncmp(word, "--", 2) == 0 && strncmp(word + 2, flag->name, len) == 0;
        if (is_long && (word[2 + len] == '\0' || word[2 + len] == '=')) {
            return flag;
        }
        if (flag->shorthand != 0 && word[1] == flag->shorthand && word[2] == '\0') {
            return flag;
        }
    }
    return NULL;
}

static bool was_given(const struct completion *c, const struct cli_flag *flag)
{
    for (int i = 0; i < c->given_count && strcmp(c->given[i], "--") != 0; i++) {
        if (c->given[i][0] == '-' && flag_of(c, c->given[i]) == flag) {
            return true;
        }
    }
    return false;
}

/* --- candidates --------------------------------------------------------------------------------------------------- */

static void offer(const struct completion *c, const char *begin, const char *candidate, const char *about)
{
    if (strncmp(candidate, begin, strlen(begin)) == 0) {
        bool tell = c->described && about != NULL && *about != '\0';
        buffer_printf(c->out, "%s%s%s\n", candidate, tell ? "\t" : "", tell ? about : "");
    }
}

/* The parts of "a|b|c". */
static void offer_parts(const struct completion *c, const char *begin, const char *parts, size_t len)
{
    const char *end = parts + len;
    while (parts < end) {
        char part[64];
        const char *bar = memchr(parts, '|', (size_t)(end - parts));
        int size = (int)((bar == NULL ? end : bar) - parts);
        snprintf(part, sizeof part, "%.*s", size, parts);
        offer(c, begin, part, NULL);
        parts += size + 1;
    }
}

static enum cli_directive offer_values(const struct completion *c, const struct cli_flag *flag, const char *begin)
{
    if (flag != NULL && flag->allowed != NULL) {
        offer_parts(c, begin, flag->allowed, strlen(flag->allowed));
    }
    return CLI_COMPLETE_FILES;
}

static enum cli_directive offer_flags(const struct completion *c)
{
    struct cli_flag_list list = all_flags(c);
    const char *equals = strchr(c->word, '=');
    if (equals != NULL) {
        return offer_values(c, flag_of(c, c->word), equals + 1);
    }
    for (size_t i = 0; i < list.count; i++) {
        const struct cli_flag *flag = list.flags[i];
        char name[80];
        if (flag->type != CLI_STRINGS && was_given(c, flag)) {
            continue;
        }
        snprintf(name, sizeof name, "--%s", flag->name);
        offer(c, c->word, name, flag->help);
        if (flag->shorthand != 0 && c->word[1] != '-') {
            snprintf(name, sizeof name, "-%c", flag->shorthand);
            offer(c, c->word, name, flag->help);
        }
    }
    return CLI_COMPLETE_NO_FILES;
}

static bool offer_children(const struct completion *c, const struct cli_command *parent)
{
    bool any = false;
    for (size_t i = 0; i < c->program->command_count; i++) {
        const struct cli_command *child = &c->program->commands[i];
        if (cli_is_child(parent, child)) {
            any = true;
            if (!child->hidden) {
                offer(c, c->word, cli_name(child), child->brief);
            }
        }
    }
    return any;
}

/* --- the line ----------------------------------------------------------------------------------------------------- */

static void read_flag(struct completion *c, const char *word)
{
    const struct cli_flag *flag = flag_of(c, word);
    c->flags_over = strcmp(word, "--") == 0;
    c->helps = c->helps || flag == help_flag;
    if (flag != NULL && flag->type != CLI_BOOL && strchr(word, '=') == NULL) {
        c->pending = flag;
    }
}

static void read_plain(struct completion *c, const char *word)
{
    bool may_be_command = !c->flags_over && c->plain == 0;
    const struct cli_command *child = may_be_command ? cli_child(c->program, c->command, word) : NULL;
    c->command = child != NULL ? child : c->command;
    c->plain += child == NULL;
}

static void read_words(struct completion *c)
{
    for (int i = 0; i < c->given_count; i++) {
        const char *word = c->given[i];
        if (c->pending != NULL) {
            c->pending = NULL;
        } else if (!c->flags_over && word[0] == '-' && word[1] != '\0') {
            read_flag(c, word);
        } else {
            read_plain(c, word);
        }
    }
}

/* "help": the rest of the line is a command. */
static enum cli_directive offer_topics(const struct completion *c)
{
    const struct cli_command *topic = NULL;
    bool behind = false;
    for (int i = 0; i < c->given_count; i++) {
        if (behind && c->given[i][0] != '-') {
            topic = cli_child(c->program, topic, c->given[i]);
            if (topic == NULL) {
                return CLI_COMPLETE_NO_FILES;
            }
        }
        behind = behind || (c->given[i][0] != '-' && cli_child(c->program, NULL, c->given[i]) == c->command);
    }
    offer_children(c, topic);
    return CLI_COMPLETE_NO_FILES;
}

static enum cli_directive offer_arguments(const struct completion *c)
{
    const char *args = c->command == NULL ? "" : c->command->args;
    if (c->command != NULL && strcmp(c->command->path, "help") == 0) {
        return offer_topics(c);
    }
    if (c->plain == 0 && offer_children(c, c->command)) {
        return CLI_COMPLETE_NO_FILES;
    }
    if (c->plain == 0 && args[0] == '[' && strchr(args, '|') != NULL) { /* "[bash|zsh]" */
        offer_parts(c, c->word, args + 1, strcspn(args + 1, "]"));
        return CLI_COMPLETE_NO_FILES;
    }
    return CLI_COMPLETE_FILES;
}

void cli_complete(const struct cli_program *program, int count, char **words, bool described, struct buffer *out)
{
    struct completion c = {.program = program, .out = out, .described = described};
    enum cli_directive directive = CLI_COMPLETE_NO_FILES;
    c.word = count == 0 ? "" : words[count - 1];
    c.given = words;
    c.given_count = count == 0 ? 0 : count - 1;
    read_words(&c);
    if (c.pending != NULL) {
        directive = offer_values(&c, c.pending, c.word);
    } else if (c.word[0] == '-' && !c.flags_over) {
        directive = offer_flags(&c);
    } else if (!c.helps) {
        directive = offer_arguments(&c);
    }
    buffer_printf(out, ":%d\n", directive);
}

/* As cobra's: the directive is told on standard error too, in words. */
int cli_run_complete(struct cli_call *call)
{
    struct buffer text = {0};
    if (call->arg_count == 0) {
        return cli_fail(CLI_ERROR, "requires at least 1 arg(s), only received 0");
    }
    bool described = strcmp(call->command->path, "__complete") == 0;
    cli_complete(call->program, call->arg_count, call->args, described, &text);
    bool files = text.len > 1 && text.data[text.len - 2] == '0';
    fwrite(text.data, 1, text.len, stdout);
    fprintf(stderr, "Completion ended with directive: ShellCompDirective%s\n", files ? "Default" : "NoFileComp");
    buffer_free(&text);
    return CLI_OK;
}
