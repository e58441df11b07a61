/* The commands help and options. */
#include "cmd/cli.h"
#include "cmd/wrap.h"
#include <stdio.h>

static int put(FILE *to, struct buffer *text)
{
    wrap_put(to, text);
    buffer_free(text);
    return CLI_OK;
}

int cli_run_options(struct cli_call *call)
{
    struct buffer text = {0};
    cli_print_globals(call->program, &text);
    return put(stdout, &text);
}

/* What is behind the last command that can be found belongs to it; but nothing at all is found of an unknown first
 * word. The status is 0 in either case, as etcdctl's. */
int cli_run_help(struct cli_call *call)
{
    struct buffer text = {0};
    const struct cli_command *command = NULL, *child;
    for (int i = 0; i < call->arg_count && (child = cli_child(call->program, command, call->args[i])) != NULL; i++) {
        command = child;
    }
    if (command != NULL || call->arg_count == 0) {
        cli_print_help(call->program, command, &text);
        return put(stdout, &text);
    }
    fprintf(stderr, "Unknown help topic [");
    for (int i = 0; i < call->arg_count; i++) {
        fprintf(stderr, "%s`%s`", i == 0 ? "" : " ", call->args[i]);
    }
    fprintf(stderr, "]\n");
    cli_print_usage(call->program, NULL, &text);
    return put(stderr, &text);
}
