/* Commands that ask servers one by one: which ones, and a client for one. */
#ifndef CMD_KEDGECTL_ENDPOINTS_H
#define CMD_KEDGECTL_ENDPOINTS_H

#include "cmd/kedgectl/session.h"

/* Opens the session, and gives the endpoints of the command line, or with --cluster the client URLs of all members,
 * NULL-terminated. 0, and the caller ends the session; or the status to end with, after a message. */
int endpoints_open(struct session *s, struct cli_call *call, const char *const **out, size_t *count);
/* A client with the session's settings for one of them; the caller frees it. */
struct client *endpoints_client(const struct session *s, const char *endpoint);

#endif
