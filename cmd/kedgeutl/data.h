/* The store of a data directory whose member is stopped. */
#ifndef CMD_KEDGEUTL_DATA_H
#define CMD_KEDGEUTL_DATA_H

#include "cmd/cli.h"
#include "kv/backend.h"

/* DIR/member/snap/db. In the call's arena. */
const char *data_store_path(struct cli_call *call, const char *data_dir);
/* Opens it for this process alone, and waits for it as long as --timeout says (0: for ever). CLI_OK, or the exit status
 * after a message. */
int data_open(struct cli_call *call, const char *path, struct backend **out);

#endif
