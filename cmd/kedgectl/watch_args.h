/* What watch's arguments mean: key and range from arguments or variables, and the command to run at each event, which
 * begins behind "--". The rules are etcdctl's (parseWatchArgs), with its texts. */
#ifndef CMD_KEDGECTL_WATCH_ARGS_H
#define CMD_KEDGECTL_WATCH_ARGS_H

#include "cmd/cli.h"

struct watch_args {
    struct bytes key;
    struct bytes range_end; /* data NULL = none */
    bool prefix, prev_kv, progress_notify;
    int64_t revision;
    char *const *command; /* NULL-terminated; NULL = none */
};

/* From the program's own command line. 0, or the exit status after a message. */
int watch_args_of_call(struct cli_call *call, struct watch_args *out);
/* From a line of interactive mode, whose first word is "watch" (call->words: see there). NULL, or the error; *fatal:
 * the program should end. */
const char *watch_args_of_line(struct cli_call *call, int count, char **words, struct watch_args *out, bool *fatal);

#endif
