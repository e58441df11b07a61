/* snapshot status and snapshot restore as etcdctl had them until 3.5, and as guides on the web still give them: what
 * kedgeutl does, under the old names. */
#include "cmd/kedgectl/verbs.h"
#include "cmd/kedgeutl/commands.h"
#include <stdio.h>

int verb_snapshot_status(struct cli_call *call)
{
    return cli_take_variables(call, NULL) ? commands_snapshot_status(call) : CLI_ERROR;
}

/* etcdctl 3.7 knows no such command and answers with the help of "snapshot". Without one flag it would make a directory
 * where somebody only asked what there is, so that answer stays. */
static bool is_bare(const struct cli_call *call)
{
    for (const struct cli_flag *flag = commands_restore_flags; flag->name != NULL; flag++) {
        if (cli_given(call, flag->name)) {
            return false;
        }
    }
    return true;
}

int verb_snapshot_restore(struct cli_call *call)
{
    if (is_bare(call)) {
        struct buffer help = {0};
        cli_print_help(call->program, cli_find(call->program, "snapshot"), &help);
        fwrite(help.data, 1, help.len, stdout);
        buffer_free(&help);
        return CLI_OK;
    }
    return cli_take_variables(call, NULL) ? commands_snapshot_restore(call) : CLI_ERROR;
}
