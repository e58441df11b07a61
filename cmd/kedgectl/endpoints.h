/* Commands that ask servers one by one: which ones, and a client for one. */
#ifndef CMD_KEDGECTL_ENDPOINTS_H
#define CMD_KEDGECTL_ENDPOINTS_H

#include "cmd/kedgectl/session.h"

/* The given ones, or with --cluster the client URLs of all members, NULL-terminated. NULL, or what went wrong. */
const char *endpoints_find(struct session *s, const char *const **out, size_t *count);
/* A client with the session's settings for one of them; the caller frees it. */
struct client *endpoints_client(const struct session *s, const char *endpoint);

#endif
