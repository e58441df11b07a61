/* A member's ports: clients (gRPC and HTTP), metrics (HTTP), peers (HTTP); signals; the loop's hook that runs the core.
 */
#ifndef CMD_KEDGE_SERVE_H
#define CMD_KEDGE_SERVE_H

#include "cmd/kedge/config.h"

/* Runs a member until a signal or a fault ends it. Returns the signal that stopped it. */
int serve(struct config *config);

#endif
